"""docs/dlt.md, block by block: what it says is what comes out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import DSN, make_database

PAGE = Path(__file__).parents[3] / "docs" / "dlt.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
DATABASE = "dlt_loader_walk"
# what stands in the page for the reader's own
CREDENTIALS = "postgresql://etl:secret@localhost:5432/shop"
PACKAGES = "/srv/packages"


@pytest.fixture
def place(tmp_path, shared):
    """Replaces what is the reader's by what is the test's."""
    make_database(DATABASE, extension=False)
    superuser = DSN.format(DATABASE)

    def run(text):
        text = text.replace(CREDENTIALS, re.sub(r"//[^@]*@", "//etl:secret@", superuser))
        text = text.replace("DATABASE shop", f"DATABASE {DATABASE}")
        return text.replace(PACKAGES, str(shared)).replace("~/.dlt", str(tmp_path / "home/.dlt"))

    yield run
    make_database(DATABASE, extension=False)
    subprocess.run(["psql", "-Xq", DSN.format("postgres"), "-c", "DROP ROLE IF EXISTS etl"])


def test_walk_through(place, tmp_path):
    home = tmp_path / "home"
    (home / ".dlt").mkdir(parents=True)
    environment = {
        **os.environ,
        "HOME": str(home),
        "DLT_DATA_DIR": str(home / ".dlt"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    output, compared = "", 0
    for language, text in BLOCK.findall(PAGE.read_text()):
        text = place(text)
        if language == "toml":
            (home / ".dlt" / "secrets.toml").write_text(text)
        elif language == "python":
            name = re.search(r'dlt\.pipeline\("(\w+)"', text)[1]
            (home / f"{name}.py").write_text(text)
        elif language == "text":
            assert output == text
            compared += 1
        else:
            shell = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", DSN.format(DATABASE)]
            done = subprocess.run(
                shell if language == "sql" else ["bash", "-e"],
                input=text, capture_output=True, text=True, cwd=home, env=environment, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr
            output = done.stdout
    assert compared == 6, "pages without results show nothing"
