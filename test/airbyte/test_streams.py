"""Real streams of source-faker, through the SQL functions and through the connector: whole, in
pieces, cut at a message and gone on with, and with something killed in the middle.

However a stream got in, its table must hold the same, but for _airbyte_raw_id: rows are compared
by a digest with those of an undisturbed load, and those with what model.py says.

LOADER_TEST_CUTS=all: cut at every message (takes long); else at those where something can go wrong,
and at some others.
"""

import json
import os
import random

import psycopg
import pytest

import model
from conftest import (DSN, check_tables, restart_server, stream_catalog, stream_lines,
                      stream_messages, wait_until)
from resume import behind, remaining, state_value, stream_of

MODES = ["append", "overwrite", "append_dedup"]
# with the ids that PyAirbyte sends, always the same
ALL_MODES = [*MODES, *(f"{mode} constant" for mode in MODES)]
NUMBERS = {"sync1": 1, "sync2": 2}
STREAMS = ["products", "users", "purchases"]


class Server:
    """Syncs through the SQL functions, in one session."""

    def __init__(self, db):
        self.db = db

    def sync(self, schema, catalog, pieces, **more):
        """One sync of these bytes. Returns the states that came back and the report."""
        settings = ", ".join(f"{name} => %({name})s" for name in more)
        (package,) = self.db.execute(
            "SELECT loader_airbyte_open(%(config)s, %(catalog)s, "
            f"source_name => %(source)s{', ' if more else ''}{settings})",
            {"config": json.dumps({"schema": schema} | SERVER), "catalog": json.dumps(catalog),
             "source": schema} | more).fetchone()
        states = []
        for piece in pieces:
            states += [state for (state,) in self.db.execute(
                "SELECT loader_airbyte_write(%s, %s)", (package, piece), binary=True)]
        (report,) = self.db.execute("SELECT loader_airbyte_close(%s)", (package,)).fetchone()
        return states + report["states"], report


# what the functions do not need of a configuration, but its check does
SERVER = {"host": "localhost", "port": 5432, "database": "any", "username": "any"}


@pytest.fixture
def server(db):
    return Server(db)


def digests(db, schema):
    """Of each table: how many rows, and a digest of them without _airbyte_raw_id."""
    return {table: db.execute(
        f"SELECT count(*), md5(string_agg((to_jsonb(t) - '_airbyte_raw_id')::text, E'\\n'"
        f" ORDER BY id, (to_jsonb(t) - '_airbyte_raw_id')::text COLLATE \"C\"))"
        f" FROM {schema}.{table} t").fetchone() for table in STREAMS}


@pytest.fixture(scope="module")
def expected(database):
    """expected(mode, name...): the digests after undisturbed syncs of these streams, one after the
    other; the tables they are of are compared with the model."""
    known = {}

    def digests_of(mode, *names):
        if (mode, names) not in known:
            schema, tables = f"expected_{len(known)}", model.Tables()
            with psycopg.connect(DSN, autocommit=True) as db:
                db.execute("SET search_path = ext; SET timezone = 'UTC'")
                for name in names:
                    catalog = stream_catalog(mode, NUMBERS[name])
                    _, report = Server(db).sync(schema, catalog, [b"".join(stream_lines(name))])
                    assert report["state"] == "loaded", report
                    tables.sync(catalog, stream_messages(name))
                check_tables(db, schema, catalog, tables)
                known[mode, names] = digests(db, schema)
                db.execute(f"DROP SCHEMA {schema} CASCADE")
        return known[mode, names]

    return digests_of


def check_states(messages, states):
    """States came back in the order of their stream, each with the number of its records, and
    otherwise as they were sent."""
    for name in STREAMS:
        count, sent = 0, []
        for message in messages:
            if message["type"] == "RECORD" and message["record"]["stream"] == name:
                count += 1
            elif message["type"] == "STATE" and stream_of(message)[1] == name:
                sent.append((message["state"], count))
        returned = [s for s in states if stream_of({"type": "STATE", "state": s})[1] == name]
        values = [state_value(state) for state, _ in sent]
        at, confirmed = -1, 0
        for state in returned:
            stats = state.pop("destinationStats")
            at = values.index(state_value(state), at + 1)
            assert state == sent[at][0]
            confirmed += stats["recordCount"]
            assert confirmed == sent[at][1]


def run(server, schema, mode, messages, number=1):
    """A sync of these messages. Returns its states and the report."""
    states, report = server.sync(schema, stream_catalog(mode, number),
                                 [b"".join(m.line for m in messages)])
    check_states(messages, [dict(s) for s in states])
    return states, report


# --- whole ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_whole(server, schema, expected, mode):
    """The report, and all states, which can be read back as a source takes them."""
    messages = stream_messages("sync1")
    states, report = run(server, schema, mode, messages)
    assert (report["state"], report["error"], report["warnings"]) == ("loaded", None, [])
    assert report["records"] == 2100 and report["bytes"] > 500_000
    assert [(s["name"], s["dataset"], s["table"], s["mode"], s["status"], s["records"],
             s["rows_inserted"], s["nulled_values"]) for s in report["streams"]] == [
        (name, schema, name, mode, "complete", n, n, 0)
        for name, n in (("products", 100), ("users", 1000), ("purchases", 1000))]
    last = {stream_of(m): m["state"] for m in messages if m["type"] == "STATE"}
    (kept,) = server.db.execute("SELECT loader_airbyte_states(%s)", (schema,)).fetchone()
    assert sorted(kept, key=str) == sorted(last.values(), key=str)
    assert digests(server.db, schema) == expected(mode, "sync1")


@pytest.mark.parametrize("mode", ALL_MODES)
def test_two_syncs(server, schema, expected, mode):
    """sync2 has the same keys, with later updates; what was expected of both is from the model."""
    for name in "sync1", "sync2":
        _, report = run(server, schema, mode, stream_messages(name), NUMBERS[name])
        assert report["state"] == "loaded"
    assert digests(server.db, schema) == expected(mode, "sync1", "sync2")
    rows = [n for n, _ in expected(mode, "sync1", "sync2").values()]
    is_append = mode in ("append", "append constant")
    assert rows == ([200, 2000, 2000] if is_append else [100, 1000, 1000])


def test_switch_of_modes(server, schema):
    """The same table, written in one mode after the other."""
    tables = model.Tables()
    for mode, name in (("append constant", "sync1"), ("overwrite constant", "sync1"),
                       ("append_dedup constant", "sync2"), ("append constant", "sync2"),
                       ("overwrite constant", "sync2"), ("append_dedup constant", "sync1")):
        run(server, schema, mode, stream_messages(name))
        catalog = stream_catalog(mode)
        tables.sync(catalog, stream_messages(name))
        check_tables(server.db, schema, catalog, tables)


# --- in pieces -----------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [17, 1000, 8191, 65537, 300_007])
@pytest.mark.parametrize("mode", ["append_dedup"])
def test_pieces(server, schema, expected, mode, size):
    """A piece need not end where a line does. Few bytes at a time of only a part: calls cost."""
    data = b"".join(stream_lines("sync1"))
    head = 40_000 if size < 1000 else 0
    pieces = [data[i:i + size] for i in range(0, head or len(data), size)]
    if head:
        pieces.append(data[len(pieces) * size:])
    assert b"".join(pieces) == data
    _, report = server.sync(schema, stream_catalog(mode), pieces)
    assert report["state"] == "loaded"
    assert digests(server.db, schema) == expected(mode, "sync1")


def test_pieces_of_every_size(server, schema, expected):
    """Each message cut somewhere, some in three; empty pieces and none between them."""
    chance = random.Random(6)
    pieces = []
    rest = b"".join(stream_lines("sync1"))
    while rest:
        n = chance.choice([0, 1, 2, 100, 5000])
        pieces.append(rest[:n] if chance.random() < 0.9 else None)
        if pieces[-1] is not None:
            rest = rest[n:]
        if len(pieces) == 800:
            pieces.append(rest)
            break
    _, report = server.sync(schema, stream_catalog("append"), pieces)
    assert report["state"] == "loaded"
    assert digests(server.db, schema) == expected("append", "sync1")


# --- cut at a message, and gone on with ----------------------------------------------------------

def cuts(name, sample):
    """How many messages come before the cut: around all that are no records, and some others."""
    messages = stream_messages(name)
    if os.environ.get("LOADER_TEST_CUTS") == "all":
        return list(range(len(messages) + 1))
    odd = {i + d for i, m in enumerate(messages) if m["type"] in ("STATE", "TRACE") for d in (0, 1)}
    others = random.Random(name).sample(range(len(messages) + 1), sample)
    return sorted({0, len(messages), *odd, *others})


def cut_and_go_on(server, schema, mode, messages, k, number=1):
    """The first k messages, then the end of the input, then what the source has left to send."""
    states, report = run(server, schema, mode, messages[:k], number)
    complete = {m["trace"]["stream_status"]["stream_descriptor"]["name"]
                for m in messages[:k] if m["type"] == "TRACE"
                and m["trace"].get("stream_status", {}).get("status") == "COMPLETE"}
    begun = {m["record"]["stream"] for m in messages[:k] if m["type"] == "RECORD"}
    assert report["state"] == ("loaded" if begun <= complete else "failed"), (k, report)
    assert {s["name"]: s["status"] for s in report["streams"]} == {
        name: "complete" if name in complete else "incomplete" if name in begun else "empty"
        for name in STREAMS}, k
    if complete == set(STREAMS):
        return
    # all states must be out by now whose records could be committed: those of every stream
    sent = [m["state"] for m in messages[:k] if m["type"] == "STATE"]
    last = lambda them: {stream_of({"type": "STATE", "state": s}): state_value(s) for s in them}
    assert last(states) == last(sent), k
    _, report = run(server, schema, mode, list(remaining(messages, states)), number)
    assert report["state"] == "loaded", (k, report)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_cut(server, schema, expected, mode):
    messages = stream_messages("sync1")
    few = mode.endswith("constant") and os.environ.get("LOADER_TEST_CUTS") != "all"
    for k in cuts("sync1", 10)[::4 if few else 1]:
        part = f"{schema}_{k}"
        cut_and_go_on(server, part, mode, messages, k)
        assert digests(server.db, part) == expected(mode, "sync1"), k
        server.db.execute(f"DROP SCHEMA {part} CASCADE")


@pytest.mark.parametrize("mode", MODES)
def test_cut_of_the_second_sync(server, schema, expected, mode):
    """There are rows of a sync before."""
    first, second = stream_messages("sync1"), stream_messages("sync2")
    every = 1 if os.environ.get("LOADER_TEST_CUTS") == "all" else 3
    for k in cuts("sync2", 5)[::every]:
        part = f"{schema}_{k}"
        run(server, part, mode, first)
        cut_and_go_on(server, part, mode, second, k, 2)
        assert digests(server.db, part) == expected(mode, "sync1", "sync2"), k
        server.db.execute(f"DROP SCHEMA {part} CASCADE")


@pytest.mark.parametrize("mode", MODES)
def test_cut_thrice(server, schema, expected, mode):
    """Three syncs that end too early, one after the other."""
    messages = todo = stream_messages("sync1")
    returned = []
    for k in 400, 700, 300:
        states, report = run(server, schema, mode, todo[:k])
        assert report["state"] == "failed"
        returned += states
        todo = list(remaining(messages, returned))
    _, report = run(server, schema, mode, todo)
    assert report["state"] == "loaded"
    assert digests(server.db, schema) == expected(mode, "sync1")


def test_incomplete_is_not_shown(server, schema, expected):
    """Until a stream is complete, readers see the rows of the sync before."""
    run(server, schema, "overwrite", stream_messages("sync1"))
    before = digests(server.db, schema)
    messages = stream_messages("sync2")
    middle = next(i for i, m in enumerate(messages)
                  if m["type"] == "STATE" and stream_of(m)[1] == "users") + 1
    states, report = run(server, schema, "overwrite", messages[:middle], 2)
    assert report["error"]["sqlstate"] == "55000" and "users" in report["error"]["message"]
    seen = digests(server.db, schema)
    assert (seen["users"], seen["purchases"]) == (before["users"], before["purchases"])
    assert seen["products"] == expected("overwrite", "sync2")["products"]
    run(server, schema, "overwrite", list(remaining(messages, states)), 2)
    assert digests(server.db, schema) == expected("overwrite", "sync2")


# --- through the connector -----------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_connector(db, schema, start_connector, expected, mode):
    for name in "sync1", "sync2":
        connector = start_connector(stream_catalog(mode, NUMBERS[name]))
        connector.send(stream_lines(name))
        assert connector.finish() == 0, connector.errors.read_text()
        check_states(stream_messages(name), connector.states())
    assert digests(db, schema) == expected(mode, "sync1", "sync2")


def test_connector_at_once(db, schema, start_connector, expected):
    """A source that is faster than anybody, whose output nobody reads until the end."""
    connector = start_connector(stream_catalog("append"))
    for _ in range(5):
        connector.send(stream_lines("sync1"))
    assert connector.finish() == 0, connector.errors.read_text()
    assert {n for n, _ in digests(db, schema).values()} == {500, 5000}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", ["record", "state", "status"])
def test_connector_cut(db, schema, start_connector, expected, mode, at):
    messages = stream_messages("sync1")
    k = {"record": 800, "state": 622, "status": 1128}[at]
    connector = start_connector(stream_catalog(mode))
    connector.send(messages[:k])
    # all of users is there at 1128, and of purchases nothing: the rest is not the destination's
    assert connector.finish() == (0 if at == "status" else 1), connector.errors.read_text()
    traces = [m["trace"] for m in connector.messages() if m["type"] == "TRACE"]
    assert [t["type"] for t in traces if t["type"] == "ERROR"] == ["ERROR"] * (at != "status")
    states = connector.states()
    connector = start_connector(stream_catalog(mode))
    connector.send(remaining(messages, states))
    assert connector.finish() == 0, connector.errors.read_text()
    assert digests(db, schema) == expected(mode, "sync1")


# --- killed --------------------------------------------------------------------------------------

def killed(start_connector, schema, mode, name, strike):
    """Kill something each time that a state has come back, until all is loaded. Returns how often.

    Behind that state another one and 100 records are on their way. The source goes on from the
    state that the server has: one that was committed may not have come back any more.
    """
    messages = stream_messages(name)
    todo, times = messages, 0
    while True:
        at = [i for i, m in enumerate(todo) if m["type"] == "STATE"]
        connector = start_connector(stream_catalog(mode, NUMBERS[name]))
        if len(at) < 2:
            break
        connector.send(todo[:at[0] + 1])
        wait_until(connector.states, "a state")
        connector.send(todo[at[0] + 1:at[1] + 100])
        wait_until(lambda: is_with_the_server(connector), "the server to have it all")
        strike(connector)
        connector.send(todo[at[1] + 100:])
        assert connector.finish() != 0
        kept = behind(messages, kept_states(schema, messages))
        back = behind(messages, connector.states())
        assert all(kept[stream] >= position for stream, position in back.items())
        todo = list(remaining(messages, kept_states(schema, messages)))
        times += 1
    connector.send(todo)
    assert connector.finish() == 0, connector.errors.read_text()
    return times


def kept_states(schema, messages):
    """The states of this source that the server has, once nobody is at work any more."""
    with psycopg.connect(DSN, autocommit=True) as db:
        wait_until(lambda: not db.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type LIKE 'loader%'").fetchall(), "workers to end")
        (states,) = db.execute("SELECT ext.loader_airbyte_states(%s)", (schema,)).fetchone()
    # not those of the sync before
    known = [state_value(m["state"]) for m in messages if m["type"] == "STATE"]
    return [state for state in states if state_value(state) in known]


def is_with_the_server(connector):
    """Has the server taken all that was sent? Then the connector asks now and then for states."""
    if not connector.is_drained():
        return False
    with psycopg.connect(DSN, autocommit=True) as db:
        (now,) = db.execute("SELECT clock_timestamp()").fetchone()
        return wait_until(lambda: db.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND query_start > %s", (now,)).fetchall(), "the connector to ask for states")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("who", ["connector", "worker", "session", "server"])
def test_killed(database, schema, start_connector, expected, mode, who):
    """kill -9 of the connector, the death of what serves it, and crashes of the server."""
    if who == "server" and not os.environ.get("LOADER_TEST_RESTART"):
        pytest.skip("LOADER_TEST_RESTART is not set")
    want = expected(mode, "sync1", "sync2")

    def strike(connector):
        if who == "connector":
            connector.process.kill()
        elif who == "server":
            restart_server()
        else:
            backend = "client backend" if who == "session" else "loader%"
            with psycopg.connect(DSN, autocommit=True) as db:
                struck = db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND backend_type LIKE %s"
                    " AND pid <> pg_backend_pid()", (backend,)).fetchall()
                assert (True,) in struck

    times = [killed(start_connector, schema, mode, name, strike) for name in ("sync1", "sync2")]
    assert all(times)
    with psycopg.connect(DSN, autocommit=True) as db:
        db.execute("SET timezone = 'UTC'")
        assert digests(db, schema) == want


@pytest.mark.parametrize("mode", MODES)
def test_terminated(db, schema, start_connector, expected, mode):
    """SIGTERM: the states that are durable come out, and the connector dies by the signal."""
    messages = stream_messages("sync1")
    connector = start_connector(stream_catalog(mode))
    connector.send(messages[:1000])
    wait_until(connector.states, "a state")
    connector.process.terminate()
    assert connector.process.wait(60) == -15
    states = connector.states()
    check_states(messages, [dict(s) for s in states])
    connector = start_connector(stream_catalog(mode))
    connector.send(remaining(messages, states))
    assert connector.finish() == 0, connector.errors.read_text()
    assert digests(db, schema) == expected(mode, "sync1")
