"""The destination as dlt's users see it: its factory, configuration and capabilities.

The factory is called `loader` because dlt takes the name of a destination, and with it the name of
its configuration section (`destination.loader`), from there.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Dict, Final, Literal, Optional, Type, Union, get_args

from dlt.common.configuration import configspec
from dlt.common.configuration.exceptions import ConfigurationValueError
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.configuration import CsvFormatConfiguration
from dlt.destinations import postgres
from dlt.destinations.impl.postgres.configuration import (
    PostgresClientConfiguration,
    PostgresCredentials,
)

if TYPE_CHECKING:
    from dlt_loader.client import LoaderClient

TMode = Literal["package", "job"]
# dlt's, and `diff`, which the server has besides
TReplaceStrategy = Literal[
    "truncate-and-insert", "insert-from-staging", "staging-optimized", "diff"
]


@configspec
class LoaderClientConfiguration(PostgresClientConfiguration):
    destination_type: Final[str] = dataclasses.field(  # type: ignore[misc]
        default="dlt_loader.destinations.loader", init=False, repr=False, compare=False
    )
    replace_strategy: Optional[TReplaceStrategy] = None  # type: ignore[assignment]
    mode: TMode = "package"
    """`package`: upload the package, the server loads it in one commit. `job`: dlt's loader drives
    the server file by file"""
    upload_connections: int = 2
    """Connections over which files are uploaded at the same time"""


class loader(postgres):
    """Loads through the PostgreSQL extension `loader`; reads as dlt's postgres does."""

    spec = LoaderClientConfiguration

    def __init__(
        self,
        credentials: Union[PostgresCredentials, Dict[str, Any], str] = None,
        create_indexes: bool = True,
        csv_format: Optional[CsvFormatConfiguration] = None,
        mode: TMode = "package",
        upload_connections: int = 2,
        destination_name: str = None,
        environment: str = None,
        **kwargs: Any,
    ) -> None:
        # dlt checks what comes from its configuration, but not what is given here
        _check("mode", mode, TMode)
        _check("replace_strategy", kwargs.get("replace_strategy"), TReplaceStrategy)
        super().__init__(
            credentials=credentials,
            create_indexes=create_indexes,
            csv_format=csv_format,
            mode=mode,
            upload_connections=upload_connections,
            destination_name=destination_name,
            environment=environment,
            **kwargs,
        )

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        caps = super()._raw_capabilities()
        # the formats that the server reads; dlt's selector knows of parquet and a driver for it
        caps.supported_loader_file_formats = ["insert_values", "csv", "jsonl", "model"]
        caps.loader_file_format_selector = None  # type: ignore[assignment]
        # a filesystem staging destination whose bucket the server can read
        caps.supported_staging_file_formats = ["jsonl", "csv", "insert_values"]
        caps.preferred_staging_file_format = "jsonl"
        caps.supported_replace_strategies = [
            *(caps.supported_replace_strategies or []),
            "diff",  # type: ignore[list-item]
        ]
        return caps

    @property
    def client_class(self) -> Type["LoaderClient"]:
        from dlt_loader.client import LoaderClient

        return LoaderClient


def _check(name: str, value: Any, known: Any) -> None:
    if value is not None and value not in get_args(known):
        raise ConfigurationValueError(
            f"{name} of destination loader is {value!r}; it must be one of"
            f" {', '.join(get_args(known))}"
        )


loader.register()
