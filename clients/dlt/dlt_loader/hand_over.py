"""Give the pending packages of a pipeline to a directory that `loader_scan` watches.

A package is copied beside, made durable, and renamed into place: the scan sees all or nothing.
Only then dlt is told that it is loaded. A crash in between leaves a package in both places; handing
over again finds that it is there and goes on.

Until the server has loaded it the dataset may not exist. dlt then takes a pipeline for a forgotten
one and starts it anew, from the first cursor on. A file in the pipeline's directory tells the
client that state is on its way.
"""

import argparse
import filecmp
import os
import shutil
import sys
from typing import List, Optional, Sequence, Union

import dlt
from dlt.common.pipeline import current_pipeline
from dlt.common.storages import LoadStorage, ParsedLoadJobFileName
from dlt.common.storages.load_package import PackageStorage
from dlt.pipeline.pipeline import Pipeline

MARKER = "handed_over"


class HandOverError(Exception):
    pass


def hand_over(pipeline: Union[Pipeline, str], directory: str) -> List[str]:
    """Hand over all packages that are normalized, and return their load ids."""
    if isinstance(pipeline, str):
        pipeline = dlt.attach(pipeline)
    pipeline.activate()
    if not os.path.isdir(directory):
        raise HandOverError(f"There is no directory {directory}")
    if extracted := pipeline.list_extracted_load_packages():
        raise HandOverError(
            f"Packages {', '.join(extracted)} are extracted only: call pipeline.normalize() first"
        )
    storage = pipeline._get_load_storage()
    load_ids = list(storage.list_normalized_packages())
    for load_id in load_ids:
        _refuse_begun(storage, load_id)
    for load_id in load_ids:
        _copy(storage.normalized_packages, load_id, directory)
        if "pipeline_state" in storage.normalized_packages.get_load_package_state(load_id):
            _write(os.path.join(pipeline.working_dir, MARKER), load_id)
        _mark_loaded(storage, load_id)
    return load_ids


def state_is_on_its_way(arrived: Optional[str]) -> bool:
    """Whether the active pipeline has handed over a state that is newer than the one that has
    arrived (a load id). One that has arrived need not be waited for any more."""
    pipeline = current_pipeline()
    marker = os.path.join(pipeline.working_dir, MARKER) if pipeline else ""
    if not os.path.exists(marker):
        return False
    with open(marker, encoding="utf-8") as file:
        on_its_way = arrived is None or arrived < file.read()
    if not on_its_way:
        os.remove(marker)
    return on_its_way


def _refuse_begun(storage: LoadStorage, load_id: str) -> None:
    packages = storage.normalized_packages
    jobs = packages.get_load_package_jobs(load_id)
    path = packages.storage.make_full_path(packages.get_package_path(load_id))
    if (
        os.path.exists(os.path.join(path, PackageStorage.APPLIED_SCHEMA_UPDATES_FILE_NAME))
        or any(jobs[state] for state in jobs if state != PackageStorage.NEW_JOBS_FOLDER)
        or any(job.retry_count for job in jobs[PackageStorage.NEW_JOBS_FOLDER])
    ):
        raise HandOverError(
            f"dlt has begun to load package {load_id}: let it, with pipeline.load(), or drop it"
        )


def _copy(packages: PackageStorage, load_id: str, directory: str) -> None:
    source = packages.storage.make_full_path(packages.get_package_path(load_id))
    target = os.path.join(directory, load_id)
    names = [PackageStorage.SCHEMA_FILE_NAME, PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME]
    folder = PackageStorage.NEW_JOBS_FOLDER
    names += [os.path.join(folder, name) for name in os.listdir(os.path.join(source, folder))]
    if os.path.exists(target):
        _, differ, missing = filecmp.cmpfiles(source, target, names, shallow=False)
        if differ or missing:
            raise HandOverError(f"{target} is there already, with other files")
        return
    # a name with a dot is left alone by loader_scan
    temporary = os.path.join(directory, f".{load_id}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    os.makedirs(os.path.join(temporary, folder))
    for name in names:
        shutil.copyfile(os.path.join(source, name), os.path.join(temporary, name))
        _sync(os.path.join(temporary, name))
    _sync(os.path.join(temporary, folder))
    _sync(temporary)
    os.rename(temporary, target)
    _sync(directory)


def _mark_loaded(storage: LoadStorage, load_id: str) -> None:
    """What dlt's loader does with a package that it has loaded."""
    packages = storage.normalized_packages
    if storage.begin_schema_update(load_id) is not None:
        storage.commit_schema_update(load_id, {})
    for path in packages.list_new_jobs(load_id):
        name = ParsedLoadJobFileName.parse(path).file_name()
        packages.start_job(load_id, name)
        packages.complete_job(load_id, name)
    storage.complete_load_package(load_id, False)
    storage.maybe_remove_completed_jobs(load_id)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="dlt-loader")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "hand-over", help="give pending packages to a directory that loader_scan watches"
    )
    command.add_argument("pipeline", help="name of the pipeline")
    command.add_argument("directory", help="the directory that is watched")
    command.add_argument("--pipelines-dir", help="where the pipeline's working directory is")
    options = parser.parse_args(arguments)
    try:
        pipeline = dlt.attach(options.pipeline, pipelines_dir=options.pipelines_dir)
        for load_id in hand_over(pipeline, options.directory):
            print(load_id)
    except Exception as ex:
        print(f"dlt-loader: {ex}", file=sys.stderr)
        return 1
    return 0
