"""What tables must hold after syncs: the rules of the Airbyte protocol, in the plainest words.

Made from the messages that a source sent and the configured catalog, by code that shares nothing
with what is tested. Only complete streams; values that fit their columns.
"""

import datetime
import decimal
import json
import uuid

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)

# JSON schema to type, for columns that are no unions: (type, format, airbyte_type or None)
COLUMN_TYPES = {
    ("string", None, None): "character varying",
    ("string", "date", None): "date",
    ("string", "date-time", None): "timestamp with time zone",
    ("string", "date-time", "timestamp_with_timezone"): "timestamp with time zone",
    ("string", "date-time", "timestamp_without_timezone"): "timestamp without time zone",
    ("string", "time", None): "time with time zone",
    ("string", "time", "time_with_timezone"): "time with time zone",
    ("string", "time", "time_without_timezone"): "time without time zone",
    ("integer", None, None): "bigint",
    ("number", None, "integer"): "bigint",
    ("number", None, None): "numeric",
    ("boolean", None, None): "boolean",
    ("object", None, None): "jsonb",
    ("array", None, None): "jsonb",
}

OWN_COLUMNS = {
    "_airbyte_raw_id": "character varying",
    "_airbyte_extracted_at": "timestamp with time zone",
    "_airbyte_meta": "jsonb",
    "_airbyte_generation_id": "bigint",
}


def loads(text):
    """JSON without loss: a number with a fraction stays as it was written."""
    return json.loads(text, parse_float=decimal.Decimal)


def column_type(schema):
    types = schema.get("type", [])
    types = [t for t in ([types] if isinstance(types, str) else types) if t != "null"]
    if len(types) != 1:
        return "jsonb"
    return COLUMN_TYPES.get((types[0], schema.get("format"), schema.get("airbyte_type")), "jsonb")


def columns(stream):
    """The columns of a stream's table and their types, in order."""
    properties = stream["stream"]["json_schema"]["properties"]
    return OWN_COLUMNS | {name: column_type(schema) for name, schema in properties.items()}


def value(raw, type_name):
    """What psycopg returns for a value of a record."""
    if raw is None or type_name == "jsonb" or isinstance(raw, datetime.datetime):
        return raw
    if type_name == "numeric":
        return decimal.Decimal(raw)
    if type_name == "timestamp with time zone":
        at = datetime.datetime.fromisoformat(raw)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    if type_name == "timestamp without time zone":
        return datetime.datetime.fromisoformat(raw).replace(tzinfo=None)
    if type_name == "date":
        return datetime.date.fromisoformat(raw)
    if type_name.startswith("time "):
        at = datetime.time.fromisoformat(raw)
        return at if at.tzinfo or type_name.startswith("time without") else at.replace(tzinfo=UTC)
    return raw


def extracted_at(emitted_at):
    """Milliseconds since 1970; what is too small to be any are seconds."""
    return EPOCH + datetime.timedelta(milliseconds=emitted_at * (1000 if emitted_at < 1e11 else 1))


def stream_key(thing):
    return (thing.get("namespace"), thing.get("name", thing.get("stream")))


class Tables:
    """The tables of a destination, by (namespace, name) of their stream: lists of rows."""

    def __init__(self):
        self.tables = {}

    def sync(self, catalog, messages):
        """One sync of streams that are all complete."""
        incoming = {stream_key(s["stream"]): [] for s in catalog["streams"]}
        for message in messages:
            if message["type"] == "RECORD":
                incoming[stream_key(message["record"])].append(message["record"])
        for stream in catalog["streams"]:
            key = stream_key(stream["stream"])
            rows = [self.row(stream, record) for record in incoming[key]]
            mode = stream["destination_sync_mode"]
            old = [] if mode == "overwrite" else self.tables.get(key, [])
            if mode == "append_dedup":
                self.tables[key] = self.dedup(stream, old, rows)
            else:
                self.tables[key] = old + rows

    @staticmethod
    def row(stream, record):
        types = columns(stream)
        row = {name: value(record["data"].get(name), types[name])
               for name in types if name not in OWN_COLUMNS}
        changes = (record.get("meta") or {}).get("changes") or []
        return {
            "_airbyte_extracted_at": extracted_at(record["emitted_at"]),
            "_airbyte_meta": {"sync_id": stream.get("sync_id"), "changes": changes},
            "_airbyte_generation_id": stream.get("generation_id") or 0,
        } | row

    @staticmethod
    def dedup(stream, old, rows):
        key = [path[0] for path in stream["primary_key"]]
        cursor = (stream.get("cursor_field") or [None])[0]

        def rank(row):
            at = row[cursor] if cursor else None
            return (at is not None, at if at is not None else 0, row["_airbyte_extracted_at"])

        winners = {}
        for row in rows:
            identity = tuple(row[name] for name in key)
            if None in identity:
                identity = uuid.uuid4()     # equal to none
            if identity not in winners or not rank(row) < rank(winners[identity]):
                winners[identity] = row
        table = {}
        for row in old:
            identity = tuple(row[name] for name in key)
            table[uuid.uuid4() if None in identity else identity] = row
        for identity, row in winners.items():
            if identity not in table or rank(row) > rank(table[identity]):
                table[identity] = row
        return list(table.values())


def through_cache(tables, catalog):
    """The records that PyAirbyte sends from a cache that holds these tables: all their rows,
    extraction times cut to seconds. Values are those of the rows already."""
    for stream in catalog["streams"]:
        namespace, name = stream_key(stream["stream"])
        for row in tables.tables.get((namespace, name), []):
            at = (row["_airbyte_extracted_at"] - EPOCH) // datetime.timedelta(seconds=1)
            data = {column: v for column, v in row.items() if column not in OWN_COLUMNS}
            yield {"type": "RECORD", "record": {"namespace": namespace, "stream": name,
                                                "data": data, "emitted_at": at}}
