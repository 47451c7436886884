"""Damaged Airbyte syncs: a catalog, a configuration and messages, one of them hostile."""
import copy
import json

from changes import HOSTILE_BYTES, Raw, change_node, dump, hostile_key, hostile_value

PROPERTIES = {
    "id": {"type": "integer"}, "name": {"type": ["null", "string"]}, "n": {"type": "number"}, "b": {"type": "boolean"},
    "d": {"type": "string", "format": "date"}, "ts": {"type": "string", "format": "date-time"},
    "ti": {"type": "string", "format": "time", "airbyte_type": "time_without_timezone"}, "o": {"type": "object"}, "a": {"type": "array"},
}


def stream(name, mode, **more):
    return {"stream": {"name": name, "namespace": None, "json_schema": {"type": "object", "properties": copy.deepcopy(PROPERTIES)},
                       "supported_sync_modes": ["full_refresh", "incremental"], "source_defined_cursor": True},
            "sync_mode": "incremental", "destination_sync_mode": mode, "primary_key": [["id"]], "cursor_field": ["ts"], **more}


CATALOG = {"streams": [stream("s", "append"), stream("d", "append_dedup"),
                       stream("o", "overwrite", generation_id=2, minimum_generation_id=2, sync_id=7)]}
CONFIG = {"schema": "mutate", "raw_data_schema": "mutate_internal", "bad_values": "null", "cdc_deletion_mode": "Hard delete"}


def messages():
    for name in ("s", "d", "o"):
        yield {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": 1.5, "stream_status": {
            "stream_descriptor": {"name": name, "namespace": None}, "status": "STARTED"}}}
        for i in range(3):
            yield {"type": "RECORD", "record": {"stream": name, "namespace": None, "emitted_at": 1700000000000 + i, "data": {
                "id": i, "name": "ä", "n": 1.5, "b": True, "d": "2024-02-29", "ts": "2024-02-29T12:00:00Z", "ti": "12:00:00",
                "o": {"a": [1, {"b": None}]}, "a": [1, "x"]}, "meta": {"changes": [
                    {"field": "n", "change": "NULLED", "reason": "SOURCE_FIELD_SIZE_LIMITATION"}]}}}
        yield {"type": "STATE", "state": {"type": "STREAM", "stream": {"stream_descriptor": {"name": name, "namespace": None},
                                          "stream_state": {"at": 3}}, "sourceStats": {"recordCount": 3.0}}}
        yield {"type": "LOG", "log": {"level": "INFO", "message": "done"}}
        yield {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": 1.5, "stream_status": {
            "stream_descriptor": {"name": name}, "status": "COMPLETE"}}}


def make(random):
    """What is hostile; the catalog and the configuration as text, the messages as bytes."""
    catalog, config, lines = copy.deepcopy(CATALOG), dict(CONFIG), list(messages())
    value = lambda r: hostile_value(r) if r.random() < 0.7 else hostile_key(r)
    what = random.choice(("catalog", "catalog", "configuration", "message", "message", "bytes"))
    data = None
    if what == "catalog":
        for _ in range(random.choice((1, 1, 3))):
            change_node(random, catalog, value)
    elif what == "configuration":
        if random.random() < 0.5:
            config[random.choice(list(CONFIG))] = value(random)
        else:
            change_node(random, config, value)
    elif what == "message":
        for _ in range(random.choice((1, 1, 3))):
            change_node(random, random.choice(lines), value)
    data = "".join(dump(line) + "\n" for line in lines).encode("utf-8", "surrogatepass")
    if what == "bytes":
        data = bytearray(data)
        for _ in range(random.choice((1, 2, 5))):
            at = random.randrange(len(data) + 1)
            data[at : at + random.choice((0, 0, 1, 40))] = random.choice(HOSTILE_BYTES)
        data = bytes(data[: random.randrange(len(data))] if random.random() < 0.3 else data)
    return what, dump(catalog), dump(config), data
