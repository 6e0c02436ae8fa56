"""The log of the service, of Prefect's server and of runs: one file, which does not grow for ever."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

#: Bytes above which the file is put aside; one such file is kept.
_MOST = 20 * 2**20
_log = logging.getLogger(__name__)
_FORM = "%(asctime)s %(levelname)s %(message)s"


def keep_short(path: Path) -> None:
    """Put the text aside if it has become long. Whoever has opened the file goes on appending to it.

    The file is cut in any case: where the disk has no room for a copy, the text is lost.
    """
    with contextlib.suppress(OSError):  # no such file, say
        if path.stat().st_size > _MOST:
            lost = _put_aside(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
            if lost is not None:
                _log.warning("the text of %s before this is lost: cannot copy it: %s", path, lost)


def _put_aside(path: Path, aside: Path) -> OSError | None:
    """Copy the text for the owner's eyes only; returns why that is not possible."""
    try:
        aside.unlink(missing_ok=True)  # first: on a full disk the copy needs its room
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as copy, path.open("rb") as text:
            shutil.copyfileobj(text, copy)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)  # half a copy takes room that the disk has not
        return error
    return None


@contextlib.contextmanager
def write_log(path: Path) -> Iterator[None]:
    """Log to the file, and to stderr. Other processes append to the same file."""
    path.touch(mode=0o600)
    keep_short(path)
    handlers: list[logging.Handler] = [logging.FileHandler(path)]
    if not os.path.samestat(path.stat(), os.fstat(sys.stderr.fileno())):
        handlers.append(logging.StreamHandler(sys.stderr))
    root = logging.getLogger()
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORM))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        yield
    except Exception:
        _log.exception("the service ends")
        raise
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
