"""The job client: what dlt calls on a destination, each a call of the server's function for it.

In package mode dlt's loader changes nothing by itself while it is at a package: the server does it
all when the package is loaded, see package.py.
"""

import base64
import hashlib
import os
import zlib
from contextlib import contextmanager
from datetime import timezone
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple
from urllib.parse import urlparse

from psycopg2.sql import SQL, Identifier

import dlt
from dlt.common.configuration.exceptions import ConfigurationValueError
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.client import (
    FollowupJobRequest,
    JobClientBase,
    LoadJob,
    PreparedTableSchema,
    StateInfo,
    StorageSchemaInfo,
    SupportsStagingDestination,
)
from dlt.common.json import json
from dlt.common.schema import Schema, TColumnSchema, TSchemaTables, TTableSchemaColumns
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.storages.load_package import LoadJobInfo, load_package_state
from dlt.common.versioned_state import json_encode_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import ModelLoadJob, SqlLoadJob
from dlt.destinations.job_impl import ReferenceFollowupJobRequest
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

from dlt_loader.destinations import LoaderClientConfiguration
from dlt_loader.hand_over import state_is_on_its_way
from dlt_loader.jobs import FileJob, FollowupJob, FollowupRequest, ModelJob, ReferenceJob
from dlt_loader.package import Package, PackageJob
from dlt_loader.server import Server


class LoaderClient(PostgresClient, SupportsStagingDestination):
    config: LoaderClientConfiguration

    def __init__(
        self,
        schema: Schema,
        config: LoaderClientConfiguration,
        capabilities: DestinationCapabilitiesContext,
    ) -> None:
        super().__init__(schema, config, capabilities)
        self.dataset: str = self.sql_client.dataset_name
        self.staging_dataset: str = self.sql_client.staging_dataset_name
        # the server fills in the dataset, dlt has normalized the name that comes out
        self.staging_layout = self.staging_dataset.replace(self.dataset, "%s", 1)
        self.destination_name = config.destination_name or Destination.to_name(
            config.destination_type
        )
        self.server = Server(self.sql_client)
        _check_staging(config)
        self.last_load_id: Optional[str] = None
        self.package  # made here, by dlt's main thread, if at all

    @property
    def package(self) -> Optional[Package]:
        """The package that is loaded as a whole now: then dlt's steps are the server's."""
        return Package.current(self)

    def new_sql_client(self) -> Psycopg2SqlClient:
        return Psycopg2SqlClient(
            self.dataset, self.staging_dataset, self.config.credentials, self.capabilities
        )

    def __enter__(self) -> "LoaderClient":
        # thousands of jobs that wait for their package need no connections
        if not self.package:
            self.connect()
        return self

    def connect(self) -> None:
        if not self.sql_client.native_connection:
            self.sql_client.open_connection()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """For what dlt calls on a client that it has not entered; one that it has stays entered."""
        if self.sql_client.native_connection:
            yield
        else:
            with self:
                yield

    # -- storage --

    def initialize_storage(self, truncate_tables: Iterable[str] = None) -> None:
        if not self.package:
            self._storage(
                "loader_initialize_storage", truncate_tables=list(truncate_tables or []) or None
            )

    def is_storage_initialized(self) -> bool:
        return bool(self._storage("loader_is_storage_initialized")[0][0])

    def drop_storage(self) -> None:
        self.server.call(
            "loader_drop_storage",
            dataset=self.dataset,
            staging_dataset_name_layout=self.staging_layout,
        )

    def drop_tables(self, *tables: str, delete_schema: bool = True) -> None:
        if not self.package:
            self._storage(
                "loader_drop_tables",
                tables=list(tables),
                schema_name=self.schema.name,
                delete_schema=delete_schema,
            )

    def update_stored_schema(
        self,
        only_tables: Iterable[str] = None,
        expected_update: TSchemaTables = None,
        force: bool = False,
    ) -> Optional[TSchemaTables]:
        # only the check that the schema is as it was stored
        JobClientBase.update_stored_schema(self, only_tables, expected_update)
        update: Optional[TSchemaTables] = self._storage(
            "loader_update_stored_schema",
            schema=json.dumps(self.schema.to_dict()),
            only_tables=list(only_tables or []) or None,
            force=force,
            dry_run=self.package is not None,
            create_indexes=self.config.create_indexes,
            replace_strategy=self.config.replace_strategy,
        )[0][0]
        return update

    def get_storage_tables(
        self, table_names: Iterable[str]
    ) -> Iterable[Tuple[str, TTableSchemaColumns]]:
        names = {self.capabilities.casefold_identifier(name): name for name in table_names}
        tables: Dict[str, TTableSchemaColumns] = {name: {} for name in names.values()}
        rows = self._storage("loader_get_storage_tables", tables=list(names)) if names else []
        for table, column, data_type, nullable, precision, scale in rows:
            if column is not None:
                found: TColumnSchema = {"name": column, "nullable": nullable}
                found.update(self._from_db_type(data_type, precision, scale))  # type: ignore
                tables[names[table]][column] = found
        return tables.items()

    # -- what dlt has stored; None if there is nothing, though dlt does not declare that --

    def get_stored_schema(self, schema_name: str = None) -> StorageSchemaInfo:
        return _schema_info(  # type: ignore[no-any-return]
            self._storage("loader_get_stored_schema", schema_name=schema_name)
        )

    def get_stored_schema_by_hash(self, version_hash: str) -> StorageSchemaInfo:
        return _schema_info(  # type: ignore[no-any-return]
            self._storage("loader_get_stored_schema_by_hash", version_hash=version_hash)
        )

    def get_stored_state(self, pipeline_name: str) -> StateInfo:
        try:
            rows = self.server.call(
                "loader_get_stored_state", dataset=self.dataset, pipeline_name=pipeline_name
            )
        except DatabaseUndefinedRelation:
            if state_is_on_its_way(None):
                return None  # type: ignore[return-value]  # else dlt starts the pipeline anew
            raise
        if not rows:
            return None  # type: ignore[return-value]
        state_is_on_its_way(rows[0][5])
        version, engine_version, name, state, created_at, load_id = rows[0]
        return StateInfo(
            version, engine_version, name, state, created_at.astimezone(timezone.utc),
            _dlt_load_id=load_id,
        )

    # -- loading --

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        if self.package:
            return False
        # dlt does not know of this strategy; what differs is found out from the staging dataset
        table: Any = self.prepare_load_table(table_name)
        return table.get("x-replace-strategy") == "diff" or (
            super().should_load_data_to_staging_dataset(table_name)
        )

    def should_truncate_table_before_load_on_staging_destination(self, table_name: str) -> bool:
        return self.config.truncate_tables_on_staging_destination_before_load

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if package := self.package:
            return PackageJob(file_path, package)
        if SqlLoadJob.is_sql_job(file_path):
            return FollowupJob(file_path)
        if ModelLoadJob.is_model_job(file_path):
            return ModelJob(file_path)
        if ReferenceFollowupJobRequest.is_reference_job(file_path):
            return ReferenceJob(file_path)
        return FileJob(file_path, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Optional[Sequence[LoadJobInfo]] = None,
    ) -> List[FollowupJobRequest]:
        if table_chain[0]["write_disposition"] == "append":
            return []
        load_id, state = self._current_load()
        with self._connected():
            rows = self.server.call(
                "loader_create_table_chain_completed_followup_jobs",
                dataset=self.dataset,
                schema=json.dumps(self.schema.to_dict()),
                load_id=load_id,
                root_table=table_chain[0]["name"],
                replace_strategy=self.config.replace_strategy,
                staging_dataset_name_layout=self.staging_layout,
                state=state,
            )
        return [FollowupRequest(name, content) for _, _, name, content in rows]

    def _current_load(self) -> Tuple[str, Optional[str]]:
        """The load_id, and the state of its package. Who drives a client by hand has no package;
        then it is the load of the file that came last."""
        try:
            package = load_package_state()
        except CurrentLoadPackageStateNotAvailable:
            if self.last_load_id is None:
                raise
            return self.last_load_id, None
        return package["load_id"], json_encode_state(package["state"])

    def start_file_load(self, load_id: str, file_name: str, **what: str) -> None:
        self.last_load_id = load_id
        self.server.call_procedure(
            "loader_start_file_load",
            dataset=self.dataset,
            schema=json.dumps(self.schema.to_dict()),
            load_id=load_id,
            file_name=file_name,
            staging=self.in_staging_dataset_mode,
            csv_format=self._csv_format(),
            replace_strategy=self.config.replace_strategy,
            staging_dataset_name_layout=self.staging_layout,
            destination_name=self.destination_name,
            **what,
        )

    def is_file_loaded(self, load_id: str, file_name: str) -> bool:
        rows = self.server.query(
            SQL("SELECT state FROM {}(%s, %s, %s, %s)").format(
                Identifier(self.server.schema, "loader_restore_file_load")
            ),
            self.dataset,
            self.schema.name,
            load_id,
            file_name,
        )
        return rows == [("completed",)]

    def upload_id(self, packages: str, load_id: str, content: Iterable[str]) -> str:
        """The same whenever the same content is uploaded, so that what was sent is found again.
        Begins the same for all from this directory of packages that go into the dataset."""
        place = [os.path.abspath(packages), self.dataset]
        return f"dlt-{_digest(place)}-{_digest(content)}-{load_id}"[:64]

    def complete_load(self, load_id: str) -> None:
        if package := self.package:
            package.finish(self)
        else:
            self.server.call(
                "loader_complete_load",
                dataset=self.dataset,
                schema=json.dumps(self.schema.to_dict()),
                load_id=load_id,
                destination_name=self.destination_name,
            )

    def load_options(self) -> Dict[str, Any]:
        """What is configuration for dlt, and so not in a package."""
        return {
            "replace_strategy": self.config.replace_strategy,
            "default_schema_name": self.config.default_schema_name,
            "staging_dataset_name_layout": self.staging_layout,
            "create_indexes": self.config.create_indexes,
            "csv_format": self._csv_format(),
            "truncate_staging_dataset": dlt.config.get("load.truncate_staging_dataset", bool),
            "destination_name": self.destination_name,
        }

    def _csv_format(self) -> Optional[str]:
        if not (csv_format := self.config.csv_format):
            return None
        keys = ("delimiter", "include_header", "encoding")
        return json.dumps({key: getattr(csv_format, key) for key in keys})

    def _storage(self, function: str, **arguments: Any) -> List[Tuple[Any, ...]]:
        """Call a function on the dataset, or on its staging dataset where dlt is at that."""
        self.connect()
        return self.server.call(
            function,
            dataset=self.dataset,
            staging=self.in_staging_dataset_mode,
            staging_dataset_name_layout=self.staging_layout,
            **arguments,
        )


def _check_staging(config: LoaderClientConfiguration) -> None:
    """Say it before anything is written there."""
    bucket = config.staging_config.bucket_url if config.staging_config else None
    scheme = urlparse(bucket).scheme if bucket else ""
    if scheme not in ("", "file"):
        raise ConfigurationValueError(
            f"Staging area {bucket}: the server reads files of its own machine only, so bucket_url"
            " must begin with file://"
        )


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def _schema_info(rows: Sequence[Tuple[Any, ...]]) -> Any:
    if not rows:
        return None
    version_hash, name, version, engine_version, inserted_at, schema = rows[0]
    try:  # dlt compresses a schema that is larger than a text may be
        schema = zlib.decompress(base64.b64decode(schema, validate=True)).decode()
    except ValueError:
        pass
    return StorageSchemaInfo(
        version_hash, name, version, engine_version, inserted_at.astimezone(timezone.utc), schema
    )
