"""Sends files to the server's spool. What is there already is not sent again."""

import hashlib
from binascii import b2a_base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import BinaryIO, Callable, Iterator, Mapping, Optional

from psycopg2.sql import SQL

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
    offset, spooled = 0, 0
    if len(chunk) == CHUNK:
        spooled = server.value(
            "loader_upload", upload_id=upload_id, file=name, offset=0, data=SQL("NULL")
        )
    while True:
        hash_.update(chunk)
        end = offset + len(chunk)
        following = file.read(CHUNK)
        last = not following
        if last or end > spooled:
            server.value(
                "loader_upload",
                upload_id=upload_id,
                file=name,
                offset=offset,
                data=_bytea(chunk),
                size=end if last else None,
                sha256=_bytea(hash_.digest()) if last else None,
            )
        if progress:
            progress(len(chunk))
        if last:
            return
        chunk, offset = following, end


def upload_files(
    connect: Callable[[], Psycopg2SqlClient],
    connections: int,
    upload_id: str,
    files: Mapping[str, TOpen],
    progress: TProgress,
) -> None:
    """Send all files over several connections. The first error is raised."""
    queue: "SimpleQueue[str]" = SimpleQueue()
    for name in files:
        queue.put(name)

    def work() -> None:
        with _connected(connect()) as sql_client:
            server = Server(sql_client)
            while not queue.empty():
                try:
                    name = queue.get_nowait()
                except Exception:
                    return
                with files[name]() as file:
                    upload_file(server, upload_id, name, file, progress)

    with ThreadPoolExecutor(max(1, min(connections, len(files)))) as pool:
        for future in [pool.submit(work) for _ in range(pool._max_workers)]:
            future.result()


@contextmanager
def _connected(sql_client: Psycopg2SqlClient) -> Iterator[Psycopg2SqlClient]:
    sql_client.open_connection()
    try:
        yield sql_client
    finally:
        sql_client.close_connection()


def _bytea(data: bytes) -> SQL:
    """A literal of these bytes. psycopg2 sends no binary parameters, and base64 is half as long
    as its hexadecimal form and takes the server half the time to read."""
    return SQL(f"decode('{b2a_base64(data, newline=False).decode()}', 'base64')")
