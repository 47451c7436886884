#!/usr/bin/env python3
"""Compare the storage functions with dlt's own client, call by call.

    storage.py [--dsn DSN] --scenarios test/oracle/scenarios [--only NAME ...]

For the packages of each scenario, in their order, dlt's PostgresClient works on one dataset and the
loader_* functions on another: storage, schema updates (of tables with jobs, of all, forced, in the
staging dataset), look-ups, truncates, drops. What a call returns or raises must be the same, and so
must tables, columns, constraints and stored schemas be afterwards. The datasets (st_*) are dropped first.
Needs dlt with its postgres destination. Prints one line per scenario, then 'N passed, N failed, N
skipped'; exits 1 if anything failed. A scenario that needs an extension which cannot be had is skipped.
"""
import argparse, json, pathlib, sys
from urllib.parse import quote

import psycopg2
from dlt.common import json as dlt_json
from dlt.common.schema import Schema
from dlt.common.schema.utils import get_root_table
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations import postgres
from dlt.destinations.exceptions import DatabaseUndefinedRelation

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
import extensions

COLUMNS = """SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname COLLATE "C", a.attnum"""
CONSTRAINTS = """SELECT c.relname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND k.contype <> 'n' ORDER BY 1, 2"""


class Differs(Exception):
    pass


def same(what, ours, theirs):
    if ours != theirs:
        raise Differs(f"{what} is {ours!r}, and with dlt {theirs!r}")


class Pair:
    """A dataset of dlt's client and one of ours; the same calls on both."""

    def __init__(self, conn, name):
        self.conn, self.client, i = conn, None, conn.info
        # dlt wants all parts in the URL; libpq takes the host that comes last, which may be a directory
        self.url = f"postgresql://{quote(i.user)}:{quote(i.password or 'none')}@localhost:{i.port}/{quote(i.dbname)}?host={quote(i.host, safe='')}"
        self.theirs, self.ours = f"st_{name}_dlt", f"st_{name}_loader"
        for dataset in (self.theirs, self.ours):
            for schema in (dataset, dataset + "_staging"):
                self.query(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')

    def use(self, schema):
        self.close()
        self.schema = schema
        destination = postgres(self.url)
        config = destination.spec()._bind_dataset_name(dataset_name=self.theirs)
        self.client = destination.client(schema, config).__enter__()

    def close(self):
        if self.client:
            self.client.__exit__(None, None, None)

    def query(self, text, values=None):
        with self.conn.cursor() as cur:
            cur.execute(text, values)
            return cur.fetchall() if cur.description else None

    def call(self, function, *args, staging=False, **named):
        named = {**named, **({"staging": True} if staging else {})}
        text = ", ".join(["%s"] * (1 + len(args)) + [f"{k} => %s" for k in named])
        return self.query(f"SELECT * FROM {function}({text})", [self.ours, *args, *named.values()])

    def dlt(self, staging, what):
        """what(client), in the staging dataset if asked for."""
        if not staging:
            return what(self.client)
        with self.client.with_staging_dataset():
            return what(self.client)

    def both(self, function, args, what, staging=False, **named):
        """Results of ours and dlt's, None for one that raised that a relation or schema is missing."""
        ours = theirs = None
        ours_error = theirs_error = None
        try:
            theirs = self.dlt(staging, what)
        except DatabaseUndefinedRelation as e:
            theirs_error = type(e.dbapi_exception).__name__
        try:
            ours = self.call(function, *args, staging=staging, **named)
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName) as e:
            ours_error = type(e).__name__
        same(f"the error of {function}", ours_error, theirs_error)
        return ours, theirs

    def initialize(self, tables=None, staging=False):
        self.both("loader_initialize_storage", [tables], lambda c: c.initialize_storage(tables), staging)
        self.compare(staging)

    def update(self, schema, only=None, force=False, staging=False):
        text = dlt_json.dumps(schema.to_dict())
        named = {"only_tables": sorted(only) if only else None, "force": force}
        dry = self.call("loader_update_stored_schema", text, staging=staging, dry_run=True, **named)
        self.compare(staging)
        self.client.schema = schema
        ours, theirs = self.both("loader_update_stored_schema", [text], staging=staging, **named,
                                 what=lambda c: c.update_stored_schema(only_tables=named["only_tables"], force=force))
        if ours is not None:
            theirs = json.loads(dlt_json.dumps(theirs))
            same("the update", ours[0][0], theirs)
            for table in theirs:
                same(f"the order of columns of {table}", list(ours[0][0][table]["columns"]), list(theirs[table]["columns"]))
            same("the update of the dry run", dry, ours)
        self.compare(staging)
        self.client.schema = self.schema
        return ours

    def compare(self, staging=False):
        """All that there is to be seen of both datasets."""
        end = "_staging" if staging else ""
        for what, query in (("columns", COLUMNS), ("constraints", CONSTRAINTS)):
            same(what, self.query(query, [self.ours + end]), self.query(query, [self.theirs + end]))
        same("is_storage_initialized", self.call("loader_is_storage_initialized", staging=staging)[0][0],
             self.dlt(staging, lambda c: c.is_storage_initialized()))
        self.storage_tables([*self.schema.tables, "no such table"], staging)
        for name in (None, self.schema.name, "no such schema"):
            self.stored_schema("loader_get_stored_schema", name, lambda c: c.get_stored_schema(name), staging)
        for version in (self.schema.stored_version_hash, "no such hash"):
            self.stored_schema("loader_get_stored_schema_by_hash", version, lambda c: c.get_stored_schema_by_hash(version), staging)
        self.stored_state("no such pipeline")

    def storage_tables(self, tables, staging):
        theirs = self.dlt(staging, lambda c: list(c.get_storage_tables(tables)))
        ours = {}
        for name, column, data_type, nullable, precision, scale in self.call("loader_get_storage_tables", tables, staging=staging):
            columns = ours.setdefault(name, {})
            if column is not None:
                columns[column] = {"name": column, "nullable": nullable, **self.client._from_db_type(data_type, precision, scale)}
        same("get_storage_tables", list(ours.items()), theirs)

    def stored_schema(self, function, value, what, staging):
        """All but the moment at which it was stored; that is different by nature."""
        ours, theirs = self.both(function, [value], what, staging)
        ours = [row[:4] + row[5:] for row in ours]
        same(function, ours, [tuple(theirs)[:4] + tuple(theirs)[5:]] if theirs else [])

    def stored_state(self, name):
        ours, theirs = self.both("loader_get_stored_state", [name], lambda c: c.get_stored_state(name))
        if ours is not None:
            same("get_stored_state", ours, [(theirs.version, theirs.engine_version, theirs.pipeline_name, theirs.state, theirs.created_at,
                                             theirs._dlt_load_id)] if theirs else [])

    def states(self):
        """States of one pipeline by several loads, of which the last was not completed."""
        load_id, dlt_load_id, *_ = map(self.schema.naming.normalize_path, ("load_id", "_dlt_load_id"))
        name = {c: self.schema.naming.normalize_path(c) for c in
                ("version", "engine_version", "pipeline_name", "state", "created_at", "version_hash", "_dlt_load_id", "_dlt_id",
                 "load_id", "schema_name", "status", "inserted_at", "schema_version_hash")}
        for dataset in (self.ours, self.theirs):
            for n, status in ((1, 0), (2, 0), (3, 1)):
                self.insert(dataset, self.schema.state_table_name, name, version=n, engine_version=4, pipeline_name="p", state=f"s{n}",
                            created_at=f"2024-01-0{4 - n} 12:00:00+00", version_hash="h", _dlt_load_id=f"{n}.5", _dlt_id=f"i{n}")
                self.insert(dataset, self.schema.loads_table_name, name, load_id=f"{n}.5", schema_name="s", status=status,
                            inserted_at="2024-01-01 00:00:00+00", schema_version_hash="h")
        self.stored_state("p")
        assert self.call("loader_get_stored_state", "p")[0][3] == "s2"

    def insert(self, dataset, table, name, **values):
        columns = ", ".join(f'"{name[c]}"' for c in values)
        self.query(f'INSERT INTO "{dataset}"."{table}" ({columns}) VALUES ({", ".join(["%s"] * len(values))})', [*values.values()])

    def drop_tables(self, tables, delete_schema, staging=False):
        self.both("loader_drop_tables", [tables, self.schema.name, delete_schema],
                  lambda c: c.drop_tables(*tables, delete_schema=delete_schema), staging)
        self.compare(staging)

    def drop(self):
        self.both("loader_drop_storage", [], lambda c: c.drop_storage())
        for staging in (False, True):
            self.compare(staging)


def trimmed(schema, tables):
    """The schema as the load step has it in the staging dataset."""
    clone = schema.clone()
    for name in set(clone.tables) - set(tables) - set(schema.dlt_table_names()):
        del clone.tables[name]
    clone._bump_version()
    return clone


def load(pair, schema, jobs):
    """What the load step asks for with one package."""
    pair.use(schema)
    own = set(schema.dlt_table_names())
    with_jobs = {ParsedLoadJobFileName.parse(j).table_name for j in jobs}
    pair.compare()
    pair.initialize()
    pair.update(schema, with_jobs | own)
    assert pair.update(schema, with_jobs | own)[0][0] == {}
    staged = {t for t in schema.data_table_names(seen_data_only=True) if pair.client.should_load_data_to_staging_dataset(t)}
    if staged:
        pair.initialize(staging=True)
        pair.update(trimmed(schema, staged), staged | {schema.version_table_name}, staging=True)
        pair.initialize(sorted(staged), staging=True)
    pair.initialize(sorted(with_jobs))
    pair.initialize(["no such table"])


def scenario(pair, steps):
    for step in steps:
        for package in sorted((step / "package").iterdir()):
            document = json.loads((package / "schema.json").read_text("utf-8"))
            load(pair, Schema.from_dict(document), sorted(p.name for p in (package / "new_jobs").iterdir()))
    schema = pair.schema
    data = sorted(schema.data_table_names())
    pair.update(schema, force=True)
    if schema.state_table_name in schema.tables:
        pair.states()
    roots = [t for t in data if get_root_table(schema.tables, t)["name"] == t]
    pair.drop_tables(roots[:1] + ["no such table"], False)
    pair.update(schema, force=True)
    pair.drop_tables(data[:2], True)
    pair.update(schema)
    pair.drop()
    pair.drop()
    pair.update(schema)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", default="", help="of libpq; what is missing comes from the environment")
    parser.add_argument("--scenarios", type=pathlib.Path, required=True)
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    conn = psycopg2.connect(args.dsn)
    conn.autocommit = True
    conn.cursor().execute("SET client_min_messages = warning")
    passed = failed = skipped = 0
    for path in sorted(args.scenarios.iterdir()):
        if args.only and path.name not in args.only:
            continue
        extension = extensions.missing(conn.cursor(), path.name)
        if extension:
            skipped += 1
            print(f"skip {path.name}: this server has no extension {extension}")
            continue
        pair = Pair(conn, path.name[:40])
        try:
            scenario(pair, sorted(p for p in path.iterdir() if (p / "package").is_dir()))
        except Differs as e:
            failed += 1
            print(f"FAIL {path.name}: {e}"[:2000])
        else:
            passed += 1
            print(f"ok   {path.name}")
        pair.close()
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
