"""A client that nobody's load step drives: what dlt's own tests of destinations do, and others may."""

from contextlib import nullcontext

import pytest

from dlt.common.schema import Schema
from dlt.common.schema.utils import new_table
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt_loader import loader_postgres

ROWS = "INSERT INTO {}(id, v)\nVALUES\n%s;\n"


@pytest.fixture
def client(ours):
    schema = Schema("by_hand")
    schema.update_table(
        new_table(
            "t",
            write_disposition="merge",
            columns=[
                {"name": "id", "data_type": "bigint", "primary_key": True, "nullable": False},
                {"name": "v", "data_type": "text", "nullable": True},
            ],
        )
    )
    schema._bump_version()
    destination = loader_postgres(credentials=ours, mode="job")
    configuration = destination.spec()._bind_dataset_name("d_hand")
    client = destination.client(schema, configuration)
    with client:
        client.initialize_storage()
        client.update_stored_schema()
        with client.with_staging_dataset():
            client.initialize_storage()
            client.update_stored_schema()
    return client


def run(client, path, load_id):
    job = client.create_load_job(client.prepare_load_table("t"), str(path), load_id)
    job.set_run_vars(load_id, client.schema, client.prepare_load_table("t"))
    with client:  # later versions of dlt enter it in the job, too
        job.run_managed(client, None)
    assert job.state() == "completed", job.failed_message()


@pytest.mark.parametrize("entered", [True, False])
def test_merge_by_hand(client, sql, tmp_path, entered):
    """Follow-up jobs can be asked for in a client that is entered, which it stays, or not."""
    table = client.prepare_load_table("t")
    for load_id, values in (("1.1", "(1, 'a'),(2, 'b')"), ("1.2", "(2, 'c'),(3, 'd')")):
        file = tmp_path / f"t.{load_id.replace('.', '')}.0.insert_values"
        file.write_text(ROWS % values)
        with client, client.with_staging_dataset():
            client.initialize_storage(truncate_tables=["t"])
        with client.with_staging_dataset():
            run(client, file, load_id)
        with client if entered else nullcontext():
            followups = client.create_table_chain_completed_followup_jobs([table])
            assert bool(client.sql_client.native_connection) == entered
        assert len(followups) == 1
        run(client, followups[0].new_file_path(), load_id)
        with client:
            client.complete_load(load_id)
    assert sql("SELECT id, v FROM d_hand.t ORDER BY id") == [(1, "a"), (2, "c"), (3, "d")]
    assert sql("SELECT load_id, state FROM loader.packages ORDER BY load_id") == [
        ("1.1", "loaded"),
        ("1.2", "loaded"),
    ]
    # the file that was merged first stays so, though its staged rows are gone
    assert sql("SELECT DISTINCT state FROM loader.jobs") == [("completed",)]


def test_no_load(client):
    """Without a file there is no load whose tables could be merged."""
    with pytest.raises(CurrentLoadPackageStateNotAvailable):
        client.create_table_chain_completed_followup_jobs([client.prepare_load_table("t")])
