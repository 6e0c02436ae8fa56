"""Symbolic links that lead back to themselves."""

import errno
from pathlib import Path


def is_circle(path: Path) -> bool:
    """Whether links on a path lead back to themselves. Since Python 3.13, ``resolve`` accepts that."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
