"""Package mode: one load package goes to the server as a whole and is loaded in one commit.

dlt's loader stays in charge of the files, and runs a job for each. The first of these jobs that
runs does the work for all of them, the others wait for it. A Package lives as long as one attempt
of dlt's loader; what has to outlive it stands in the server's catalog, in the dataset's record of
loads, and in the state of the load package (which mode it was begun in).
"""

import json
import os
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, Iterator, Optional, TypeVar, cast

from dlt.common import logger
from dlt.common.configuration.container import Container
from dlt.common.destination.client import RunnableLoadJob
from dlt.common.destination.exceptions import (
    DestinationTerminalException,
    DestinationTransientException,
)
from dlt.common.pipeline import current_pipeline
from dlt.common.runtime.collector import NULL_COLLECTOR
from dlt.common.storages.load_package import (
    LoadPackageStateInjectableContext,
    PackageStorage,
    ParsedLoadJobFileName,
)
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from dlt_loader.jobs import stamp, without_retries
from dlt_loader.server import Server
from dlt_loader.upload import TOpen, tar, upload_files

if TYPE_CHECKING:
    from dlt_loader.client import LoaderClient

TResult = TypeVar("TResult")

PACKAGE_FORMATS = ("insert_values", "csv", "jsonl")
POLL = "1 second"
"""How often progress is asked for; the end of a package is noticed at once"""

HELPER_BYTES = 8 * 1024 * 1024
"""How much there must be to upload for each further connection"""

ARCHIVE_FILES, ARCHIVE_BYTES = 8, 16 * 1024 * 1024
"""More files than these, of fewer bytes in all, go as one archive"""

# what dlt writes into the state of a package while it loads, so not part of what is to be loaded
LOAD_STEP_STATE = ("load_metrics", "applied_dropped_tables", "applied_truncated_tables")


class OtherJobFailed(DestinationTransientException):
    """Nothing of the package is loaded, because of another of its jobs."""


class Package:
    @staticmethod
    def current(client: "LoaderClient") -> Optional["Package"]:
        """The package that dlt's load step is at, if it is to be loaded as a whole."""
        container = Container()
        if LoadPackageStateInjectableContext not in container:
            return None
        context = container[LoadPackageStateInjectableContext]
        if context.storage.initial_state != "normalized":
            return None  # extract and normalize have such a context, too
        if "loader_package" not in vars(context):
            vars(context)["loader_package"] = (
                Package(context) if _mode(context, client) == "package" else None
            )
        return cast(Optional[Package], vars(context)["loader_package"])

    def __init__(self, context: LoadPackageStateInjectableContext) -> None:
        self.load_id = context.load_id
        self.storage = context.storage
        # No job moves while this is made, by the thread that moves them. Later each of these is
        # looked for until it is found, so that none is missed on its way between two folders.
        self._files = _job_files(self.storage, self.load_id)
        self.job_ids = set(self._files)
        self.started: "set[str]" = set()
        pipeline = current_pipeline()
        self.collector = pipeline.collector if pipeline else NULL_COLLECTOR
        self._lock = threading.Lock()
        self._outcome: Optional["Future[None]"] = None
        self._failed_job: Optional[str] = None

    def finish(self, client: "LoaderClient", job_id: Optional[str] = None) -> None:
        """Return when the package is loaded. The first caller does the work; an error is raised to
        all who wait. After one that a retry may mend, the next caller tries again."""
        with self._lock:
            self._forget_failed_job()
            mine = self._outcome is None
            outcome: "Future[None]" = self._outcome or Future()
            self._outcome = outcome
        if mine:
            try:
                self._load(client)
            except BaseException as ex:
                if not isinstance(ex, DestinationTerminalException):
                    self._outcome = None
                outcome.set_exception(ex)
            else:
                outcome.set_result(None)
        error = outcome.exception()
        if error and self._failed_job in self.started and job_id not in (None, self._failed_job):
            raise OtherJobFailed(f"Job {self._failed_job} of the package failed") from error
        if error:
            raise error if mine else error.with_traceback(None)

    def _forget_failed_job(self) -> None:
        """With raise_on_failed_jobs = False dlt sets a failed job aside, and loads the others."""
        aside = map(ParsedLoadJobFileName.parse, self.storage.list_failed_jobs(self.load_id))
        if self._failed_job and self._failed_job in {job.job_id() for job in aside}:
            self.job_ids.discard(self._failed_job)
            self._failed_job, self._outcome = None, None

    def _load(self, client: "LoaderClient") -> None:
        client.connect()
        server = client.server
        server.schema  # no extension, or another one: say so before anything else
        if self._is_loaded(client):
            return
        package_id = server.value(
            "loader_start",
            source=f"upload:{self._upload(client)}",
            dataset=client.dataset,
            **client.load_options(),
        )
        if package_id is None:
            return  # loaded, and forgotten by the catalog
        if self._wait(server, package_id) != "loaded":
            self._failed_job = self._ask_failed_job(server, package_id)
            server.raise_error(package_id)

    def _is_loaded(self, client: "LoaderClient") -> bool:
        table = client.sql_client.make_qualified_table_name(client.schema.loads_table_name)
        load_id, schema_name, status = client._norm_and_escape_columns(
            "load_id", "schema_name", "status"
        )
        try:
            return bool(
                client.server.query(
                    f"SELECT 1 FROM {table} WHERE {load_id} = %s AND {schema_name} = %s"
                    f" AND {status} = 0",
                    self.load_id,
                    client.schema.name,
                )
            )
        except DatabaseUndefinedRelation:
            return False

    def _give_up_earlier(self, client: "LoaderClient", upload_id: str) -> None:
        """dlt loads in order, so an earlier package of this pipeline that has not ended was
        aborted or dropped if it comes to this one; those that failed would hold it back."""
        ours = upload_id[: upload_id.index("-", 4) + 1]
        for (package_id,) in client.server.query(
            "SELECT package_id FROM loader.packages WHERE state IN ('new', 'loading', 'failed') AND"
            " dataset = %s AND schema_name = %s AND load_id <> %s AND"
            " pg_catalog.starts_with(source, %s)",
            client.dataset,
            client.schema.name,
            self.load_id,
            f"upload:{ours}",
        ):
            client.server.value("loader_cancel", package_id=package_id)

    def _upload(self, client: "LoaderClient") -> str:
        files_at = self._stats()
        schema = self._document(PackageStorage.SCHEMA_FILE_NAME)
        state = self._state()
        upload_id = client.upload_id(
            self.storage.storage.storage_path,
            self.load_id,
            [schema.decode(), state.decode()]
            + [f"{job_id} {stamp(found)}" for job_id, found in sorted(files_at.items())],
        )
        self._give_up_earlier(client, upload_id)
        files: Dict[str, TOpen] = {}
        files[f"{self.load_id}/{PackageStorage.SCHEMA_FILE_NAME}"] = partial(BytesIO, schema)
        files[f"{self.load_id}/{PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME}"] = partial(
            BytesIO, state
        )
        sizes = {job_id: found.st_size for job_id, found in files_at.items()}
        for job_id in sorted(sizes, key=lambda job_id: -sizes[job_id]):
            name = f"{self.load_id}/{PackageStorage.NEW_JOBS_FOLDER}/{without_retries(job_id)}"
            files[name] = partial(self._open, job_id)
        total = len(schema) + len(state) + sum(sizes.values())
        if len(files) > ARCHIVE_FILES and total < ARCHIVE_BYTES:
            archive = tar(files)  # thousands of small files one by one take their time
            files, total = {f"{self.load_id}.tar": partial(BytesIO, archive)}, len(archive)
        helpers = min(client.config.upload_connections - 1, len(sizes) - 1, total // HELPER_BYTES)
        with self._counter("Bytes uploaded", total) as count:
            upload_files(
                client.server, client.new_sql_client, max(0, helpers), upload_id, files, count
            )
        return upload_id

    def _wait(self, server: Server, package_id: int) -> str:
        warned, done = False, 0
        with self._counter("Bytes loaded", None) as count:
            while True:
                state = server.value("loader_wait", package_id=package_id, timeout=POLL)
                if state not in ("new", "loading"):
                    return str(state)
                for now, total, phase in server.query(
                    "SELECT bytes_done, bytes_total, phase FROM loader.progress"
                    " WHERE package_id = %s",
                    package_id,
                ):
                    count(now - done, total, phase)
                    done = now
                warned = warned or self._warn_of_queue(server, package_id)

    def _warn_of_queue(self, server: Server, package_id: int) -> bool:
        before = server.query(
            "SELECT p.package_id FROM loader.packages p JOIN loader.packages o ON"
            " p.dataset = o.dataset AND p.schema_name = o.schema_name AND"
            " p.package_id < o.package_id WHERE o.package_id = %s AND o.state = 'new'"
            " AND p.state = 'failed' ORDER BY 1 LIMIT 1",
            package_id,
        )
        for (other,) in before:
            logger.warning(
                f"Package {package_id} waits on the server for package {other}, which has failed:"
                " loader_resume, loader_cancel or loader_forget lets it go on"
            )
        return bool(before)

    def _ask_failed_job(self, server: Server, package_id: int) -> Optional[str]:
        rows = server.query(
            "SELECT job_id FROM loader.jobs WHERE package_id = %s AND state = 'failed'"
            " AND kind = 'load' ORDER BY 1 LIMIT 1",
            package_id,
        )
        return rows[0][0] if rows else None

    def _stats(self) -> Dict[str, os.stat_result]:
        return self._at_files(lambda paths: {id_: os.stat(path) for id_, path in paths.items()})

    def _open(self, job_id: str) -> BinaryIO:
        return self._at_files(lambda paths: open(paths[job_id], "rb"))

    def _at_files(self, do: Callable[[Dict[str, str]], TResult]) -> TResult:
        """Do something with the paths of all jobs. A file may move meanwhile, but not often."""
        for _ in range(100):
            if self.job_ids <= set(self._files):
                try:
                    return do({job_id: self._files[job_id] for job_id in self.job_ids})
                except FileNotFoundError:
                    pass
            self._files = _job_files(self.storage, self.load_id)
        gone = ", ".join(self.job_ids - set(self._files))
        raise DestinationTerminalException(f"Files of package {self.load_id} have gone: {gone}")

    def _document(self, name: str) -> bytes:
        path = os.path.join(self.storage.get_package_path(self.load_id), name)
        with open(self.storage.storage.make_full_path(path), "rb") as file:
            return file.read()

    def _state(self) -> bytes:
        """The package's state as it was before the load step."""
        state = json.loads(self._document(PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME))
        for key in LOAD_STEP_STATE:
            state.pop(key, None)
        return json.dumps(state, ensure_ascii=False).encode()

    @contextmanager
    def _counter(self, name: str, total: Optional[int]) -> Iterator[Any]:
        lock = threading.Lock()

        def count(inc: int, total: Optional[int] = total, message: Optional[str] = None) -> None:
            with lock:
                self.collector.update(name, inc, total=total, message=message)

        yield count


class PackageJob(RunnableLoadJob):
    """A job of a package that is loaded as a whole."""

    def __init__(self, file_path: str, package: Package) -> None:
        super().__init__(file_path)
        self.package = package
        package.started.add(self.job_id())

    def run(self) -> None:
        self.package.finish(cast("LoaderClient", self._job_client), self.job_id())


def _mode(context: LoadPackageStateInjectableContext, client: "LoaderClient") -> str:
    """How this package is loaded. It stays so once it was begun; what a loader of dlt has begun
    file by file also ends so."""
    own = context.state.setdefault("destination_state", {})
    if "loader_mode" not in own:
        storage, load_id = context.storage, context.load_id
        begun = os.path.exists(
            storage.storage.make_full_path(
                os.path.join(load_id, PackageStorage.APPLIED_SCHEMA_UPDATES_FILE_NAME)
            )
        )
        formats = {
            ParsedLoadJobFileName.parse(path).file_format
            for path in _job_files(storage, load_id).values()
        }
        whole = not (begun or client.config.staging_config or formats - set(PACKAGE_FORMATS))
        own["loader_mode"] = client.config.mode if whole else "job"
        context.commit()
    return str(own["loader_mode"])


def _job_files(storage: PackageStorage, load_id: str) -> Dict[str, str]:
    """Paths of the jobs of a package by job id. The folders in the order in which jobs move."""
    found: Dict[str, str] = {}
    folders = (
        PackageStorage.NEW_JOBS_FOLDER,
        PackageStorage.STARTED_JOBS_FOLDER,
        PackageStorage.COMPLETED_JOBS_FOLDER,
    )
    for folder in folders:
        path = storage.storage.make_full_path(storage.get_job_state_folder_path(load_id, folder))
        for entry in os.listdir(path):
            found[ParsedLoadJobFileName.parse(entry).job_id()] = os.path.join(path, entry)
    return found
