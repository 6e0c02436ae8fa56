"""Spools for tests: what is in them, and a disk that is full."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model_deployment.recording.spool import Record, Spool, extents, hold_ended, read, segments

MEBIBYTE = 1024 * 1024
#: Bytes in front of each record.
FRAME = 8

#: Opens one more spool in the folder of the test: ``max_bytes``, and further limits by name.
OpenSpool = Callable[..., Spool]


def everything(root: Path) -> list[Record]:
    return [record for segment in segments(root) for record in read(segment, 0)]


def payloads(root: Path) -> list[bytes]:
    return [record.payload for record in everything(root)]


def remember(spool: Spool) -> None:
    """Measure the folder, and count from there."""
    spool.remember(spool.ended_segments(), extents(spool.root))


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A write beyond ends short, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def is_ended(segment: Path) -> bool:
    with hold_ended(segment) as ended:
        return ended
