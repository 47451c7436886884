"""What a user of dlt does with a pipeline, each through us."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

import dlt
from dlt.common.configuration.exceptions import ConfigurationValueError
from conftest import make_database, only
from dlt.pipeline.helpers import pipeline_drop
from dlt_loader import loader_postgres
from dlt_loader.server import ExtensionMismatch

# older ones take their answers from a terminal only
YES = [] if dlt.__version__ < "1.27" else ["--yes"]


@dlt.source(name="shop")
def shop(n=3, start=0):
    @dlt.resource(primary_key="id", write_disposition="merge")
    def users(updated=dlt.sources.incremental("at", initial_value=-1)):
        yield [
            {"id": i, "at": i, "tags": [{"t": 1}]}
            for i in range(start, start + n)
            if i > updated.last_value
        ]

    @dlt.resource
    def events():
        yield [{"event": i} for i in range(n)]

    return users, events


def rows(pipeline, table):
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name(table)
        return client.execute_sql(f"SELECT count(*) FROM {name}")[0][0]


def test_run_and_read(make):
    pipeline = make()
    assert pipeline.run(shop()).has_failed_jobs is False
    assert sorted(pipeline.dataset().row_counts().fetchall()) == [
        ("events", 3), ("users", 3), ("users__tags", 3),
    ]  # fmt: skip
    assert len(pipeline.dataset().users.fetchall()) == 3
    pipeline.run(shop(start=2))
    assert rows(pipeline, "users") == 5 and rows(pipeline, "events") == 6


def test_fresh_working_directory(make):
    make().run(shop())
    fresh = make(directory="elsewhere")
    fresh.sync_destination()
    assert fresh.default_schema_name == "shop" and "users" in fresh.default_schema.tables
    fresh.run(shop(n=5).with_resources("users"))
    assert rows(fresh, "users") == 5
    loaded = fresh.last_trace.last_normalize_info.row_counts
    assert loaded["users"] == 2, "the cursor came back with the state"


def test_configured_by_name(tmp_path, ours, monkeypatch):
    monkeypatch.setenv("DESTINATION__LOADER__CREDENTIALS", ours)
    monkeypatch.setenv("DESTINATION__WAREHOUSE__DESTINATION_TYPE", "loader")
    monkeypatch.setenv("DESTINATION__WAREHOUSE__CREDENTIALS", ours)
    monkeypatch.setenv("DESTINATION__WAREHOUSE__MODE", "job")
    names = {
        "loader": ("loader", "package"),
        "dlt_loader.loader_postgres": ("loader", "package"),
        "dlt_loader.destinations.loader": ("loader", "package"),
        "warehouse": ("warehouse", "job"),
    }
    for n, (reference, (name, mode)) in enumerate(names.items()):
        pipeline = dlt.pipeline(
            f"n{n}", destination=reference, dataset_name="d_names", pipelines_dir=str(tmp_path)
        )
        info = pipeline.run([{"a": 1}], table_name="t")
        assert info.destination_name == name
        with psycopg.connect(ours) as connection:
            assert connection.execute(
                "SELECT mode, destination_name FROM loader.packages WHERE load_id = %s",
                [info.loads_ids[0]],
            ).fetchall() == [(mode, name)]
    # as the dlt command does it
    assert dlt.attach("n3", pipelines_dir=str(tmp_path)).destination.destination_name == "warehouse"


def test_command_line(make, tmp_path, ours, mode):
    make().run(shop())
    env = {
        **os.environ,
        "DESTINATION__LOADER__CREDENTIALS": ours,
        "DESTINATION__LOADER__MODE": mode,
        "DLT_DATA_DIR": str(tmp_path),
    }

    def dlt_command(*arguments):
        return subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "dlt"), *YES, "pipeline",
             "--pipelines-dir", str(tmp_path / "pipelines"), "p", *arguments],
            capture_output=True, text=True, env=env, cwd=tmp_path,
        )  # fmt: skip

    for arguments in (["info"], ["trace"], ["load-package"], ["schema"]):
        done = dlt_command(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "loader" in dlt_command("info").stdout
    if YES:
        done = dlt_command("drop", "users")
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        pipeline_drop(make(), resources="users")()
    with psycopg.connect(ours) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'd_one'::regnamespace"
            " AND relkind = 'r' AND relname NOT LIKE '\\_dlt%' ORDER BY 1"
        ).fetchall()
    assert tables == [("events",)]
    # and the cursor is forgotten with the table
    again = make()
    again.run(shop())
    assert rows(again, "users") == 3


def test_drop_pending_packages(make):
    pipeline = make()
    pipeline.extract(shop())
    pipeline.normalize()
    pipeline.drop_pending_packages()
    assert pipeline.load() is None or pipeline.load().loads_ids == []
    assert not pipeline.has_pending_data


def test_dev_mode_and_full_drop(make, sql):
    pipeline = make(dev_mode=True)
    pipeline.run(shop())
    assert rows(pipeline, "users") == 3 and pipeline.dataset_name != "d_one"
    with pipeline.destination_client() as client:
        client.drop_storage()
        assert not client.is_storage_initialized()


def test_sync_schema(make, sql):
    pipeline = make()
    pipeline.extract(shop())
    pipeline.normalize()
    pipeline.sync_schema()
    assert rows(pipeline, "users") == 0
    pipeline.load()
    assert rows(pipeline, "users") == 3


def test_several_pipelines_and_schemas(make):
    one, two = make("one"), make("two")
    one.run(shop())
    two.run([{"x": 1}], table_name="other")
    one.run([{"y": 1}], table_name="third", schema=dlt.Schema("second"))
    assert rows(one, "users") == 3 and rows(two, "other") == 1
    with one.sql_client("second") as client:
        name = client.dataset_name
        assert client.execute_sql(f"SELECT count(*) FROM {name}.third")[0][0] == 1
    assert name == "d_one"  # one dataset for all schemas is dlt's default

    fresh = make("one", directory="elsewhere")
    fresh.sync_destination()
    assert set(fresh.schema_names) == {"shop", "second"}


def test_pipelines_in_threads(make, sql):
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(lambda n=n: make(f"p{n}").run([{"n": n}] * 5, table_name=f"t{n}"))
            for n in range(3)
        ]
        assert not any(run.result().has_failed_jobs for run in runs)
    assert sql("SELECT (SELECT count(*) FROM d_one.t0), (SELECT count(*) FROM d_one.t1),"
               " (SELECT count(*) FROM d_one.t2)") == [(5, 5, 5)]  # fmt: skip


def test_many_jobs(make, sql, mode, monkeypatch):
    monkeypatch.setenv("DATA_WRITER__FILE_MAX_ITEMS", "10")
    pipeline = make()
    info = pipeline.run(({"i": i} for i in range(3000)), table_name="t")
    assert rows(pipeline, "t") == 3000
    assert len(info.load_packages[0].jobs["completed_jobs"]) > 300
    assert sql("SELECT count(*) FROM loader.jobs WHERE state = 'completed'") == [
        (len(info.load_packages[0].jobs["completed_jobs"]),)
    ]


def test_one_worker(make, monkeypatch):
    monkeypatch.setenv("LOAD__WORKERS", "1")
    pipeline = make()
    pipeline.run(shop())
    assert rows(pipeline, "users") == 3


def test_package_without_jobs(make, sql):
    pipeline = make()
    pipeline.run(shop())
    pipeline.run(shop(n=0))
    assert sql("SELECT count(*) FROM d_one._dlt_loads") in ([(1,)], [(2,)])
    assert not pipeline.has_pending_data


@only("package")
def test_diff(make, ours, sql):
    pipeline = make(
        destination=loader_postgres(credentials=ours, replace_strategy="diff")
    )
    for n in (5, 4):
        pipeline.run(
            [{"id": i} for i in range(n)], table_name="t", write_disposition="replace",
            primary_key="id",
        )  # fmt: skip
    assert rows(pipeline, "t") == 4
    assert sql(
        "SELECT strategy FROM loader.tables WHERE table_name = 't' ORDER BY package_id DESC LIMIT 1"
    ) == [("diff",)]


def test_model(make, sql, mode):
    """A model is a SELECT: it makes job mode of any package."""
    pipeline = make()
    pipeline.run([{"id": i} for i in range(4)], table_name="source")

    @dlt.resource(columns={"id": {"data_type": "bigint"}})
    def copy():
        yield pipeline.dataset()("SELECT id FROM source WHERE id > 1")

    info = pipeline.run(copy())
    assert sql("SELECT id FROM d_one.copy ORDER BY 1") == [(2,), (3,)]
    assert sql("SELECT mode FROM loader.packages WHERE load_id = %s", info.loads_ids[0]) == [
        ("job",)
    ]


def test_staging_destination(make, sql, shared):
    pipeline = make(staging=dlt.destinations.filesystem(bucket_url=shared.as_uri()))
    pipeline.run(shop())
    assert rows(pipeline, "users") == 3 and rows(pipeline, "users__tags") == 3
    assert list(shared.rglob("*.jsonl*")), "the files went through the bucket"
    assert {mode for (mode,) in sql("SELECT mode FROM loader.packages")} == {"job"}


def test_no_extension(tmp_path):
    dsn = make_database("dlt_loader_bare", extension=False)
    pipeline = dlt.pipeline(
        "bare",
        destination=loader_postgres(credentials=dsn),
        dataset_name="d_one",
        pipelines_dir=str(tmp_path),
    )
    with pytest.raises(Exception) as raised:
        pipeline.run([{"a": 1}], table_name="t")
    assert isinstance(raised.value.__cause__, ExtensionMismatch)
    assert "CREATE EXTENSION loader;" in str(raised.value)
    assert "dlt_loader_bare" in str(raised.value)


@pytest.mark.parametrize(
    "version, remedy", [("0.9", "ALTER EXTENSION loader UPDATE TO"), ("1.1", "pip install")]
)
def test_other_version(tmp_path, version, remedy):
    dsn = make_database("dlt_loader_other", extension=True)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE pg_extension SET extversion = %s WHERE extname = 'loader'", [version]
        )
    pipeline = dlt.pipeline(
        "other",
        destination=loader_postgres(credentials=dsn),
        dataset_name="d_one",
        pipelines_dir=str(tmp_path),
    )
    with pytest.raises(Exception) as raised:
        pipeline.run([{"a": 1}], table_name="t")
    assert isinstance(raised.value.__cause__, ExtensionMismatch)
    assert remedy in str(raised.value) and version in str(raised.value)

GRANTS = """
GRANT USAGE ON SCHEMA ext TO dlt_loader_etl;
GRANT CREATE ON DATABASE dlt_loader_ours TO dlt_loader_etl;
GRANT EXECUTE ON FUNCTION ext.loader_upload, ext.loader_start(text, text, text, text, text, boolean,
    jsonb, boolean, integer, boolean, text, text, boolean, text), ext.loader_wait,
    ext.loader_cancel, ext.loader_raise, ext.loader_initialize_storage, ext.loader_drop_storage,
    ext.loader_drop_tables, ext.loader_update_stored_schema, ext.loader_complete_load,
    ext.loader_create_table_chain_completed_followup_jobs TO dlt_loader_etl;
GRANT EXECUTE ON PROCEDURE ext.loader_start_file_load, ext.loader_run_followup_job
    TO dlt_loader_etl;
"""


def test_role_with_grants(make, sql, mode, ours):
    """A role that was given what README says, and no file privilege, loads."""
    sql("DROP SCHEMA IF EXISTS d_one, d_one_staging CASCADE")
    if sql("SELECT 1 FROM pg_roles WHERE rolname = 'dlt_loader_etl'"):
        sql("DROP OWNED BY dlt_loader_etl CASCADE")
        sql("DROP ROLE dlt_loader_etl")
    sql("CREATE ROLE dlt_loader_etl LOGIN PASSWORD 'x'")
    for statement in GRANTS.split(";\n"):
        sql(statement)
    address = ours.partition("@")[2]
    destination = loader_postgres(credentials=f"postgresql://dlt_loader_etl:x@{address}", mode=mode)
    pipeline = make(destination=destination)
    pipeline.run(shop())
    pipeline.run(shop(start=2))
    assert rows(pipeline, "users") == 5
    assert sql("SELECT DISTINCT role_name, mode, state FROM loader.packages") == [
        ("dlt_loader_etl", mode, "loaded")
    ]


def test_typos():
    for wrong in ({"mode": "pakage"}, {"replace_strategy": "difff"}):
        with pytest.raises(ConfigurationValueError, match="it must be one of"):
            loader_postgres(credentials="postgresql://a:b@c/d", **wrong)


def test_replace_by_difference(make, ours, mode):
    pipeline = make(destination=loader_postgres(ours, mode=mode, replace_strategy="diff"))
    for n in (3, 2):
        pipeline.run([{"id": i} for i in range(n)], table_name="t", write_disposition="replace")
        assert rows(pipeline, "t") == n


@only("package")
def test_staging_area_of_another_machine(make, mode):
    pipeline = make(staging=dlt.destinations.filesystem("memory://bucket"))
    with pytest.raises(Exception, match="must begin with file://"):
        pipeline.run([{"id": 1}], table_name="t")
