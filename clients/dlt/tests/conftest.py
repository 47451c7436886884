"""What the tests share: a database for us, one for dlt's own destination, pipelines in a directory.

LOADER_TEST_DSN: a server with the extension, as a superuser, with {} in place of the database
(postgresql://user:password@host:port/{}); databases are created there.
LOADER_TEST_RESTART: a command that crashes and restarts that server.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import psycopg
import pytest

import dlt
from dlt_loader import loader_postgres

DSN = os.environ["LOADER_TEST_DSN"]
CHECK = Path(__file__).parents[3] / "test" / "oracle" / "check.py"

spec = importlib.util.spec_from_file_location("check", CHECK)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")


def make_database(name, extension):
    with psycopg.connect(DSN.format("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    dsn = DSN.format(name)
    if extension:
        with psycopg.connect(dsn, autocommit=True) as connection:
            # not in the search path of anybody
            connection.execute("CREATE SCHEMA ext; CREATE EXTENSION loader SCHEMA ext")
    return dsn


@pytest.fixture(scope="session")
def ours():
    return make_database("dlt_loader_ours", extension=True)


@pytest.fixture(scope="session")
def plain():
    return make_database("dlt_loader_plain", extension=False)


@pytest.fixture(params=["package", "job"])
def mode(request):
    return request.param


@pytest.fixture
def sql(ours):
    """Runs a query in our database and returns its rows."""

    def run(query, *parameters):
        with psycopg.connect(ours, autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture(autouse=True)
def clean():
    """Datasets have names with d_; they and the packages of the last test go before the next."""
    for dsn in (DSN.format("dlt_loader_ours"), DSN.format("dlt_loader_plain")):
        try:
            connection = psycopg.connect(dsn, autocommit=True)
        except psycopg.OperationalError:
            continue
        with connection:
            for (name,) in connection.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'd\\_%'"
            ).fetchall():
                connection.execute(f'DROP SCHEMA "{name}" CASCADE')
            if "ours" in dsn:
                for (package_id,) in connection.execute(
                    "SELECT package_id FROM loader.packages"
                ).fetchall():
                    connection.execute("SELECT ext.loader_cancel(%s)", [package_id])
                    connection.execute("SELECT ext.loader_wait(%s)", [package_id])
                    connection.execute("SELECT ext.loader_forget(%s)", [package_id])
    yield


@pytest.fixture
def make(tmp_path, ours, mode):
    """Makes a pipeline over us."""

    def run(name="p", directory="pipelines", destination=None, **arguments):
        arguments.setdefault("dataset_name", "d_one")
        return dlt.pipeline(
            name,
            pipelines_dir=str(tmp_path / directory),
            destination=destination or loader_postgres(credentials=ours, mode=mode),
            **arguments,
        )

    return run


@pytest.fixture
def shared():
    """A directory that the server's user may read."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def child(tmp_path, ours, mode):
    """Runs a script in a process of its own, with `pipeline` and the package's modules."""

    def run(script):
        start = f"""
            import os, signal, dlt, dlt_loader
            from dlt_loader import loader_postgres, package, upload, client, jobs
            def die(*arguments, **named):
                os.kill(os.getpid(), signal.SIGKILL)
            pipeline = dlt.pipeline("p", pipelines_dir={str(tmp_path / "pipelines")!r},
                destination=loader_postgres(credentials={ours!r}, mode={mode!r}),
                dataset_name="d_one")
        """
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=600,
            cwd=tmp_path,
        )

    return run


def only(mode_):
    """For tests of what only one of the modes does."""
    return pytest.mark.parametrize("mode", [mode_], indirect=True)
