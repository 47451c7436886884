"""What goes wrong: bad data, killed clients, a killed server. Rows are there once in the end."""

import os
import shlex
import subprocess
import textwrap

import psycopg
import pytest

import dlt
from conftest import DSN, only
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt_loader import client, jobs, package, upload

ABORTS = dlt.__version__ < "1.27"  # older ones give up a package with a failed job


def numbers(first, last):
    return ({"i": i} for i in range(first, last))


def count(sql, table="t"):
    return sql(f"SELECT count(*) FROM d_one.{table}")[0][0]


def causes(exception):
    while exception:
        yield exception
        exception = exception.__cause__


def test_error_of_the_database(make, sql, mode):
    pipeline = make()
    pipeline.run(numbers(0, 3), table_name="t")
    sql("ALTER TABLE d_one.t ADD CHECK (i < 5)")
    with pytest.raises(PipelineStepFailed) as raised:
        pipeline.run(numbers(3, 9), table_name="t")
    found = [ex for ex in causes(raised.value) if isinstance(ex, DatabaseTerminalException)]
    assert found and found[0].dbapi_exception.pgcode == "23514"
    assert count(sql) == 3
    info = pipeline.last_trace.last_load_info
    messages = [
        job.failed_message
        for load_package in info.load_packages
        for state in load_package.jobs.values()
        for job in state
    ]
    assert any("t_i_check" in message for message in messages if message), "it is in the trace"

    sql("ALTER TABLE d_one.t DROP CONSTRAINT t_i_check")
    if ABORTS:
        assert not pipeline.has_pending_data
        # what failed and was given up does not hold back what comes
        pipeline.run(numbers(9, 10), table_name="t")
        assert count(sql) == 4
    else:
        pipeline.load()
        assert count(sql) == 9
    assert sql("SELECT count(*) FROM loader.packages WHERE state IN ('new', 'failed')") == [(0,)]


@only("package")
def test_the_job_that_failed_is_named(make, sql):
    pipeline = make()
    pipeline.run([dlt.resource(numbers(0, 3), name=name) for name in ("a", "b", "c")])
    sql("ALTER TABLE d_one.b ADD CHECK (i < 5)")
    with pytest.raises(PipelineStepFailed) as raised:
        pipeline.run([dlt.resource(numbers(3, 9), name=name) for name in ("a", "b", "c")])
    failure = raised.value.__cause__
    assert failure.job_id.startswith("b.")
    assert isinstance(failure.client_exception, DatabaseTerminalException)
    assert [count(sql, name) for name in ("a", "b", "c")] == [3, 3, 3], "nothing is loaded"


def test_complete_with_failed_jobs(make, sql, monkeypatch):
    monkeypatch.setenv("LOAD__RAISE_ON_FAILED_JOBS", "false")
    pipeline = make()
    pipeline.run([dlt.resource(numbers(0, 3), name=name) for name in ("a", "b")])
    sql("ALTER TABLE d_one.b ADD CHECK (i < 5)")
    info = pipeline.run([dlt.resource(numbers(3, 9), name=name) for name in ("a", "b")])
    assert info.has_failed_jobs
    assert [count(sql, name) for name in ("a", "b")] == [9, 3]
    assert not pipeline.has_pending_data


@pytest.mark.skipif(ABORTS, reason="this dlt gives up the package")
def test_mended_file(make, sql, monkeypatch):
    monkeypatch.setenv("DATA_WRITER__DISABLE_COMPRESSION", "true")
    monkeypatch.setenv("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
    pipeline = make()
    pipeline.run(numbers(0, 3), table_name="t", loader_file_format="jsonl")
    sql("ALTER TABLE d_one.t ADD CHECK (i < 5)")
    with pytest.raises(PipelineStepFailed):
        pipeline.run(numbers(7, 8), table_name="t", loader_file_format="jsonl")
    storage = pipeline._get_load_storage().normalized_packages
    (load_id,) = storage.list_packages()
    (name,) = [name for name in storage.list_new_jobs(load_id) if "/t." in name]
    path = storage.storage.make_full_path(name)
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace('"i":7', '"i":4'))
    pipeline.load()
    assert sql("SELECT max(i) FROM d_one.t") == [(4,)]


@only("package")
def test_cancelled_on_the_server(make, sql, monkeypatch):
    """Somebody stops the package. The pipeline says so, and loads it when it is run again."""
    original = package.Package._wait

    def wait(self, server, package_id):
        sql("SELECT ext.loader_cancel(%s)", package_id)
        return original(self, server, package_id)

    pipeline = make()
    pipeline.run(numbers(0, 3), table_name="t")
    # the package waits for this lock, and so is there to be cancelled
    with psycopg.connect(DSN.format("dlt_loader_ours")) as connection:
        connection.execute("LOCK d_one.t")
        with monkeypatch.context() as patch:
            patch.setattr(package.Package, "_wait", wait)
            with pytest.raises(PipelineStepFailed, match="was cancelled"):
                pipeline.run(numbers(3, 6), table_name="t")
    assert count(sql) == 3
    if not ABORTS:
        pipeline.load()
        assert count(sql) == 6


KILLED = {
    "package": {
        "while it uploads": """
            original = upload.upload_file
            def some(server, upload_id, name, file, progress):
                if name.endswith(".gz"):
                    die()
                original(server, upload_id, name, file, progress)
            upload.upload_file = some
        """,
        "before the start": "client.LoaderClient.load_options = die",
        "while it waits": "package.Package._wait = die",
        "after the load": """
            original = package.Package._wait
            def wait(*arguments):
                original(*arguments)
                die()
            package.Package._wait = wait
        """,
        "before dlt knows": "client.LoaderClient.complete_load = die",
    },
    "job": {
        "before a file": "client.LoaderClient.start_file_load = die",
        "after a file": """
            original = client.LoaderClient.start_file_load
            def start(*arguments, **named):
                original(*arguments, **named)
                die()
            client.LoaderClient.start_file_load = start
        """,
        "before the follow-up": "jobs.FollowupJob.run = die",
        "after the follow-up": """
            original = jobs.FollowupJob.run
            def run(*arguments, **named):
                original(*arguments, **named)
                die()
            jobs.FollowupJob.run = run
        """,
        "before the end": "client.LoaderClient.complete_load = die",
        "after the end": """
            original = client.LoaderClient.complete_load
            def complete(*arguments, **named):
                original(*arguments, **named)
                die()
            client.LoaderClient.complete_load = complete
        """,
    },
}

RUN = """
pipeline.run(({"i": i} for i in range(1000)), table_name="t", primary_key="i",
    write_disposition="merge")
"""
RUN_APPEND = """
pipeline.run(({"i": i} for i in range(1000)), table_name="t")
"""


@pytest.mark.parametrize(
    "mode, moment",
    [(mode, moment) for mode in KILLED for moment in KILLED[mode]],
    indirect=["mode"],
)
@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_killed_client(child, make, sql, mode, moment, disposition):
    if disposition == "append" and "follow-up" in moment:
        pytest.skip("appends have no follow-up jobs")
    script = RUN if disposition == "merge" else RUN_APPEND
    done = child(textwrap.dedent(KILLED[mode][moment]) + script)
    assert done.returncode == -9, done.stdout + done.stderr

    again = child("""
        sent = []
        original = upload.upload_file
        def some(server, upload_id, name, *arguments):
            sent.append(name)
            original(server, upload_id, name, *arguments)
        upload.upload_file = some
        pipeline.load()
        print(len(sent))
        assert not pipeline.has_pending_data
    """)
    assert again.returncode == 0, again.stdout + again.stderr
    if moment in ("after the load", "before dlt knows", "before the end", "after the end"):
        assert again.stdout.split() == ["0"], "what is loaded is not uploaded again"
    assert count(sql) == 1000
    assert sql("SELECT count(DISTINCT i) FROM d_one.t") == [(1000,)]
    assert sql("SELECT count(*) FROM d_one._dlt_loads") == [(1,)]


def test_killed_server(make, sql, mode, monkeypatch):
    restart = os.environ.get("LOADER_TEST_RESTART")
    if not restart:
        pytest.skip("LOADER_TEST_RESTART is not set")
    killed = []

    def kill():
        if not killed:
            killed.append(True)
            subprocess.run(shlex.split(restart), check=True, stdout=subprocess.DEVNULL)

    if mode == "package":
        original = package.Package._wait

        def wait(*arguments):
            kill()
            return original(*arguments)

        monkeypatch.setattr(package.Package, "_wait", wait)
    else:
        original = jobs.upload_file

        def send(*arguments):
            original(*arguments)
            kill()

        monkeypatch.setattr(jobs, "upload_file", send)
    pipeline = make()
    try:
        pipeline.run(numbers(0, 1000), table_name="t")
    except PipelineStepFailed:
        # dlt's loader may have asked for something itself just then: that it does not try again
        assert mode == "job"
        pipeline.load()
    assert killed and count(sql) == 1000
    assert sql("SELECT count(*) FROM d_one._dlt_loads") == [(1,)]


@only("package")
def test_upload_goes_on(make, sql, monkeypatch):
    """A file of several chunks that was cut off is sent from there on."""
    monkeypatch.setattr(upload, "CHUNK", 1000)
    monkeypatch.setenv("DATA_WRITER__DISABLE_COMPRESSION", "true")
    monkeypatch.setenv("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
    offsets, broken = [], []
    original = upload._send

    def send(server, upload_id, name, offset, *arguments):
        if name.endswith("insert_values"):
            offsets.append(offset)
            if offset == 20_000 and not broken:
                broken.append(True)
                raise OSError("the network is down")
        original(server, upload_id, name, offset, *arguments)

    monkeypatch.setattr(upload, "_send", send)
    pipeline = make()
    pipeline.run(({"i": i, "text": "x" * 40} for i in range(1000)), table_name="t")
    assert broken and count(sql) == 1000
    assert offsets.count(19_000) == 1 and offsets.count(20_000) == 2
