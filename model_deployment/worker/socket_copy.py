"""Copies a listening socket from a process that has it: pidfd_getfd(2).

A model's process outlives its parent, and has the model's socket then. The next parent copies the socket,
so that it holds the port again. Where the system does not allow that, only the process has the port.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterable
from pathlib import Path

#: The number of the system call is the same on all architectures.
_PIDFD_GETFD = 438


def listener(pids: Iterable[int], address: tuple[str, int]) -> socket.socket | None:
    """A copy of the socket with which one of these processes listens on an address."""
    for pid in pids:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
            try:
                found = _among(pid, descriptor, address)
            finally:
                os.close(descriptor)
            if found is not None:
                return found
    return None


def _among(pid: int, process: int, address: tuple[str, int]) -> socket.socket | None:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if not str(Path(folder, name).readlink()).startswith("socket:"):
                continue
            copy = socket.socket(fileno=_copy(process, int(name)))
            with contextlib.suppress(OSError):
                listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and copy.getsockname() == address:
                    return copy
            copy.close()
    return None


def _copy(process: int, number: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    copied: int = libc.syscall(_PIDFD_GETFD, process, number, 0)
    if copied < 0:
        raise OSError(ctypes.get_errno(), "cannot copy a descriptor")
    os.set_inheritable(copied, False)
    return copied
