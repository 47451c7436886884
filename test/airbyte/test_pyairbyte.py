"""PyAirbyte drives the connector: get_destination("destination-loader").write(source, ...).

Both executables run through wrappers that record what a source said and what the connector was
told and said; what tables must hold is computed from the source's records alone (model.py).
"""

import datetime
import json
import os
import pathlib
import re
import signal
import stat
import threading
import warnings

import psycopg
import pytest

import model
from conftest import (DSN, check_tables, restart_server,
                      table_columns, table_rows, wait_until)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import airbyte as ab
    from airbyte import exceptions as exc
    from airbyte.strategies import WriteStrategy

FAKER = {"count": 60, "seed": 1, "records_per_slice": 20, "parallelism": 1, "always_updated": True}
MODES = {"append": "append", "replace": "overwrite", "merge": "append_dedup"}

pytestmark = [
    # PyAirbyte says that REPLACE of what a source has new can lose rows; that is what is tested
    pytest.mark.filterwarnings("ignore::airbyte.exceptions.PyAirbyteDataLossWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

# $1 of the wrapped command is what it does. exec: the process keeps the id that PyAirbyte knows,
# so signals and exit status are those of the connector.
WRAPPER = """#!/usr/bin/env bash
if [ "$1" = write ]; then
	n=$(ls "{record}" | wc -l)
	d={record}/$n && mkdir "$d" && cp "$5" "$d/catalog.json" && echo $$ >"$d/pid" || exit 9
	exec {command} "$@" < <(exec tee "$d/input") > >(exec tee "$d/output")
elif [ "$1" = read ]; then
	n=$(ls "{record}" | wc -l)
	d={record}/$n && mkdir "$d" && cp "$7" "$d/state.json" || exit 9
	exec {command} "$@" > >(exec tee "$d/output")
fi
exec {command} "$@"
"""


def wrapper(directory, name, command):
    """An executable that records the runs of a command. Returns it, and where they are."""
    record = directory / f"{name}.runs"
    record.mkdir()
    path = directory / name
    path.write_text(WRAPPER.format(record=record, command=command))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path, record


class Runs:
    """What a wrapper has recorded, by run."""

    def __init__(self, directory):
        self.directory = directory

    def __len__(self):
        return len(list(self.directory.iterdir()))

    def path(self, what, run=-1):
        return self.directory / str(range(len(self))[run]) / what

    def lines(self, what, run=-1):
        path = self.path(what, run)
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    def messages(self, what, run=-1):
        return [model.loads(line) for line in self.lines(what, run) if line.startswith(b"{")]

    def catalog(self, run=-1):
        return json.loads(self.path("catalog.json", run).read_text())

    def states(self, run=-1):
        return [m["state"] for m in self.messages("output", run) if m["type"] == "STATE"]

    def pid(self, run=-1):
        return int(self.lines("pid", run)[0])


@pytest.fixture
def destination(connector, config, tmp_path):
    """destination(**more): the connector with this configuration; destination.runs is what it was
    told and said."""
    path, record = wrapper(tmp_path, "destination-loader", connector)

    def make(callback=None, **more):
        return ab.get_destination("destination-loader", local_executable=path,
                                  config=config | more, config_change_callback=callback)

    make.runs = Runs(record)
    return make


@pytest.fixture(scope="module")
def faker(tmp_path_factory):
    """source-faker; its start and what it discovers are the same for all tests."""
    path, record = wrapper(tmp_path_factory.mktemp("faker"), "source-faker",
                           os.environ["LOADER_TEST_FAKER"])
    source = ab.get_source("source-faker", local_executable=path, config=FAKER)
    source.select_all_streams()
    source.runs = Runs(record)
    return source


@pytest.fixture
def replay(tmp_path):
    """replay(streams, messages): a source that sends these messages."""
    here = pathlib.Path(__file__).parent
    path, record = wrapper(tmp_path, "source-replay", f"{here}/replay_source.py")

    def make(streams, messages):
        script = tmp_path / "messages.jsonl"
        script.write_text("".join(json.dumps(m) + "\n" for m in messages))
        source = ab.get_source("source-replay", local_executable=path,
                               config={"streams": streams, "messages": str(script)})
        source.select_all_streams()
        source.runs = Runs(record)
        return source

    return make


@pytest.fixture
def cache(tmp_path):
    cache = ab.DuckDBCache(db_path=tmp_path / "cache.duckdb", schema_name="cached")
    yield cache
    cache.processor.sql_config.dispose_engine()


def configured(source, strategy):
    """The catalog that PyAirbyte should make of a source's streams with a write strategy."""
    catalog = {"streams": []}
    for stream in source.discovered_catalog.model_dump(exclude_none=True)["streams"]:
        key, cursor = (stream.get("source_defined_primary_key"), stream.get("default_cursor_field"))
        mode = MODES.get(strategy) or (
            "append_dedup" if key else "append" if cursor else "overwrite")
        catalog["streams"].append({
            "stream": stream, "destination_sync_mode": mode, "primary_key": key,
            "cursor_field": cursor, "generation_id": 1, "minimum_generation_id": 1, "sync_id": 1})
    return catalog


def records(runs, run=-1):
    return [m for m in runs.messages("output", run) if m["type"] == "RECORD"]


def confirmed(result):
    """Records by stream that the connector confirmed by its states."""
    return dict(result._progress_tracker.destination_stream_records_confirmed)


def counts(messages):
    count = {}
    for message in messages:
        stream = message["record"]["stream"]
        count[stream] = count.get(stream, 0) + 1
    return count


def stream(name, /, *, key=None, cursor=None, **properties):
    return {"name": name, "supported_sync_modes": ["full_refresh", "incremental"],
            "json_schema": {"type": "object", "properties": properties},
            **({"source_defined_primary_key": [[key]]} if key else {}),
            **({"default_cursor_field": [cursor], "source_defined_cursor": True} if cursor else {})}


def record(name, at, /, **data):
    return {"type": "RECORD", "record": {"stream": name, "data": data, "emitted_at": at}}


def state(name, n, count=None):
    return {"type": "STATE", "state": {
        "type": "STREAM", "id": n, "stream": {"stream_descriptor": {"name": name},
                                              "stream_state": {"n": n, "more": [None, {"x": "é"}]}},
        **({} if count is None else {"sourceStats": {"recordCount": float(count)}})}}


def status(name, what="COMPLETE"):
    return {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": 1795377950799.118,
                                       "stream_status": {"stream_descriptor": {"name": name},
                                                         "status": what}}}


AT = 1795377950799
USERS = stream("users", key="id", cursor="n", id={"type": "integer"}, n={"type": "integer"},
               name={"type": ["null", "string"]})


def users(first, last):
    return [record("users", AT + i, id=i, n=i, name=f"Zoë {i}") for i in range(first, last + 1)]


# --- spec, check, configuration ------------------------------------------------------------------

def test_spec(destination):
    spec = destination()._get_spec()
    assert spec.supportsIncremental
    assert {m.value for m in spec.supported_destination_sync_modes} == set(MODES.values())
    properties = destination().config_spec["properties"]
    assert properties["password"]["airbyte_secret"] is True
    assert {"host", "port", "database", "schema", "username", "ssl_mode"} <= set(properties)


def test_validate_config(destination):
    destination().validate_config()
    destination(somebody_elses="key").validate_config()
    for wrong in ({"port": "a port"}, {"host": 1}, {"cdc_deletion_mode": "perhaps"},
                  {"ssl_mode": {"mode": "maybe"}}):
        with pytest.raises(exc.AirbyteConnectorValidationFailedError):
            destination(**wrong).validate_config()
    bad = destination()
    config = bad.get_config()
    del config["host"]
    with pytest.raises(exc.AirbyteConnectorValidationFailedError):
        bad.validate_config(config)


def test_check(destination, db):
    everything = "SELECT oid FROM pg_class UNION SELECT oid FROM pg_namespace"
    packages = "SELECT package_id FROM loader.packages"
    before = [set(db.execute(query)) for query in (everything, packages)]
    destination().check()
    assert [set(db.execute(query)) for query in (everything, packages)] == before


@pytest.mark.parametrize("wrong, named", [
    ({"port": 1}, "port 1|\\.s\\.PGSQL\\.1"),
    ({"database": "nowhere"}, "nowhere"),
    ({"database": "template1"}, "loader"),      # no extension there
    ({"username": "nobody at all"}, "nobody at all"),
    ({"cdc_deletion_mode": "perhaps"}, "cdc_deletion_mode"),
])
def test_check_failed(destination, wrong, named):
    with pytest.raises(exc.AirbyteConnectorCheckFailedError) as failure:
        destination(**wrong).check()
    reason = failure.value.context["failure_reason"]
    assert re.search(named, reason), reason
    assert "not asked for" not in reason        # the password


def test_check_without_rights(destination, db, schema):
    """What the role is not allowed to do is said before the sync, one thing after the other."""
    role = "loader_airbyte_role"
    if db.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchall():
        db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    db.execute(f"CREATE ROLE {role} LOGIN")
    functions = "FUNCTION " + ", ".join(f for (f,) in db.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'loader_airbyte_%'"))
    missing = [("schema of the extension", "GRANT USAGE ON SCHEMA ext"),
               ("loader_airbyte_open", f"GRANT EXECUTE ON {functions}"),
               ("create|CREATE", f"GRANT CREATE ON DATABASE {db.info.dbname}")]
    for reason, remedy in missing:
        with pytest.raises(exc.AirbyteConnectorCheckFailedError) as failure:
            destination(username=role).check()
        assert re.search(reason, failure.value.context["failure_reason"]), failure.value.context
        db.execute(f"{remedy} TO {role}")
    destination(username=role).check()
    db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# --- the four strategies, with and without cache -------------------------------------------------

@pytest.mark.parametrize("strategy", ["auto", "append", "replace", "merge"])
@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cached"])
def test_strategy(destination, faker, cache, db, schema, strategy, cached):
    """Twice in a row, the second time with other values under the same keys."""
    catalog = configured(faker, strategy)
    in_cache, tables = model.Tables(), model.Tables()
    for seed in (1, 2):
        faker.set_config(FAKER | {"seed": seed}, validate=False)
        result = destination().write(faker, cache=cache if cached else False, state_cache=False,
                                     write_strategy=WriteStrategy(strategy))
        sent = records(faker.runs)
        assert counts(sent) == {"products": 60, "users": 60, "purchases": 60}
        if cached:
            in_cache.sync(catalog, sent)
            sent = list(model.through_cache(in_cache, catalog))
        tables.sync(catalog, sent)
        check_tables(db, schema, catalog, tables)
        assert result.processed_records == len(sent)
        if not cached:
            assert confirmed(result) == counts(sent)
        # every state came back, in order, as it was but for the counts
        told = [m["state"] for m in destination.runs.messages("input") if m["type"] == "STATE"]
        assert len(told) >= 3
        by_stream = {}
        for states, which in ((told, 0), (destination.runs.states(), 1)):
            for state in states:
                name = state["stream"]["stream_descriptor"]["name"]
                by_stream.setdefault(name, ([], []))[which].append(state["stream"]["stream_state"])
        for received, returned in by_stream.values():
            assert returned[-1] == received[-1]
            assert all(state in received for state in returned)
            assert [s for s in received if s in returned] == returned
        sent_catalog = destination.runs.catalog()
        assert [s["destination_sync_mode"] for s in sent_catalog["streams"]] == [
            s["destination_sync_mode"] for s in catalog["streams"]]


def test_cached_twice_confirms(destination, replay, cache, db, schema):
    """From a cache the counts of the source's states are 0; those of the destination are not."""
    source = replay([USERS], [*users(1, 30), state("users", 30), status("users")])
    result = destination().write(source, cache=cache)
    assert confirmed(result) == {"users": 30}


# --- state ---------------------------------------------------------------------------------------

def test_state(destination, faker, cache, db, schema):
    """A source that has nothing new sends nothing the second time, as long as it gets its state."""
    faker.set_config(FAKER | {"always_updated": False}, validate=False)
    catalog, tables = configured(faker, "append"), model.Tables()
    write = lambda **more: destination().write(
        faker, cache=False, write_strategy=WriteStrategy.APPEND, **more)
    sizes = []
    for more in ({"state_cache": cache}, {"state_cache": cache}, {"state_cache": False},
                 {"state_cache": cache, "force_full_refresh": True}, {"state_cache": cache}):
        write(**more)
        tables.sync(catalog, records(faker.runs))
        check_tables(db, schema, catalog, tables)
        sizes.append(len(records(faker.runs)))
    assert sizes == [180, 0, 180, 180, 0]
    # what was stored is what the server has
    given = json.loads(faker.runs.path("state.json").read_text())
    kept = db.execute("SELECT loader_airbyte_states()").fetchone()[0]
    assert {stream_state(s) for s in kept} == {stream_state(s) for s in given}


def stream_state(state):
    return (state["stream"]["stream_descriptor"]["name"],
            json.dumps(state["stream"]["stream_state"], sort_keys=True))


def test_default_caches(destination, faker, db, schema, monkeypatch, tmp_path):
    """write(source), with nothing said: PyAirbyte's default cache is in the project's directory."""
    from airbyte.caches import util

    monkeypatch.setattr(util, "DEFAULT_CACHE_ROOT", tmp_path)
    faker.set_config(FAKER | {"always_updated": False}, validate=False)
    catalog, in_cache, tables = configured(faker, "auto"), model.Tables(), model.Tables()
    for _ in range(2):
        destination().write(faker)
        in_cache.sync(catalog, records(faker.runs))
        tables.sync(catalog, model.through_cache(in_cache, catalog))
        check_tables(db, schema, catalog, tables)
    assert records(faker.runs) == []
    assert list(tmp_path.rglob("*.duckdb"))


@pytest.mark.parametrize("strategy", ["auto", "append", "replace", "merge"])
@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cached"])
def test_force_full_refresh(destination, replay, cache, db, schema, strategy, cached):
    """There is a state, but the source does not get it."""
    messages = [*users(1, 20), state("users", 20), *users(15, 40), state("users", 40),
                status("users")]
    source = replay([USERS], messages)
    catalog, in_cache, tables = configured(source, strategy), model.Tables(), model.Tables()
    for _ in range(3):
        destination().write(source, cache=cache if cached else False, state_cache=cache,
                            write_strategy=WriteStrategy(strategy), force_full_refresh=True)
        sent = records(source.runs)
        assert len(sent) == 46
        if cached:
            in_cache.sync(catalog, sent)
            sent = model.through_cache(in_cache, catalog)
        tables.sync(catalog, sent)
        check_tables(db, schema, catalog, tables)
    assert {s["sync_mode"] for s in destination.runs.catalog()["streams"]} == {"full_refresh"}


def test_streams(destination, faker, db, schema):
    """Only some of the source's streams."""
    faker.set_config(FAKER, validate=False)
    destination().write(faker, streams=["products", "users"], cache=False, state_cache=False)
    catalog, tables = configured(faker, "auto"), model.Tables()
    catalog["streams"] = [s for s in catalog["streams"] if s["stream"]["name"] != "purchases"]
    tables.sync(catalog, records(faker.runs))
    check_tables(db, schema, catalog, tables)
    assert db.execute("SELECT relname::text FROM pg_class WHERE relnamespace = %s::regnamespace"
                      " AND relkind = 'r' ORDER BY 1", (schema,)).fetchall() == [
        ("products",), ("users",)]


def test_read_result(destination, faker, cache, db, schema):
    """What was read into a cache before, from there."""
    faker.set_config(FAKER, validate=False)
    read = faker.read(cache, streams=["users"])
    catalog, in_cache, tables = configured(faker, "auto"), model.Tables(), model.Tables()
    catalog["streams"] = [s for s in catalog["streams"] if s["stream"]["name"] == "users"]
    in_cache.sync(catalog, records(faker.runs))
    for _ in range(2):
        destination().write(read)
        tables.sync(catalog, model.through_cache(in_cache, catalog))
        check_tables(db, schema, catalog, tables)
    faker.select_all_streams()


# --- sources of other kinds ----------------------------------------------------------------------

def test_auto_is_resolved_for_each_stream(destination, replay, db, schema):
    plain = {"id": {"type": "integer"}, "n": {"type": "integer"}}
    source = replay(
        [stream("keyed", key="id", cursor="n", **plain), stream("key_only", key="id", **plain),
         stream("cursor_only", cursor="n", **plain), stream("neither", **plain)],
        [m for name in ("keyed", "key_only", "cursor_only", "neither") for m in (
            status(name, "STARTED"), record(name, AT, id=1, n=1), record(name, AT + 1, id=1, n=2),
            record(name, AT + 2, id=2, n=0), state(name, 3), status(name))])
    catalog, tables = configured(source, "auto"), model.Tables()
    for expected in (2, 2, 3, 3), (2, 2, 6, 3):
        destination().write(source, cache=False, state_cache=False)
        tables.sync(catalog, records(source.runs))
        check_tables(db, schema, catalog, tables)
        assert tuple(len(rows) for rows in tables.tables.values()) == expected
    with pytest.raises(exc.PyAirbyteInputError):
        destination().write(source, cache=False, write_strategy=WriteStrategy.MERGE)


def test_overrides(destination, replay, db, schema):
    """Key and cursor that the user names."""
    plain = {"id": {"type": "integer"}, "n": {"type": "integer"}}
    source = replay([stream("pairs", **plain)],
                    [record("pairs", AT, id=1, n=5), record("pairs", AT, id=1, n=4),
                     record("pairs", AT, id=2, n=1), status("pairs")])
    source.set_primary_key("pairs", "id")
    source.set_cursor_key("pairs", "n")
    destination().write(source, cache=False, state_cache=False)
    assert db.execute(f"SELECT id, n FROM {schema}.pairs ORDER BY id").fetchall() == [
        (1, 5), (2, 1)]


def test_types(destination, replay, db, schema):
    """Columns by the schema, values of each kind, and one that does not fit."""
    types = {
        "s": {"type": "string"}, "d": {"type": "string", "format": "date"},
        "ts": {"type": "string", "format": "date-time"},
        "tn": {"type": "string", "format": "date-time",
               "airbyte_type": "timestamp_without_timezone"},
        "tt": {"type": "string", "format": "time", "airbyte_type": "time_without_timezone"},
        "tz": {"type": ["string", "null"], "format": "time"},
        "i": {"type": "integer"}, "ni": {"type": "number", "airbyte_type": "integer"},
        "f": {"type": ["null", "number"]}, "b": {"type": "boolean"},
        "o": {"type": "object", "properties": {}}, "a": {"type": "array"},
        "u": {"type": ["string", "integer"]}, "any": {}}
    good = {"s": "Zoë \\ \"q\"\n\t'", "d": "2024-02-29", "ts": "2024-02-29T23:59:59Z",
            "tn": "2024-02-29T12:00:00.123456", "tt": "01:02:03", "tz": "01:02:03+05:30",
            "i": -2**63, "ni": 7, "f": 0.1, "b": False, "o": {"k": [1, None]}, "a": [],
            "u": "x", "any": {"y": 1}}
    source = replay([stream("kinds", id={"type": "integer"}, **types)],
                    [record("kinds", AT, id=1, **good), record("kinds", AT, id=2),
                     record("kinds", AT, id=3, i="4x", u=5, unknown=1), status("kinds")])
    destination().write(source, cache=False, state_cache=False)
    catalog = configured(source, "auto")
    assert table_columns(db, schema, "kinds") == model.columns(catalog["streams"][0])
    first, second, third = sorted(table_rows(db, schema, "kinds"), key=lambda row: row["id"])
    utc = model.UTC
    offset = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    assert {name: first[name] for name in types} == good | {
        "d": datetime.date(2024, 2, 29),
        "ts": datetime.datetime(2024, 2, 29, 23, 59, 59, tzinfo=utc),
        "tn": datetime.datetime(2024, 2, 29, 12, 0, 0, 123456), "tt": datetime.time(1, 2, 3),
        "tz": datetime.time(1, 2, 3, tzinfo=offset), "f": model.decimal.Decimal("0.1")}
    assert all(second[name] is None for name in types)
    assert third["i"] is None and third["u"] == 5
    assert [row["_airbyte_meta"] for row in (first, second, third)] == [
        {"sync_id": 1, "changes": []}, {"sync_id": 1, "changes": []},
        {"sync_id": 1, "changes": [{"field": "i", "change": "NULLED",
                                    "reason": "DESTINATION_SERIALIZATION_ERROR"}]}]


@pytest.mark.parametrize("namespace", [None, "Other Space"])
def test_names(destination, replay, db, schema, namespace):
    """Names that are none in SQL."""
    odd = stream("Crème brûlée", key="Id", **{
        "Id": {"type": "integer"}, "select": {"type": "string"}, "a b": {"type": "string"}})
    message = record("Crème brûlée", AT, **{"Id": 1, "select": "x", "a b": "y"})
    if namespace:
        odd["namespace"] = message["record"]["namespace"] = namespace
    done = status("Crème brûlée")
    if namespace:
        done["trace"]["stream_status"]["stream_descriptor"]["namespace"] = namespace
    source = replay([odd], [message, done])
    destination().write(source, cache=False, state_cache=False)
    try:
        rows = table_rows(db, "Other_Space" if namespace else schema, "Creme_brulee")
        assert [(row["Id"], row["select"], row["a_b"]) for row in rows] == [(1, "x", "y")]
    finally:
        db.execute('DROP SCHEMA IF EXISTS "Other_Space" CASCADE')


def test_states_of_the_whole_source(destination, replay, db, schema):
    """GLOBAL and LEGACY states; a SQL state cache of PyAirbyte's knows only those of streams."""
    whole = {"type": "STATE", "state": {"type": "GLOBAL", "global": {
        "shared_state": {"lsn": 1234567890123456789}, "stream_states": [
            {"stream_descriptor": {"name": "users"}, "stream_state": {"n": 3}}]}}}
    source = replay([USERS], [*users(1, 3), whole, status("users")])
    destination().write(source, cache=False, state_cache=False)
    (returned,) = destination.runs.states()
    assert returned["type"] == "GLOBAL" and returned["destinationStats"]["recordCount"] == 3
    assert returned["global"]["shared_state"] == {"lsn": 1234567890123456789}
    assert returned["global"]["stream_states"][0]["stream_state"] == {"n": 3}

    for more in {"type": "LEGACY"}, {}:
        legacy = {"type": "STATE", "state": {"data": {"users": {"n": 6}}} | more}
        source = replay([USERS], [*users(4, 6), legacy, status("users")])
        destination().write(source, cache=False, state_cache=False)
        (returned,) = destination.runs.states()
        assert returned["type"] == "LEGACY" and returned["data"] == {"users": {"n": 6}}
        assert returned["destinationStats"]["recordCount"] == 3
    assert len(table_rows(db, schema, "users")) == 6


def test_schema_change(destination, replay, db, schema):
    """A new property, one that is gone, and one of another type."""
    before = stream("things", key="id", id={"type": "integer"}, gone={"type": "string"},
                    other={"type": "integer"})
    after = stream("things", key="id", id={"type": "integer"}, other={"type": "string"},
                   new={"type": "boolean"})
    destination().write(replay([before], [record("things", AT, id=1, gone="x", other=5),
                                          status("things")]), cache=False, state_cache=False)
    destination().write(replay([after], [record("things", AT, id=2, other="six", new=True),
                                         status("things")]), cache=False, state_cache=False)
    assert table_columns(db, schema, "things") == model.OWN_COLUMNS | {
        "id": "bigint", "gone": "character varying", "other": "character varying",
        "new": "boolean"}
    rows = db.execute(f"SELECT id, gone, other, new FROM {schema}.things ORDER BY id").fetchall()
    assert rows == [(1, "x", "5", None), (2, None, "six", True)]


def test_empty_stream_leaves_the_table_alone(destination, replay, db, schema):
    """A stream that the source did not even start, though it was to be replaced."""
    streams = [USERS, stream("others", id={"type": "integer"})]
    everything = [*users(1, 3), status("users"), record("others", AT, id=1), status("others")]
    write = lambda source: destination().write(source, cache=False, state_cache=False,
                                               write_strategy=WriteStrategy.REPLACE)
    ids = lambda table: [i for (i,) in db.execute(f"SELECT id FROM {schema}.{table} ORDER BY id")]
    write(replay(streams, everything))
    write(replay(streams, [*users(4, 4), status("users")]))
    assert (ids("users"), ids("others")) == ([4], [1])
    # after that a stream without any record is taken for one that has none behind its state
    write(replay(streams, [status("users"), record("others", AT, id=2), status("others")]))
    assert (ids("users"), ids("others")) == ([4], [2])
    # when all are complete there is nothing to go on with
    write(replay(streams, [status("users"), status("others")]))
    assert (ids("users"), ids("others")) == ([], [])


# --- configuration in an older form --------------------------------------------------------------

def test_config_change_callback(destination, replay, db, schema):
    source = replay([USERS], [*users(1, 3), status("users")])
    changed = []
    destination(changed.append).write(source, cache=False, state_cache=False)
    assert changed == []
    old = destination(changed.append, ssl=False, user=os.environ["PGUSER"],
                      port=os.environ["PGPORT"])
    del old.get_config()["username"]
    old.write(source, cache=False, state_cache=False)
    (new,) = changed
    # in today's form; the secrets and what is not ours are as they were
    assert new == {k: v for k, v in old.get_config().items() if k != "user"} | {
        "username": os.environ["PGUSER"], "port": int(os.environ["PGPORT"]),
        "ssl_mode": {"mode": "disable"}}
    old.validate_config(new)
    old.set_config(new)
    old.write(source, cache=False, state_cache=False)
    assert len(changed) == 1
    assert len(table_rows(db, schema, "users")) == 3


# --- failures ------------------------------------------------------------------------------------

def test_wrong_catalog(destination, replay, db, schema):
    """An error of the connector's: what PyAirbyte raises, and what the connector said."""
    nested = stream("users", key="id", id={"type": "integer"})
    nested["source_defined_primary_key"] = [["nobody"]]
    source = replay([nested], [record("users", AT, id=1), status("users")])
    with pytest.raises(exc.AirbyteConnectorWriteError):
        destination().write(source, cache=False, state_cache=False)
    errors = [m["trace"]["error"] for m in destination.runs.messages("output")
              if m["type"] == "TRACE"]
    assert [e["failure_type"] for e in errors] == ["config_error"]
    assert "nobody" in errors[0]["message"]
    assert not db.execute("SELECT FROM pg_class WHERE relnamespace ="
                          " (SELECT oid FROM pg_namespace WHERE nspname = %s)",
                          (schema,)).fetchall()


def failing(after_state=(), after_records=()):
    """Messages with three states of users; what happens after the second and 50 records later."""
    return [status("users", "STARTED"), *users(1, 100), state("users", 100, 100), *users(101, 200),
            state("users", 200, 100), *after_state, *users(201, 250), *after_records,
            *users(251, 300), state("users", 300, 100), status("users")]


BEFORE = stream("before", key="id", id={"type": "integer"})


@pytest.mark.parametrize("strategy", ["auto", "append", "replace", "merge"])
def test_failing_source(destination, replay, cache, db, schema, strategy):
    """The source ends with an error, one stream complete and one not; the next sync goes on behind
    the last states."""
    complete = [*(record("before", AT, id=i) for i in (1, 2, 3)), state("before", 3),
                status("before")]
    write = lambda messages: destination().write(
        replay([BEFORE, USERS], messages), cache=False, state_cache=cache,
        write_strategy=WriteStrategy(strategy))
    if strategy == "replace":
        write([*users(1001, 1003), status("users"), status("before")])
    with pytest.raises(exc.AirbyteConnectorWriteError):
        write([*complete, *failing(after_records=[{"exit": 1}])])
    assert [s["stream"]["stream_state"]["n"] for s in destination.runs.states()][-1] == 200
    assert [s["id"] for s in destination.runs.states()][-1] == 200
    if strategy == "replace":       # not before it is complete
        assert len(table_rows(db, schema, "users")) == 3
    result = write([*complete, *failing()])
    assert [m["record"]["data"]["id"] for m in records_told(destination)] == list(range(201, 301))
    assert confirmed(result) == {"users": 100}
    check_users(db, schema, 300)
    rows = db.execute(f"SELECT id FROM {schema}.before ORDER BY id").fetchall()
    assert rows == [(1,), (2,), (3,)]


def records_told(destination):
    return [m for m in destination.runs.messages("input") if m["type"] == "RECORD"]


def check_users(db, schema, last):
    catalog = {"streams": [{"stream": USERS, "destination_sync_mode": "append", "sync_id": 1,
                            "generation_id": 1}]}
    tables = model.Tables()
    tables.sync(catalog, users(1, last))
    check_tables(db, schema, catalog, tables)


@pytest.mark.parametrize("strategy", ["append", "replace", "merge"])
@pytest.mark.parametrize("how", ["connector", "terminate", "worker", "server"])
def test_killed(destination, replay, cache, db, schema, tmp_path, strategy, how):
    """Something dies while records are on their way; the next sync goes on behind the last state.

    The source waits behind a state, until that has come back; and again while records are on their
    way. (A state that was committed and could not come back any more is another matter: then the
    source sends again what is there already, and in append mode there it is twice.)
    """
    if how == "server" and not os.environ.get("LOADER_TEST_RESTART"):
        pytest.skip("LOADER_TEST_RESTART is not set")
    gates = tmp_path / "gate1", tmp_path / "gate2"
    # PyAirbyte holds back the last 8 kB of what it has to send
    push = {"type": "LOG", "log": {"level": "INFO", "message": "x" * 10_000}}
    source = replay([USERS], failing([push, {"wait_for": str(gates[0])}],
                                     [{"wait_for": str(gates[1])}]))
    write = lambda: destination().write(source, cache=False, state_cache=cache,
                                        write_strategy=WriteStrategy(strategy))

    def strike():
        try:
            wait_until(lambda: len(destination.runs) and destination.runs.states()[1:], "states")
            gates[0].touch()
            wait_until(lambda: records_told(destination)[200:], "records behind it")
            if how == "connector":
                os.kill(destination.runs.pid(), signal.SIGKILL)
            elif how == "terminate":
                os.kill(destination.runs.pid(), signal.SIGTERM)
            elif how == "worker":
                with psycopg.connect(DSN, autocommit=True) as other:
                    (pid,), = other.execute("SELECT pid FROM pg_stat_activity WHERE"
                                            " backend_type LIKE 'loader%'"
                                            " AND datname = current_database()").fetchall()
                    os.kill(pid, signal.SIGTERM)
            else:
                restart_server()
        except BaseException as error:
            struck.append(error)
        finally:
            for gate in gates:
                gate.touch()

    struck = []
    striker = threading.Thread(target=strike)
    striker.start()
    try:
        if how == "terminate":      # PyAirbyte takes that end for one of its own making
            write()
        else:
            with pytest.raises(exc.AirbyteConnectorWriteError):
                write()
    finally:
        striker.join()
    assert struck == []
    write()
    with psycopg.connect(DSN, autocommit=True) as again:
        again.execute("SET timezone = 'UTC'")
        check_users(again, schema, 300)
