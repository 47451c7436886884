"""Sends files to the server's spool. What is there already is not sent again."""

import hashlib
import io
import tarfile
from binascii import b2a_base64
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import BinaryIO, Callable, Mapping, Optional

from psycopg2.sql import SQL, Identifier, Literal

from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

from dlt_loader.server import Server

CHUNK = 1024 * 1024
"""Bytes in one call: larger ones are slower, their copies fall out of the processor's cache"""

TOpen = Callable[[], BinaryIO]
TProgress = Callable[[int], None]


def upload_file(
    server: Server, upload_id: str, name: str, file: BinaryIO, progress: Optional[TProgress] = None
) -> None:
    """Send one file from where an earlier upload stopped; the server checks size and hash."""
    hash_ = hashlib.sha256()
    chunk = file.read(CHUNK)
    offset = spooled = 0
    if len(chunk) == CHUNK:
        spooled = server.value(
            "loader_upload", upload_id=upload_id, file=name, offset=0, data=SQL("NULL")
        )
    while True:
        hash_.update(chunk)
        end = offset + len(chunk)
        following = file.read(CHUNK)
        if not following:
            _send(server, upload_id, name, offset, chunk, end, hash_.hexdigest())
        elif end > spooled:
            _send(server, upload_id, name, offset, chunk)
        if progress:
            progress(len(chunk))
        if not following:
            return
        chunk, offset = following, end


def _send(
    server: Server,
    upload_id: str,
    name: str,
    offset: int,
    chunk: bytes,
    size: Optional[int] = None,
    sha256: Optional[str] = None,
) -> None:
    """psycopg2 sends no binary parameters. Base64 is shorter than its hexadecimal form, and takes
    the server half the time to read; bytes are put together faster than what psycopg2 composes."""
    statement = SQL("SELECT {}({}, {}, {}, decode('|', 'base64'), {}, decode({}, 'hex'))").format(
        Identifier(server.schema, "loader_upload"),
        *map(Literal, (upload_id, name, offset, size, sha256)),
    )
    text = statement.as_string(server.sql_client.native_connection)
    before, _, after = text.rpartition("|")
    server.query(before.encode() + b2a_base64(chunk, newline=False) + after.encode())


def upload_files(
    server: Server,
    connect: Callable[[], Psycopg2SqlClient],
    helpers: int,
    upload_id: str,
    files: Mapping[str, TOpen],
    progress: TProgress,
) -> None:
    """Send all files, also over the connections of some helpers. The first error is raised."""
    queue = deque(files)

    def work(server: Server) -> None:
        try:
            while queue:
                name = queue.popleft()
                with files[name]() as file:
                    upload_file(server, upload_id, name, file, progress)
        except IndexError:
            pass  # somebody else took the last one
        except BaseException:
            queue.clear()  # the others need not go on
            raise

    def help() -> None:
        with closing(_Connection(connect())) as connection:
            work(connection.server)

    with ThreadPoolExecutor(max(1, helpers)) as pool:
        futures = [pool.submit(help) for _ in range(helpers)]
        work(server)
        for future in futures:
            future.result()


def tar(files: Mapping[str, TOpen]) -> bytes:
    """An archive of these files, the same whenever they are."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as out:
        for name in sorted(files):
            with files[name]() as file:
                data = file.read()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return archive.getvalue()


class _Connection:
    def __init__(self, sql_client: Psycopg2SqlClient) -> None:
        sql_client.open_connection()
        self.server = Server(sql_client)

    def close(self) -> None:
        self.server.sql_client.close_connection()
