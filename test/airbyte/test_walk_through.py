"""The Python of docs/airbyte.md: what it says is what comes out. All else there is run by
test/t/041_airbyte_doc.pl."""

import os
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "airbyte.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)
# what stands in the page for the reader's own
CONNECTOR = "/usr/lib/postgresql/15/bin/destination-loader"


def place(text, connector, database):
    """Replaces what is the reader's by what is the test's."""
    for theirs, ours in (
        ('get_source("source-faker", ',
         f'get_source("source-faker", local_executable="{os.environ["LOADER_TEST_FAKER"]}", '),
        (CONNECTOR, connector),
        ('"localhost", "port": 5432', f'"{os.environ["PGHOST"]}", "port": {os.environ["PGPORT"]}'),
        ('"database": "shop"', f'"database": "{database}"'),
        ('"username": "etl"', f'"username": "{os.environ["PGUSER"]}"'),
    ):
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


def test_walk_through(connector, database, db, tmp_path):
    blocks = BLOCK.findall(PAGE.read_text())
    assert blocks, "pages without results show nothing"
    for program, output in blocks:
        done = subprocess.run(
            [sys.executable, "-c", place(program, connector, database)],
            capture_output=True, text=True, cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(output), done.stdout
    rows = db.execute("SELECT count(*), count(DISTINCT id) FROM faker.users").fetchone()
    assert rows == (100, 100)
    db.execute("DROP SCHEMA faker CASCADE")
