"""Calls of the extension's functions over one of dlt's connections. Owns no state."""

from typing import Any, List, NoReturn, Optional, Sequence, Tuple

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.destinations.exceptions import (
    DatabaseException,
    DatabaseTerminalException,
    DatabaseTransientException,
    DatabaseUndefinedRelation,
)
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

EXTENSION_VERSION = "1.0"
"""The version of the extension that this client is made for"""

# SQLSTATEs for which the same package may load the next time. The server has tried them several
# times by itself. dlt's own rule goes by the driver's classes, which mix them with others.
TRANSIENT = ("08", "40", "53", "55P03", "57P", "58")


class ExtensionMismatch(DestinationTerminalException):
    """The database has no extension `loader`, or one of another version than this client."""


class Server:
    """The extension as it is found in one database."""

    def __init__(self, sql_client: Psycopg2SqlClient) -> None:
        self.sql_client = sql_client
        self._schema: Optional[str] = None

    @property
    def schema(self) -> str:
        """The schema that the functions are in; asked once, and the version with it."""
        if self._schema is None:
            self._schema = self._check_extension()
        return self._schema

    def call(self, function: str, **arguments: Any) -> List[Tuple[Any, ...]]:
        """The rows of a function. Arguments that are None are left to their defaults."""
        return self._execute(SQL("SELECT * FROM "), function, arguments)

    def call_procedure(self, procedure: str, **arguments: Any) -> List[Tuple[Any, ...]]:
        return self._execute(SQL("CALL "), procedure, arguments)

    def value(self, function: str, **arguments: Any) -> Any:
        rows = self.call(function, **arguments)
        return rows[0][0] if rows else None

    def query(self, query: Any, *arguments: Any) -> List[Tuple[Any, ...]]:
        try:
            rows = self.sql_client.execute_sql(query, *arguments)
        except DatabaseUndefinedRelation:
            raise
        except DatabaseException as ex:
            raise _by_sqlstate(ex) from ex.dbapi_exception
        return [tuple(row) for row in rows or []]

    def raise_error(self, package_id: int) -> NoReturn:
        """Raise what made a package fail."""
        self.call("loader_raise", package_id=package_id)
        raise DestinationTerminalException(
            f"Package {package_id} was stopped on the server, see loader.packages."
        )

    def _execute(
        self, verb: SQL, name: str, arguments: "dict[str, Any]"
    ) -> List[Tuple[Any, ...]]:
        given: Sequence[Composed] = [
            Composed([Identifier(key), SQL(" => "), _literal(value)])
            for key, value in arguments.items()
            if value is not None
        ]
        statement = Composed(
            [verb, Identifier(self.schema, name), SQL("("), SQL(", ").join(given), SQL(")")]
        )
        return self.query(statement)

    def _check_extension(self) -> str:
        found = self.query(
            "SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension e"
            " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'loader'"
        )
        database = self.sql_client.credentials.database
        if not found:
            raise ExtensionMismatch(
                f'Database "{database}" does not have the extension loader. Run there, as a role'
                " that may: CREATE EXTENSION loader;"
            )
        schema, version = found[0]
        made_for = _major_minor(EXTENSION_VERSION)
        if _major_minor(version) < made_for:
            raise ExtensionMismatch(
                f'The extension loader in database "{database}" has version {version}, older than'
                f" this client, which is made for {EXTENSION_VERSION}. Run there:"
                f" ALTER EXTENSION loader UPDATE TO '{EXTENSION_VERSION}';"
            )
        if _major_minor(version) > made_for:
            raise ExtensionMismatch(
                f'The extension loader in database "{database}" has version {version}, newer than'
                f" this client, which is made for {EXTENSION_VERSION}. Run here:"
                f" pip install 'dlt-loader=={version}.*'"
            )
        return str(schema)


def _by_sqlstate(ex: DatabaseException) -> DatabaseException:
    """What dlt wants to know of an error: whether a retry can help."""
    error = ex.dbapi_exception
    state = getattr(error, "pgcode", None)
    if not state:
        return ex
    kind = DatabaseTransientException if state.startswith(TRANSIENT) else DatabaseTerminalException
    return kind(error)


def _literal(value: Any) -> Composable:
    return value if isinstance(value, Composable) else Literal(value)


def _major_minor(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
