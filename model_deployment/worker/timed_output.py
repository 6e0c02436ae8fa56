"""Writes a time in front of each line of the standard streams, within the process that writes them.

A pipe to another process would break with that process, or block. So the file stays the standard output:
what was written is in the file, whatever ends the process. What C code writes has no time of its own.

This module runs in the environments of models too: it needs the standard library of Python 3.8 only.
"""

import errno
import io
import os
import sys
import time
from typing import Any

#: Names the log in the environment of processes that are not forks; see ``startup/sitecustomize.py``.
LOG = "MODEL_DEPLOYMENT_LOG"
#: A full disk costs lines of the log. It must not cost a prediction that prints.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Descriptors of the standard streams.
_STREAMS = (("stdout", 1), ("stderr", 2))


def stamp(now: float) -> str:
    """A time as it begins a line: ISO 8601 in UTC, with milliseconds. ``now``: seconds since 1970."""
    milliseconds = int(now * 1000)
    seconds = time.gmtime(milliseconds // 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{milliseconds % 1000:03d}Z "


class TimedFile(io.FileIO):
    """A descriptor to which lines are written with their time."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._begun = False

    def write(self, data: Any) -> int:
        content = bytes(data)
        if not content:
            return 0
        prefix = stamp(time.time()).encode()
        body = content[:-1].replace(b"\n", b"\n" + prefix) + content[-1:]
        text = body if self._begun else prefix + body
        self._begun = content[-1:] != b"\n"
        try:
            while text:
                text = text[super().write(text) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
        return len(content)


def install() -> None:
    """Have what Python writes to the standard streams begin each line with its time."""
    for name, descriptor in _STREAMS:
        before = getattr(sys, name)
        if before is not None:
            before.flush()
        # Without a buffer between them, as with ``python -u``: a process that is killed loses no line.
        stream = io.TextIOWrapper(
            TimedFile(descriptor),
            encoding=getattr(before, "encoding", None) or "utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        stream.mode = "w"  # type: ignore[misc] # as Python's own
        setattr(sys, name, stream)
        setattr(sys, "__" + name + "__", stream)


def install_if_logging() -> None:
    """Do it where the standard output is the log of a launch: not in a program whose output is read."""
    path = os.environ.get(LOG)
    if path and all(_is(descriptor, path) for _, descriptor in _STREAMS):
        install()


def _is(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except OSError:
        return False
