"""Children of this process: those that came, and those that ended and that nobody waited for."""

import contextlib
import os
from functools import partial

import psutil

from tests.support.waiting import until_sync


def children() -> set[psutil.Process]:
    """Of this process."""
    return set(psutil.Process().children())


def collect(before: set[psutil.Process]) -> None:
    """Wait for the end of children that came since.

    A runtime that was closed does not collect its children any more, and nobody else would.
    """
    for child in children() - before:
        with contextlib.suppress(ChildProcessError):
            until_sync(partial(_ended, child.pid), timeout=30, what="the end of a child")


def collect_late() -> None:
    """Collect children of this process that ended after their test, and are nobody's any more.

    A runtime that is closed while it starts a warm parent knows nothing of it.
    """
    for child in children():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and os.getsid(child.pid) == child.pid:
                os.waitpid(child.pid, os.WNOHANG)


def zombies() -> list[str]:
    """Launches among the descendants of this process that ended and that nobody waited for.

    A zombie has no environment to look for a marker in. But a launch leads a session of its own,
    and a zombie still shows that.
    """
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if child.status() == psutil.STATUS_ZOMBIE and os.getsid(child.pid) == child.pid:
                parent = psutil.Process(child.ppid())
                found.append(f"{child.pid} of {parent.pid} ({' '.join(parent.cmdline())[:120]})")
    return found


def _ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid
