"""Job mode: dlt's loader drives the server, one call for each file or follow-up job."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

from dlt.common.destination.client import HasFollowupJobs, RunnableLoadJob
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.job_client_impl import ModelLoadJob
from dlt.destinations.job_impl import FollowupJobRequestImpl, ReferenceFollowupJobRequest

from dlt_loader.upload import upload_file

if TYPE_CHECKING:
    from dlt_loader.client import LoaderClient


class FileJob(RunnableLoadJob, HasFollowupJobs):
    """Uploads a file and has the server load it, in this connection."""

    def __init__(self, file_path: str, restore: bool = False) -> None:
        super().__init__(file_path)
        self.restore = restore

    def run(self) -> None:
        client = cast("LoaderClient", self._job_client)
        if self.restore and client.is_file_loaded(self._load_id, self.file_name()):
            return
        packages = Path(self._file_path).parents[2]
        content = [self.job_id(), stamp(os.stat(self._file_path))]
        upload_id = client.upload_id(str(packages), self._load_id, content)
        # a retry of the job is the same file for the server
        name = f"{self._load_id}/new_jobs/{without_retries(self.job_id())}"
        with open(self._file_path, "rb") as file:
            upload_file(client.server, upload_id, name, file)
        client.start_file_load(self._load_id, self.file_name(), source=f"upload:{upload_id}/{name}")


class ReferenceJob(RunnableLoadJob, HasFollowupJobs):
    """Has the server load a file of a staging destination, from where it lies."""

    def run(self) -> None:
        url = ReferenceFollowupJobRequest.resolve_reference(self._file_path)
        client = cast("LoaderClient", self._job_client)
        client.start_file_load(self._load_id, self.file_name(), source=url)


class ModelJob(ModelLoadJob):
    """dlt makes the statement out of the model, the server runs it."""

    def run(self) -> None:
        client = cast("LoaderClient", self._job_client)
        job_client, self._job_client = client, cast(Any, _Statements(self, client))
        try:
            super().run()
        finally:
            self._job_client = job_client


class _Statements:
    """Stands in for the client and its sql_client while dlt's job runs: gets its statement."""

    def __init__(self, job: ModelJob, client: "LoaderClient") -> None:
        self._job, self._client = job, client

    @property
    def sql_client(self) -> "_Statements":
        return self

    def execute_sql(self, statement: str) -> None:
        self._client.start_file_load(
            self._job._load_id, self._job.file_name(), statement=statement
        )

    def __getattr__(self, name: str) -> Any:
        found: Optional[Any] = getattr(self._client, name, None)
        return found if found is not None else getattr(self._client.sql_client, name)


class FollowupJob(RunnableLoadJob):
    """Has the server merge or replace a chain of tables."""

    def run(self) -> None:
        client = cast("LoaderClient", self._job_client)
        with open(self._file_path, encoding="utf-8") as file:
            client.server.query(file.read())


class FollowupRequest(FollowupJobRequestImpl):
    def __init__(self, file_name: str, content: str) -> None:
        super().__init__(file_name)
        self._save_text_file(content)


def stamp(found: os.stat_result) -> str:
    """Changes if the file is changed, but not if it is moved."""
    return f"{found.st_size} {found.st_mtime_ns}"


def without_retries(job_id: str) -> str:
    """The file name of a job that was never retried."""
    table_name, file_id, rest = job_id.split(".", 2)
    return ParsedLoadJobFileName.parse(f"{table_name}.{file_id}.0.{rest}").file_name()
