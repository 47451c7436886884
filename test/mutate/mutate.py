#!/usr/bin/env python3
"""Damage real packages and load them into a live server: each must be refused clearly, or be loaded
with a plausible result.

    mutate.py --dsn DSN --work DIR [--count N] [--seed S] [--only I ...] [--change NAME]

Mutant I is the same for a seed whatever N is, so --only I makes it again. The first ones are the
special ones of changes.py, once each. The server must run on this machine, where its user can read
DIR, and we must be superuser there and allowed to set limits for its processes. The extension must
be there, and nobody else.

A mutant passes if
  - no process died, and nothing took longer than --limit seconds or more than --memory megabytes
    (the limit is the kernel's, and is lifted in the end);
  - it was refused with an SQLSTATE that bad data may have, a message without control characters, and
    a detail or a hint; then no table has changed. Or it was loaded, was not one of those that must
    be refused, and the tables hold as many rows as loader.tables says;
  - after loader_forget nothing of it is left: no swap heap, no lock, no worker, nothing in the spool.
"""
import argparse
import collections
import json
import os
import pwd
import random as random_module
import re
import subprocess
import sys
import time

import psycopg
from psycopg import sql

import changes
import syncs
from package import Package, remove

HERE = os.path.dirname(os.path.abspath(__file__))
# what bad data may be refused with: its classes, and codes of others
CLASSES = {"21", "22", "23", "42", "0A", "3F", "54", "55", "2B"}
CODES = {"XX001", "58P01", "53400"}
DATASET = "mutate"

TABLES = """SELECT c.oid, c.relname, array_agg(a.attname ORDER BY a.attnum) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p') GROUP BY 1, 2 ORDER BY 2"""

LEFT = """SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'loader_swap'
    UNION ALL SELECT 'row of loader.stage: ' || kind FROM loader.stage WHERE kind <> 'staging'
    UNION ALL SELECT 'package ' || package_id FROM loader.package
    UNION ALL SELECT 'worker ' || backend_type FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type ~ '^loader'
    UNION ALL SELECT 'lock of ' || backend_type || ' on ' || relation::regclass FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE pid <> pg_backend_pid() AND datname = current_database() AND relation >= 16384 AND backend_type !~ '^autovacuum'"""

# loader.packages last: what a failed package left there must be readable, too
VIEWS = ["jobs", "tables", "events", "progress", "rejects", "datasets", "packages"]


class Failure(Exception):
    """A mutant that did what none may do."""


class Server:
    """The server: connections to it, its limits, and whether it has crashed."""

    def __init__(self, args):
        self.args = args
        self.conn = None
        self.connect()
        self.started = self.value("SELECT pg_postmaster_start_time()")
        self.data = self.value("SELECT current_setting('data_directory')")
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as file:
            self.postmaster = int(file.readline())
        self.limit(str(args.memory << 20))
        self.connect()  # a session that has the limit

    def connect(self):
        if self.conn:
            self.conn.close()
        deadline = time.monotonic() + 180
        while True:
            try:
                self.conn = psycopg.connect(self.args.dsn, autocommit=True, application_name="mutate")
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.conn.execute("SET client_min_messages = error")
        self.conn.execute("SELECT set_config('statement_timeout', %s, false)", [f"{self.args.limit}s"])

    def value(self, query, params=None):
        return self.conn.execute(query, params).fetchone()[0]

    def limit(self, size):
        """How much memory of its own each process may have that is started from now on."""
        command = ["prlimit", f"--pid={self.postmaster}", f"--data={size}:"]
        owner = os.stat(f"/proc/{self.postmaster}").st_uid
        if owner != os.geteuid():
            command = ["runuser", "-u", pwd.getpwuid(owner).pw_name, "--"] + command
        subprocess.run(command, check=True)

    def restore(self):
        self.limit("unlimited")

    def setting(self, name, value):
        """Change a setting of the whole server, and wait until it is what it shall be."""
        change = "ALTER SYSTEM RESET {}" if value is None else "ALTER SYSTEM SET {} = {}"
        before = self.value("SELECT pg_conf_load_time()")
        self.conn.execute(sql.SQL(change).format(sql.Identifier(*name.split(".")), sql.Literal(value)))
        self.conn.execute("SELECT pg_reload_conf()")
        while self.value("SELECT pg_conf_load_time()") == before:
            time.sleep(0.01)

    def crashed(self):
        """Was there a crash? Every session ends with one."""
        try:
            return self.value("SELECT pg_postmaster_start_time()") != self.started
        except psycopg.OperationalError:
            return True

    def high_water(self):
        """Of memory, of this session's process, in megabytes."""
        with open(f"/proc/{self.conn.info.backend_pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) >> 10


def identifiers(names):
    return sql.SQL(", ").join(map(sql.Identifier, names))


def contents(conn, dataset=DATASET, before=None):
    """Rows and a hash of each table; of the columns that it had before, where that is given."""
    found = {}
    for _, table, columns in conn.execute(TABLES, [dataset]).fetchall():
        if before is not None:
            if table not in before:
                # what migrate made, which may stay: without rows
                columns = []
            elif not set(before[table][0]) <= set(columns):
                found[table] = "columns are missing"
                continue
            else:
                columns = before[table][0]
        name = sql.Identifier(dataset, table)
        texts = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(c)) for c in columns or [])
        row = sql.SQL("hashtextextended(ARRAY[{}]::text[]::text, 0)").format(texts)
        count, digest = conn.execute(sql.SQL("SELECT count(*), coalesce(sum({}), 0)::text FROM {} AS t").format(row, name)).fetchone()
        found[table] = (columns or [], count, digest)
    return found


def check_text(what, text):
    if text is None:
        return
    bad = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    if bad:
        raise Failure(f"{what} with the control character {bad[0]!r}: {text!r}")
    if len(text) > 4000:
        raise Failure(f"{what} of {len(text)} characters: {text[:200]!r}")


class Mutants:
    """The mutants of a seed."""

    def __init__(self, args):
        self.args = args
        self.steps = list(self.find_steps(args.scenarios))
        if not self.steps:
            sys.exit("no scenarios found")

    def find_steps(self, directories):
        seen = set()
        for directory in directories:
            for name in sorted(os.listdir(directory)):
                file = os.path.join(directory, name, "scenario.json")
                # PostGIS may be missing; the last are slow
                if name in seen or re.search("geometry|large_values", name) or not os.path.exists(file):
                    continue
                seen.add(name)
                with open(file, encoding="utf-8") as text:
                    scenario = json.load(text)
                if "parquet" in json.dumps(scenario):
                    continue  # not a format of ours
                for i in range(len(scenario["steps"])):
                    yield directory, scenario, i

    def plan(self, index):
        """What mutant index is: its random numbers, the step that it damages, and how."""
        random = random_module.Random(f"{self.args.seed}:{index}")
        group = random_module.Random(f"{self.args.seed}:group:{index // 8}")
        directory, scenario, step = group.choice(self.steps)
        if self.args.change:
            name, change = changes.choose(random, self.args.change)
        elif index < len(changes.SPECIAL):
            name, change = changes.SPECIAL[index]
            # they come once, so to one that has rows, and nothing before it
            directory, scenario, step = next(s for s in self.steps if s[1]["name"] == self.args.base and s[2] == 0)
        else:
            name, change = changes.choose(random, None)
        return random, directory, scenario, step, name, change


class Run:
    def __init__(self, args):
        self.args = args
        self.server = Server(args)
        self.mutants = Mutants(args)
        self.base = None  # what is loaded: (scenario, steps)
        self.counts = collections.Counter()
        self.slowest = (0, "")

    # --- one package ---------------------------------------------------------------------------

    def execute(self, template, path, options):
        named = [sql.SQL(", {} => {}").format(sql.Identifier(k), sql.Literal(json.dumps(v) if isinstance(v, dict) else v)) for k, v in options.items()]
        statement = sql.SQL(template).format(path=sql.Literal(path), dataset=sql.Literal(DATASET), options=sql.SQL("").join(named))
        return self.server.conn.execute(statement)

    def clear(self):
        conn = self.server.conn
        for (package,) in conn.execute("SELECT package_id FROM loader.package ORDER BY 1").fetchall():
            self.forget(package)
        for name in (DATASET, DATASET + "_staging"):
            tables = [t for _, t, _ in conn.execute(TABLES, [name]).fetchall()]
            for i in range(0, len(tables), 500):
                conn.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.SQL(", ").join(sql.Identifier(name, t) for t in tables[i : i + 500])))
            conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
        self.base = None

    def forget(self, package):
        conn = self.server.conn
        try:
            conn.execute("SELECT loader_forget(%s)", [package])
        except psycopg.errors.ObjectNotInPrerequisiteState:
            conn.execute("SELECT loader_cancel(%s)", [package])
            conn.execute("SELECT loader_wait(%s, '180s')", [package])
            conn.execute("SELECT loader_forget(%s)", [package])

    def package_of(self, directory, scenario, step):
        return Package.read(os.path.join(directory, scenario["name"], scenario["steps"][step]["package"]))

    def prepare(self, directory, scenario, step):
        """The steps before the one that is damaged, as they are."""
        if self.base == (directory, scenario["name"], step):
            return
        self.clear()
        for i in range(step):
            package = self.package_of(directory, scenario, i)
            self.load_good(package, scenario["steps"][i]["options"])
        for (package,) in self.server.conn.execute("SELECT package_id FROM loader.package ORDER BY 1").fetchall():
            self.forget(package)
        self.base = (directory, scenario["name"], step)

    def load_good(self, package, options):
        path = package.write(self.args.work)
        try:
            self.execute("CALL loader_run({path}, dataset => {dataset}{options})", path, options)
        finally:
            remove(path)

    # --- what must hold ------------------------------------------------------------------------

    def check_refusal(self, error):
        if error.sqlstate is None:
            raise Failure(f"no SQLSTATE: {error}")
        diag = error.diag
        self.check_error(error.sqlstate, diag.message_primary, diag.message_detail, diag.message_hint)

    def check_error(self, code, message, detail, hint):
        if code not in CODES and code[:2] not in CLASSES:
            raise Failure(f"refused with {code}: {message!r} {detail!r}")
        for what, text in (("message", message), ("detail", detail), ("hint", hint)):
            check_text(what, text)
        if not detail and not hint:
            raise Failure(f"neither detail nor hint: {code} {message!r}")

    def check_loaded(self, package, before):
        """Rows that came are rows that are there."""
        conn = self.server.conn
        state, load_id, dataset = conn.execute("SELECT state, load_id, dataset FROM loader.packages WHERE package_id = %s", [package]).fetchone()
        if state != "loaded":
            raise Failure(f"CALL succeeded, and the package is {state}")
        bad = conn.execute("SELECT job_id, state FROM loader.jobs WHERE package_id = %s AND state <> 'completed'", [package]).fetchall()
        if bad:
            raise Failure(f"loaded, with jobs that are not: {bad[:3]}")
        now = contents(conn, dataset)
        if before is not None:
            for table, disposition, inserted, deleted, stage in conn.execute(
                    "SELECT table_name, disposition, rows_inserted, rows_deleted, stage FROM loader.tables WHERE package_id = %s", [package]).fetchall():
                if table not in now:
                    raise Failure(f"table {table!r} of a loaded package is not there")
                had = before[table][1] if table in before else 0
                if disposition == "append" and now[table][1] not in (had + inserted - deleted, inserted):
                    raise Failure(f"{table}: {had} rows, {inserted} inserted, {deleted} deleted, and there are {now[table][1]}")
                if disposition == "replace" and now[table][1] != inserted and now[table][1] != had + inserted - deleted:
                    raise Failure(f"{table}: replaced by {inserted} rows, and there are {now[table][1]}")

    def check_unchanged(self, before):
        now = contents(self.server.conn, before=before)
        for table, was in before.items():
            if now.get(table) != was:
                raise Failure(f"refused, and {table!r} has changed from {was[1:]} to {now.get(table, ('', 'nothing'))[1:]}")
        for table, (_, count, _) in now.items():
            if table not in before and count != 0:
                raise Failure(f"refused, and the new table {table!r} has {count} rows")

    def check_left(self):
        """Workers end a moment after their package."""
        deadline = time.monotonic() + max(self.args.limit, 10)
        while True:
            left = [row[0] for row in self.server.conn.execute(LEFT).fetchall()]
            if not left:
                break
            if time.monotonic() > deadline:
                raise Failure(f"left behind: {left[:3]}")
            time.sleep(0.01)

    def check_views(self):
        for view in VIEWS:
            self.server.conn.execute(sql.SQL("SELECT count(v::text) FROM {} AS v").format(sql.Identifier("loader", view)))

    # --- one mutant ----------------------------------------------------------------------------

    def one(self, index):
        random, directory, scenario, step, name, change = self.mutants.plan(index)
        label = f"{index} {scenario['name']}/{step + 1} {name}"
        package = self.package_of(directory, scenario, step)
        expect = change(random, package)
        if expect is None:
            self.counts["without anything to change"] += 1
            return
        began = time.monotonic()
        path = None
        try:
            self.prepare(directory, scenario, step)
            path = package.write(self.args.work)
            began = time.monotonic()
            outcome = self.load_mutant(path, scenario["steps"][step]["options"], expect, random.random() < 0.25)
            self.counts[outcome] += 1
            if outcome == "loaded":
                self.base = None
            if self.args.verbose:
                print(f"{time.monotonic() - began:.2f} ok   {label}: {outcome} {self.said if outcome == 'refused' else ''}", flush=True)
        except (Failure, psycopg.Error) as error:
            self.counts["failed"] += 1
            said = str(error).splitlines()[0] if not isinstance(error, Failure) else error
            crashed = " A PROCESS DIED." if self.server.crashed() else ""
            print(f"FAIL {label}:{crashed} {said}", flush=True)
            if self.server.conn.closed or crashed:
                self.server.connect()
            self.base = None
            self.clear()
        finally:
            took = time.monotonic() - began
            self.slowest = max(self.slowest, (took, label))
            if path:
                remove(path)

    def load_mutant(self, path, options, expect, plan):
        conn = self.server.conn
        before = contents(conn)
        refused = None
        if plan:
            try:
                self.execute("SELECT * FROM loader_plan({path}, dataset => {dataset}{options})", path, options)
            except psycopg.Error as error:
                self.check_refusal(error)
        try:
            package = self.execute("CALL loader_run({path}, dataset => {dataset}{options})", path, options).fetchone()[0]
        except psycopg.Error as error:
            refused = error
        if refused:
            self.check_refusal(refused)
            self.said = f"{refused.sqlstate} {refused.diag.message_primary}"
            if expect == changes.LOAD:
                raise Failure(f"refused, and nothing is wrong with it: {refused.sqlstate} {refused.diag.message_primary!r} {refused.diag.message_detail!r}")
            self.check_unchanged(before)
        elif expect == changes.REFUSE:
            raise Failure("loaded")
        else:
            self.check_loaded(package, before)
        self.check_views()
        for (package,) in conn.execute("SELECT package_id FROM loader.package ORDER BY 1").fetchall():
            self.forget(package)
        self.check_left()
        return "refused" if refused else "loaded"

    def one_sync(self, index):
        """A damaged Airbyte sync of a file. Its streams commit at their states, so tables may change."""
        what, catalog, config, data = syncs.make(random_module.Random(f"{self.args.seed}:sync:{index}"))
        conn = self.server.conn
        path = os.path.join(self.args.work, f"sync{index}.jsonl")
        with open(path, "wb") as file:
            file.write(data)
        began = time.monotonic()
        outcome = "sync loaded"
        try:
            try:
                package = conn.execute("SELECT loader_start(%s, %s::json, %s::jsonb)", [path, catalog, config]).fetchone()[0]
                state = conn.execute("SELECT loader_wait(%s, make_interval(secs => %s))", [package, self.args.limit]).fetchone()[0]
                code, message, detail, hint = conn.execute(
                    "SELECT sqlstate, message, detail, hint FROM loader.packages WHERE package_id = %s", [package]).fetchone()
                if state not in ("loaded", "failed"):
                    raise Failure(f"the sync is {state} after {self.args.limit} s")
                if state == "failed":
                    outcome = "sync refused"
                    self.check_error(code, message, detail, hint)
            except psycopg.Error as error:
                outcome = "sync refused"
                self.check_refusal(error)
            self.check_views()
            for (package,) in conn.execute("SELECT package_id FROM loader.package ORDER BY 1").fetchall():
                self.forget(package)
            self.check_left()
            self.counts[outcome] += 1
            if self.args.verbose:
                print(f"{time.monotonic() - began:.2f} ok   sync {index} {what}: {outcome}", flush=True)
        except (Failure, psycopg.Error) as error:
            self.counts["failed"] += 1
            crashed = " A PROCESS DIED." if self.server.crashed() else ""
            print(f"FAIL sync {index} {what}:{crashed} {error}", flush=True)
            if conn.closed or crashed:
                self.server.connect()
            self.clear()
        finally:
            self.slowest = max(self.slowest, (time.monotonic() - began, f"sync {index} {what}"))
            os.unlink(path)

    def clear_syncs(self):
        """What syncs have made: the names of their datasets are hostile, too."""
        self.server.conn.execute("DELETE FROM loader.stream; DELETE FROM loader.stream_state")
        for (name,) in self.server.conn.execute("""SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^(loader|pg_)'
                AND nspname <> 'public'""").fetchall():
            self.server.conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))

    def check_spool(self):
        """What is left in the spool of this database once it was swept, which loader_scan does; workers do so, too."""
        where = self.server.value("SELECT current_setting('loader.spool_directory')")
        database = str(self.server.value("SELECT oid FROM pg_database WHERE datname = current_database()"))
        where = os.path.join(self.server.data, where, database)
        empty = os.path.join(self.args.work, "empty")
        os.makedirs(empty, exist_ok=True)
        self.server.setting("loader.upload_retention", "0")
        deadline = time.monotonic() + max(self.args.limit, 10)
        while True:
            self.server.conn.execute("SELECT loader_scan(%s, %s)", [empty, DATASET])
            left = [os.path.join(root, name) for root, _, names in os.walk(where) for name in names]
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        self.server.setting("loader.upload_retention", None)
        os.rmdir(empty)
        return left

    def check_log(self):
        """What the server says of processes that died, and of its own mistakes."""
        if not self.args.log:
            return []
        with open(self.args.log, encoding="utf-8", errors="replace") as file:
            file.seek(self.log_from)
            return [line.strip() for line in file if re.search(r"terminated by signal|PANIC|TRAP:|XX000", line)]

    def run(self):
        args = self.args
        self.log_from = os.path.getsize(args.log) if args.log else 0
        indexes = args.only or range(args.count)
        print(f"seed {args.seed}, {len(indexes)} mutants, {len(changes.SPECIAL)} of them special,"
              f" {len(self.mutants.steps)} packages", flush=True)
        began = time.monotonic()
        peak = 0
        try:
            for index in indexes:
                self.one(index)
                peak = max(peak, self.server.high_water())
            self.clear()
            for index in range(args.syncs):
                self.one_sync(index)
                if index % 20 == 19 or index == args.syncs - 1:
                    self.clear_syncs()
            left = self.check_spool()
            if left:
                self.counts["failed"] += 1
                print(f"FAIL {len(left)} files are left in the spool, such as {os.path.basename(left[0])}")
            said = self.check_log()
            if said:
                self.counts["failed"] += 1
                print(f"FAIL the server's log: {said[:3]}")
        finally:
            self.server.restore()
        failed = self.counts.pop("failed", 0)
        print(", ".join(f"{n} {what}" for what, n in sorted(self.counts.items())) +
              f"; {time.monotonic() - began:.0f} s, the slowest {self.slowest[0]:.1f} s ({self.slowest[1]});"
              f" memory of a session up to {peak} MB, of all below {args.memory} MB")
        passed = sum(n for what, n in self.counts.items() if what.endswith(("loaded", "refused")))
        print(f"{passed} passed, {failed} failed")
        return 0 if passed and not failed else 1


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dsn", required=True)
    p.add_argument("--work", required=True, metavar="DIR", help="where mutants are written")
    p.add_argument("--count", type=int, default=5000)
    p.add_argument("--syncs", type=int, default=0, metavar="N", help="damaged Airbyte syncs, too")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", type=int, action="append", metavar="I")
    p.add_argument("--change", metavar="NAME", help="this change only")
    p.add_argument("--base", default="append_nested", help="the scenario that special changes damage")
    p.add_argument("--scenarios", action="append", metavar="DIR")
    p.add_argument("--limit", type=int, default=10, metavar="SECONDS")
    p.add_argument("--memory", type=int, default=384, metavar="MEGABYTES")
    p.add_argument("--log", metavar="FILE", help="the server's: must not tell of a process that died")
    p.add_argument("--verbose", action="store_true")
    args = p.parse_args()
    args.scenarios = args.scenarios or [os.path.join(HERE, "..", "oracle", "scenarios")]
    return args


if __name__ == "__main__":
    sys.exit(Run(arguments()).run())
