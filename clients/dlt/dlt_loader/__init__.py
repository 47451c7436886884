"""A dlt destination whose load step runs inside PostgreSQL, by the extension `loader`."""

from dlt_loader.destinations import LoaderClientConfiguration, loader
from dlt_loader.hand_over import hand_over

loader_postgres = loader

__all__ = ["LoaderClientConfiguration", "hand_over", "loader", "loader_postgres"]
