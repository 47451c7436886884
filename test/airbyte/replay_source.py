#!/usr/bin/env python3
"""A source that sends what a file has: source-replay, for PyAirbyte.

    config  {"streams": [what discover is to say of each stream], "messages": "FILE"}

FILE has a message on each line; a source that is given a state goes on behind it (resume.py), but
in a full refresh. Besides, a line can be {"wait_for": "PATH"}: do not go on before the file PATH is
there, or {"exit": N}: end here with this status, after a TRACE ERROR.
"""
import argparse
import json
import os
import sys
import time

from resume import remaining

SPEC = {"type": "object", "required": ["streams", "messages"], "additionalProperties": True,
        "properties": {"streams": {"type": "array"}, "messages": {"type": "string"}}}


def send(kind, key, payload):
    print(json.dumps({"type": kind, key: payload}), flush=True)


def name_of(message):
    """The stream that a message is about, None if it is about none."""
    if message["type"] == "RECORD":
        return message["record"]["stream"]
    payload = message.get("state") or message.get("trace") or {}
    about = payload.get("stream") or payload.get("stream_status") or {}
    return about.get("stream_descriptor", {}).get("name")


def read(config, catalog, state):
    wanted = {s["stream"]["name"] for s in catalog["streams"]}
    if any(s["sync_mode"] == "full_refresh" for s in catalog["streams"]):
        state = []
    with open(config["messages"], encoding="utf-8") as f:
        messages = [json.loads(line) for line in f]
    # what stands between messages stays where it is, whatever is left out around it
    for message in messages:
        message.setdefault("type", "")
    for message in remaining(messages, state):
        if "wait_for" in message:
            while not os.path.exists(message["wait_for"]):
                time.sleep(0.02)
        elif "exit" in message:
            send("TRACE", "trace", {"type": "ERROR", "emitted_at": 0, "error": {
                "message": "the source has failed", "failure_type": "system_error"}})
            sys.exit(message["exit"])
        elif name_of(message) in wanted | {None}:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["spec", "check", "discover", "read"])
    for name in ("config", "catalog", "state"):
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    config, catalog, state = (
        json.load(open(path, encoding="utf-8")) if path else None
        for path in (args.config, args.catalog, args.state))
    if args.command == "spec":
        send("SPEC", "spec", {"connectionSpecification": SPEC})
    elif args.command == "check":
        send("CONNECTION_STATUS", "connectionStatus", {"status": "SUCCEEDED"})
    elif args.command == "discover":
        send("CATALOG", "catalog", {"streams": config["streams"]})
    else:
        read(config, catalog, state or [])


if __name__ == "__main__":
    main()
