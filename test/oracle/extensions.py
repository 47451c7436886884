#!/usr/bin/env python3
"""Put the extension into a database that a scenario needs, by extensions.txt.

    extensions.py DSN SCENARIO	prints which it is and fails if the server has not got it
"""
import os
import sys

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "extensions.txt")


def needed_by(name):
    """The extension that a scenario needs; None for most."""
    with open(LIST, encoding="utf-8") as file:
        entries = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return dict(entries).get(name)


def missing(cursor, name):
    """Make the extension that a scenario needs; returns its name if the server has not got it."""
    extension = needed_by(name)
    if not extension:
        return None
    cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = %s", [extension])
    if cursor.fetchone()[0] == 0:
        return extension
    cursor.execute("SET client_min_messages = warning")
    cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    return None


if __name__ == "__main__":
    import psycopg

    with psycopg.connect(sys.argv[1], autocommit=True) as conn:
        found = missing(conn.cursor(), sys.argv[2])
    if found:
        print(found)
        sys.exit(1)
