"""A plugin of pytest that gives dlt's own tests our client in place of PostgresClient, in job mode.

Whatever asks for the destination postgres gets it: the class of the client and the capabilities are
those of dlt_loader, the name stays. At the end the plugin asks the server whether it knows of every
file that a job of ours has loaded, and fails the run if not. Without DLT_TESTS_DSN it does nothing.
"""

import os
from typing import Any, Dict, Set, Tuple

import pytest

DSN = os.environ.get("DLT_TESTS_DSN")
loaded: Set[Tuple[str, str]] = set()
unknown: Set[Tuple[str, str]] = set()


def substitute() -> None:
    from dlt.destinations.impl.postgres import factory
    from dlt.destinations.impl.postgres.configuration import PostgresClientConfiguration

    from dlt_loader.destinations import LoaderClientConfiguration, loader

    # tests also make the configuration by hand, which has no mode then
    ours = LoaderClientConfiguration(mode="job")
    for field in LoaderClientConfiguration.__dataclass_fields__:
        if field not in PostgresClientConfiguration.__dataclass_fields__:
            setattr(PostgresClientConfiguration, field, getattr(ours, field))

    # the factory of ours is a subclass of the one that is changed here
    postgres = factory.postgres
    own_capabilities = postgres._raw_capabilities
    template = loader(mode="job")

    def raw_capabilities(self: Any) -> Any:
        if isinstance(self, loader):
            return own_capabilities(self)
        return template._raw_capabilities()

    postgres._raw_capabilities = raw_capabilities  # type: ignore[method-assign]
    postgres.client_class = loader.client_class  # type: ignore[assignment, method-assign]


def watch_jobs() -> None:
    """Note every file that a job of ours has loaded."""
    from dlt.common.destination.client import RunnableLoadJob

    run_managed = RunnableLoadJob.run_managed

    def watched(self: Any, *args: Any, **kwargs: Any) -> None:
        run_managed(self, *args, **kwargs)
        if type(self).__module__.startswith("dlt_loader.") and self.state() == "completed":
            loaded.add((self._load_id, self.job_file_info().job_id()))

    RunnableLoadJob.run_managed = watched  # type: ignore[method-assign]


def known_jobs() -> Set[Tuple[str, str]]:
    import psycopg2

    connection = psycopg2.connect(DSN)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT p.load_id, j.job_id FROM loader.jobs j JOIN loader.packages p"
                " USING (package_id) WHERE j.state = 'completed'"
            )
            return set(cursor.fetchall())
    finally:
        connection.close()


if DSN:
    substitute()
    watch_jobs()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    if DSN:
        unknown.update(loaded - known_jobs())
        if unknown or not loaded:
            session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not DSN:
        return
    terminalreporter.write_line(f"loaded by our client: {len(loaded)} files")
    terminalreporter.write_line(f"without a row in loader.jobs: {len(unknown)}")
    for load_id, job_id in sorted(unknown)[:20]:
        terminalreporter.write_line(f"FAIL no row in loader.jobs: {load_id} {job_id}")
