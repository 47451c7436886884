"""Packages that a pipeline hands over to a directory that loader_scan watches."""

import os

import pytest

import dlt
from conftest import only
from dlt_loader import hand_over
from dlt_loader.hand_over import HandOverError, main

pytestmark = only("package")


@dlt.resource(primary_key="id", write_disposition="merge")
def users(n, at=dlt.sources.incremental("id", initial_value=-1)):
    yield [{"id": i} for i in range(n) if i > at.last_value]


def normalized(pipeline, n):
    pipeline.extract(users(n))
    pipeline.normalize()
    return pipeline.list_normalized_load_packages()


def scan(sql, directory):
    for (package_id,) in sql(
        "SELECT ext.loader_scan(%s, dataset => 'd_one')", str(directory)
    ):
        assert sql("SELECT ext.loader_wait(%s, '180 s')", package_id) == [("loaded",)]


def test_hand_over(make, sql, shared):
    pipeline = make()
    load_ids = normalized(pipeline, 3)
    assert hand_over(pipeline, str(shared)) == load_ids
    assert sorted(os.listdir(shared)) == load_ids
    assert sorted(os.listdir(shared / load_ids[0])) == [
        "load_package_state.json", "new_jobs", "schema.json",
    ]  # fmt: skip
    assert pipeline.get_load_package_info(load_ids[0]).state == "loaded"
    assert not pipeline.has_pending_data

    # The server has not looked yet, there is no dataset: the cursor must stay where it is.
    pipeline = make()
    pipeline.sync_destination()
    load_ids += normalized(pipeline, 5)
    assert pipeline.last_trace.last_normalize_info.row_counts["users"] == 2
    assert hand_over(pipeline, str(shared)) == load_ids[1:]
    assert sorted(os.listdir(shared)) == load_ids

    scan(sql, shared)
    assert sql("SELECT id FROM d_one.users ORDER BY 1") == [(i,) for i in range(5)]

    # and a run of its own goes on from there
    pipeline = make()
    pipeline.run(users(6))
    assert pipeline.last_trace.last_normalize_info.row_counts["users"] == 1
    assert sql("SELECT count(*) FROM d_one.users") == [(6,)]
    assert not os.path.exists(os.path.join(pipeline.working_dir, "handed_over"))


def test_a_dataset_that_was_dropped_begins_anew(make, sql, shared):
    """As with dlt alone, once the state had arrived."""
    pipeline = make()
    normalized(pipeline, 3)
    hand_over(pipeline, str(shared))
    scan(sql, shared)
    make().sync_destination()
    sql("DROP SCHEMA d_one CASCADE")
    pipeline = make()
    pipeline.run(users(3))
    assert sql("SELECT count(*) FROM d_one.users") == [(3,)]


def test_again_after_a_crash(make, shared, monkeypatch):
    """The package is there, dlt was not told: nothing is copied twice."""
    def crash(*arguments):
        raise OSError("crash")

    pipeline = make()
    (load_id,) = normalized(pipeline, 3)
    with monkeypatch.context() as patch:
        patch.setitem(hand_over.__globals__, "_mark_loaded", crash)
        with pytest.raises(OSError):
            hand_over(pipeline, str(shared))
    assert pipeline.list_normalized_load_packages() == [load_id]
    before = os.stat(shared / load_id).st_mtime_ns
    assert hand_over(pipeline, str(shared)) == [load_id]
    assert os.stat(shared / load_id).st_mtime_ns == before

    # another package of that name is not taken for it
    (load_id,) = normalized(pipeline, 9)
    os.makedirs(shared / load_id)
    with pytest.raises(HandOverError, match="is there already"):
        hand_over(pipeline, str(shared))


def test_begun_packages_are_refused(make, shared, monkeypatch):
    pipeline = make()
    (load_id,) = normalized(pipeline, 3)
    storage = pipeline._get_load_storage()
    storage.commit_schema_update(load_id, {})
    with pytest.raises(HandOverError, match="has begun to load"):
        hand_over(pipeline, str(shared))
    assert os.listdir(shared) == []


def test_command(make, tmp_path, shared, capsys, monkeypatch, ours):
    monkeypatch.setenv("DESTINATION__LOADER__CREDENTIALS", ours)
    (load_id,) = normalized(make(), 3)
    arguments = ["hand-over", "p", str(shared), "--pipelines-dir", str(tmp_path / "pipelines")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.split() == [load_id]
    assert main(["hand-over", "p", "/nowhere", *arguments[3:]]) == 1
    assert "/nowhere" in capsys.readouterr().err


def test_not_normalized(make, shared):
    pipeline = make()
    pipeline.extract(users(2))
    with pytest.raises(HandOverError, match="normalize"):
        hand_over(pipeline, str(shared))
    assert os.listdir(shared) == []
