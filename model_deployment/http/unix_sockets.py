"""Unix sockets in a folder whose path may be longer than their addresses have room for."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

#: Seconds between two attempts to connect where too many wait for the server already.
_ATTEMPT = 0.01


def bind_in(folder: Path, name: str) -> socket.socket:
    """A Unix socket that listens in a folder, in the place of one that was left there.

    Raises:
        OSError: it cannot be made.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with open_folder(folder) as path:
            draft = f"{path}/.{name}"
            Path(draft).unlink(missing_ok=True)
            bound.bind(draft)
            bound.listen(512)
            # Never for a moment without one that listens.
            Path(draft).rename(f"{path}/{name}")
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


async def connected(path: Path) -> socket.socket:
    """A connection, made as :func:`connect` does.

    Raises:
        OSError: nothing listens there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        await connect(made, path)
    except BaseException:
        made.close()
        raise
    return made


async def connect(connection: socket.socket, path: Path) -> None:
    """Connect a socket, once the server's queue of connections has room for it.

    TCP waits by itself. The kernel refuses a Unix socket that would have to wait.

    Raises:
        OSError: nothing listens there, or there is no descriptor for its folder.
    """
    while True:
        with contextlib.suppress(BlockingIOError), open_folder(path.parent) as folder:
            connection.connect(f"{folder}/{path.name}")
            return
        await asyncio.sleep(_ATTEMPT)


@contextlib.contextmanager
def open_folder(folder: Path) -> Iterator[str]:
    """A short name of a folder: the address of a Unix socket has room for 108 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
