"""What the tests of the Airbyte destination share.

LOADER_TEST_CONNECTOR: the executable destination-loader.
PGHOST (a socket's directory), PGPORT, PGUSER: a server with the extension, as a superuser; a
database loader_airbyte is made there anew.
LOADER_TEST_RESTART: a command that crashes and restarts that server.
LOADER_TEST_FAKER: the executable source-faker; for test_pyairbyte.py only.
"""

import array
import fcntl
import functools
import gzip
import itertools
import json
import os
import pathlib
import subprocess
import termios
import time

import psycopg
import psycopg.types.json
import pytest

import model

HERE = pathlib.Path(__file__).parent
DATABASE = "loader_airbyte"
DSN = f"dbname={DATABASE}"      # the rest is in the environment
DEADLINE = 60                   # seconds; for what should take milliseconds

psycopg.types.json.set_json_loads(model.loads)


def wait_until(condition, what):
    """Wait for a state. Returns what the condition returned."""
    end = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {DEADLINE} seconds for {what}"
        time.sleep(0.02)
    return result


@pytest.fixture(scope="session")
def database():
    with psycopg.connect("dbname=postgres", autocommit=True) as db:
        db.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        db.execute(f"CREATE DATABASE {DATABASE}")
    with psycopg.connect(DSN, autocommit=True) as db:
        # not in the search path of anybody
        db.execute("CREATE SCHEMA ext; CREATE EXTENSION loader SCHEMA ext")
    return DATABASE


@pytest.fixture
def db(database):
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute("SET search_path = ext; SET timezone = 'UTC'")
        yield connection


schema_numbers = itertools.count(1)


@pytest.fixture
def schema(database):
    """The name of a schema for the tables of one test. A connection of its own at the end: the test
    may have crashed the server."""
    name = f"a{next(schema_numbers)}"
    yield name
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def config(schema):
    """The connector's configuration."""
    return {"host": os.environ["PGHOST"], "port": int(os.environ["PGPORT"]),
            "database": DATABASE, "schema": schema, "username": os.environ["PGUSER"],
            "password": "not asked for"}


def restart_server():
    subprocess.run(["sh", "-c", os.environ["LOADER_TEST_RESTART"]], check=True,
                   stdout=subprocess.DEVNULL)


# --- contents ------------------------------------------------------------------------------------

def table_columns(db, schema, table):
    """Names and types, in order."""
    return dict(db.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = format('%%I.%%I', %s::text, %s::text)::regclass"
        " AND attnum > 0 AND NOT attisdropped ORDER BY attnum", (schema, table)).fetchall())


def table_rows(db, schema, table):
    """All rows as mappings, without _airbyte_raw_id, which must be there, each another."""
    cursor = db.execute(f'SELECT * FROM "{schema}"."{table}"')
    names = [column.name for column in cursor.description]
    rows = [dict(zip(names, row)) for row in cursor]
    ids = [row.pop("_airbyte_raw_id") for row in rows]
    assert len(set(ids)) == len(ids) and all(len(i) == 36 for i in ids)
    return rows


def comparable(rows):
    """Rows in an order that is the same for the same rows, each as text without what does not
    count: trailing zeros of a number, the zone of a time stamp."""
    def plain(value):
        if isinstance(value, model.datetime.datetime) and value.tzinfo:
            return value.astimezone(model.UTC).isoformat()
        if isinstance(value, model.decimal.Decimal):
            return str(value.normalize())
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return value if value is None or isinstance(value, (bool, int, str)) else str(value)

    return sorted(json.dumps(plain(row), sort_keys=True) for row in rows)


def check_tables(db, schema, catalog, tables):
    """Columns and rows of the streams' tables are those of the model."""
    for stream in catalog["streams"]:
        key = model.stream_key(stream["stream"])
        where = key[0] or schema, key[1]
        assert list(table_columns(db, *where).items()) == list(model.columns(stream).items())
        got, expected = comparable(table_rows(db, *where)), comparable(tables.tables[key])
        assert len(got) == len(expected), where
        assert got == expected, where


# --- the connector by itself ---------------------------------------------------------------------

@pytest.fixture(scope="session")
def connector():
    return os.environ["LOADER_TEST_CONNECTOR"]


class Connector:
    """A `destination-loader write` whose standard input is held open."""

    def __init__(self, executable, directory, config, catalog, *more):
        (directory / "config.json").write_text(json.dumps(config))
        (directory / "catalog.json").write_text(json.dumps(catalog))
        self.output = directory / "output.jsonl"
        self.errors = directory / "errors.txt"
        with open(self.output, "wb") as out, open(self.errors, "wb") as err:
            self.process = subprocess.Popen(
                [executable, "write", "--config", directory / "config.json",
                 "--catalog", directory / "catalog.json", *more],
                stdin=subprocess.PIPE, stdout=out, stderr=err)

    def send(self, messages):
        """Messages, or lines."""
        try:
            for message in messages:
                self.process.stdin.write(getattr(message, "line", message))
            self.process.stdin.flush()
        except BrokenPipeError:
            pass        # it has ended; its status tells

    def is_drained(self):
        """Has it read all that was sent?"""
        unread = array.array("i", [0])
        fcntl.ioctl(self.process.stdin, termios.FIONREAD, unread)
        return unread[0] == 0

    def finish(self):
        """End the input and wait for the end. Returns the exit status."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        return self.process.wait(DEADLINE)

    def kill(self):
        self.process.kill()
        return self.finish()

    def messages(self):
        """What it has said so far."""
        lines = self.output.read_bytes().split(b"\n")
        return [model.loads(line) for line in lines[:-1]]

    def states(self):
        return [m["state"] for m in self.messages() if m["type"] == "STATE"]


@pytest.fixture
def start_connector(connector, config, tmp_path):
    """start_connector(catalog): a connector that writes, for a source that has the name of the
    schema; ended with the test."""
    numbers, started = itertools.count(), []

    def start(catalog):
        directory = tmp_path / f"connector{next(numbers)}"
        directory.mkdir()
        started.append(Connector(connector, directory, config, catalog,
                                 "--source-name", config["schema"]))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


# --- the streams that lie here -------------------------------------------------------------------

@functools.cache
def stream_lines(name):
    """The lines of streams/NAME, with their ends."""
    with gzip.open(HERE / "streams" / name / "messages.jsonl.gz") as f:
        return f.read().splitlines(keepends=True)


class Message(dict):
    """A message that knows its line."""

    def __init__(self, line):
        super().__init__(model.loads(line))
        self.line = line


@functools.cache
def stream_messages(name):
    return [Message(line) for line in stream_lines(name)]


def stream_catalog(mode, sync=1):
    """append, overwrite or append_dedup, as the platform configures the sync of this number; in a
    full refresh the generation grows with each. constant: as PyAirbyte does, with the same ids for
    all."""
    catalog = json.loads((HERE / "streams" / "catalog.json").read_text())
    mode, _, constant = mode.partition(" ")
    for stream in catalog["streams"]:
        stream["destination_sync_mode"] = mode
        generation = 6 + sync if mode == "overwrite" else 7
        stream |= {"generation_id": generation, "sync_id": 41 + sync,
                   "minimum_generation_id": generation if mode == "overwrite" else 0}
        if constant:
            stream |= {"generation_id": 1, "minimum_generation_id": 1, "sync_id": 1}
    return catalog
