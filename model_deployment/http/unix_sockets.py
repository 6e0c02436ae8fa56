"""Unix sockets in a folder whose path may be longer than their addresses have room for."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


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


@contextlib.contextmanager
def open_folder(folder: Path) -> Iterator[str]:
    """A short name of a folder: the address of a Unix socket has room for 108 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
