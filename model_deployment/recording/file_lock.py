"""A lock on a file that ends with the process that holds it, see flock(2)."""

import contextlib
import fcntl
import os
from collections.abc import Iterator


@contextlib.contextmanager
def try_lock(descriptor: int) -> Iterator[bool]:
    """Whether the lock on an open file could be had; it is held, and the file open, meanwhile."""
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
