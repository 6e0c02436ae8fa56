"""Whether processes that are forked now may all use what this process has loaded.

A fork has one thread, and shares open files, sockets and connections with its siblings. So a model that
started a thread or a program, or opened something while it was loaded, is loaded by each worker itself; and
a library that does so when it is imported is imported by each model. A
source of random numbers that the model has made would yield the same numbers in each worker.

Files that are mapped into memory (``numpy.load(..., mmap_mode="r")``, joblib, safetensors) may stay open:
all workers use the same pages of the system's cache.
"""

from __future__ import annotations

import contextlib
import gc
import os
import stat
import sys
from typing import Any

#: Descriptors of these may be shared: nothing is consumed that another one waits for.
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
#: Modules and classes of sources of random numbers.
_SOURCES = (
    ("random", "Random"),
    ("numpy.random", "Generator"),
    ("numpy.random", "RandomState"),
    ("numpy.random", "BitGenerator"),
)


class Opened:
    """What a process has open, before it imports or loads something that may open more."""

    def __init__(self) -> None:
        self._descriptors = _descriptors()
        self._children = _children()

    def obstacle(self) -> str:
        """Why forks may not share what was opened since, in words that follow "it"; empty if they may."""
        if _children() - self._children:
            return "started another program"
        mapped = _mapped_files()
        for number, found in self._new().items():
            if not _may_be_shared(number, *found, mapped):
                return f"keeps {found[1][:100]} open"
        return ""

    def numbers(self) -> list[int]:
        """The descriptors that were opened since."""
        return [*self._new()]

    def _new(self) -> dict[int, tuple[int, str, tuple[int, int]]]:
        return {
            number: found
            for number, found in _descriptors().items()
            if self._descriptors.get(number) != found
        }


class Before:
    """What a process has before it loads a model."""

    def __init__(self) -> None:
        self._opened = Opened()
        #: The objects themselves: another one could get the address of one that is gone.
        self._sources = _random_sources()

    def obstacle(self) -> str:
        """Why forks may not share what was loaded since, in words that follow "it"; empty if they may."""
        threads = os.listdir("/proc/self/task")  # noqa: PTH208
        if len(threads) > 1:
            return f"has {len(threads)} threads once it is loaded"
        if why := self._opened.obstacle():
            return why
        known = {id(one) for one in self._sources}
        if any(id(one) not in known for one in _random_sources()):
            return "has random numbers of its own"
        return ""


def _descriptors() -> dict[int, tuple[int, str, tuple[int, int]]]:
    """By number: the kind of file, its name, and which file it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - one is that of the folder itself
        with contextlib.suppress(OSError):
            state = os.fstat(int(name))
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            found[int(name)] = (stat.S_IFMT(state.st_mode), target, (state.st_dev, state.st_ino))
    return found


def _may_be_shared(
    number: int, kind: int, target: str, inode: tuple[int, int], mapped: set[tuple[int, int]]
) -> bool:
    if kind == stat.S_IFCHR:
        return target in _HARMLESS
    if kind != stat.S_IFREG or inode not in mapped:
        return False  # two readers of one descriptor would move each other's position
    import fcntl

    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY


def _mapped_files() -> set[tuple[int, int]]:
    """Device and inode of the files that are mapped into memory, see proc_pid_maps(5)."""
    found = set()
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
        for line in lines:
            _, _, _, device, inode, *_ = line.split(maxsplit=5)
            major, minor = (int(part, 16) for part in device.split(":"))
            found.add((os.makedev(major, minor), int(inode)))
    return found


def _children() -> set[str]:
    try:
        with open("/proc/thread-self/children", encoding="ascii") as file:  # noqa: PTH123
            return {*file.read().split()}
    except OSError:  # not every kernel shows it
        return set()


def _random_sources() -> list[Any]:
    kinds = [
        kind
        for module, name in _SOURCES
        if isinstance(kind := getattr(sys.modules.get(module), name, None), type)
    ]
    # type() and not isinstance(): an object may say that it is of any class, and load something for it.
    return [one for one in gc.get_objects() if issubclass(type(one), tuple(kinds))]
