"""Measures the memory of model processes, and the memory that is free.

A launch is several processes, and one pass over ``/proc`` serves all launches: with fifty of them, a pass
for each would read every process of the machine fifty times.
"""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from model_deployment.core.domain import Handle, Memory
from model_deployment.runtime import identity

#: Seconds for which figures are returned without measuring again, and for which they are kept at all.
_FRESH, _KEPT = 3.0, 30.0
#: Seconds between measurements for launches that were not measured before.
_NEW = 0.5

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Files with the limit and the use, and the name of the use by cached files, in both versions of cgroups.
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")
_V2 = ("memory.max", "memory.current", b"inactive_file")
#: Lines of ``/proc/<pid>/smaps_rollup``, see proc_pid_smaps(5).
_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)
_PRIVATE = re.compile(rb"^Private_\w+:\s+(\d+) kB$", re.MULTILINE)


def measure(instance: str, handles: Iterable[Handle], *, forks: bool = True) -> dict[str, Memory]:
    """The memory of launches by their ids, in bytes, without launches that have no process left.

    Args:
        forks: find out which launches are forks.

    Raises:
        OSError: ``/proc`` cannot be read.
    """
    boot = identity.boot_id()
    groups = {
        handle.launch_id: int(handle.ref.get("pid", -1))
        for handle in handles
        if handle.ref.get("boot") == boot
    }
    if not groups:
        return {}
    found = {
        launch_id: [one for one in map(_memory_of, processes) if one is not None]
        for launch_id, processes in identity.members_of(instance, groups).items()
    }
    return {
        launch_id: _sum(parts, _is_fork(groups[launch_id]) if forks else None)
        for launch_id, parts in found.items()
        if parts
    }


def _is_fork(leader: int) -> bool:
    return identity.environment_variable(leader, identity.METHOD) == identity.FORK


def _memory_of(process: identity.Process) -> Memory | None:
    folder = Path("/proc") / str(process.pid)
    try:
        resident = int((folder / "statm").read_text().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return None
    pss = uss = None
    with contextlib.suppress(OSError):  # not every kernel has it, and not every process shows it
        text = (folder / "smaps_rollup").read_bytes()
        pss, uss = _kilobytes(_PSS, text), _kilobytes(_PRIVATE, text)
    found = Memory(resident, pss, uss)
    return found if identity.is_running(process.pid, process.started) else None


def _kilobytes(line: re.Pattern[bytes], text: bytes) -> int | None:
    """The sum of these lines, in bytes; None where there are none."""
    found = line.findall(text)
    return sum(map(int, found)) * 1024 if found else None


def _sum(parts: list[Memory], forked: bool | None) -> Memory:
    return Memory(
        sum(part.rss for part in parts),
        _sum_if_known(part.pss for part in parts),
        _sum_if_known(part.uss for part in parts),
        forked,
    )


def _sum_if_known(parts: Iterable[int | None]) -> int | None:
    found = [*parts]
    known = [part for part in found if part is not None]
    return sum(known) if len(known) == len(found) else None


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that new processes may use, in the machine and in the control groups of the controller."""
    return max(0, min([psutil.virtual_memory().available, *_left_in_cgroups(root)]))


def _left_in_cgroups(root: Path) -> Iterator[int]:
    """What is left of each limit, see cgroups(7). The kernel drops cached files before it is reached."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _left_in(root / "sys/fs/cgroup", path, _V2)
            elif "memory" in controllers.split(","):
                yield from _left_in(root / "sys/fs/cgroup/memory", path, _V1)


def _left_in(top: Path, path: str, names: tuple[str, str, bytes]) -> Iterator[int]:
    # In a container the path may be that of the host, and not exist.
    folder = top if ".." in path else top / path.lstrip("/")
    for group in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):  # "max", or no limit at all here
            limit, used = (int((group / name).read_text()) for name in names[:2])
            stat = dict(line.split() for line in (group / "memory.stat").read_bytes().splitlines())
            yield limit - max(0, used - int(stat.get(names[2], 0)))
        if group == top:
            return


class MemoryGauge:
    """Measures in a thread, and remembers the figures for some seconds: frequent callers cost nothing."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        #: By launch: when it was measured, and its memory; None if it was gone.
        self._measured: dict[str, tuple[float, Memory | None]] = {}
        self._at = float("-inf")
        self._measuring: asyncio.Task[None] | None = None

    async def all(self, handles: Iterable[Handle], patience: float | None) -> dict[str, Memory]:
        """The memory of launches, in bytes.

        Args:
            patience: seconds to wait for a measurement; after these, older figures are returned.
        """
        wanted = {handle.launch_id: handle for handle in handles}
        if self._measuring is None and self._is_due(wanted):
            self._measuring = asyncio.create_task(self._measure([*wanted.values()]))
        if self._measuring is not None:
            await asyncio.wait({self._measuring}, timeout=patience)
        known = {launch_id: self._measured.get(launch_id, (0.0, None))[1] for launch_id in wanted}
        return {launch_id: memory for launch_id, memory in known.items() if memory is not None}

    async def one(self, handle: Handle) -> Memory | None:
        """The memory of one launch; None if it is gone, or cannot be seen."""
        # One measurement at a time: each reads of every process of the machine.
        while self._measuring is not None:
            await asyncio.wait({self._measuring})
        at, _ = self._measured.get(handle.launch_id, (float("-inf"), None))
        if time.monotonic() - at >= _FRESH:
            self._measuring = asyncio.create_task(self._measure([handle]))
        return (await self.all([handle], None)).get(handle.launch_id)

    def _is_due(self, wanted: Iterable[str]) -> bool:
        now = time.monotonic()
        if any(launch_id not in self._measured for launch_id in wanted):
            return now - self._at >= _NEW
        return any(now - self._measured[launch_id][0] >= _FRESH for launch_id in wanted)

    async def close(self) -> None:
        """Wait for a measurement that is under way."""
        if self._measuring is not None:
            await asyncio.wait({self._measuring})

    async def _measure(self, handles: list[Handle]) -> None:
        try:
            found = await asyncio.to_thread(measure, self._instance, handles)
        except OSError:
            found = {}
        self._at, self._measuring = time.monotonic(), None
        kept = {name: seen for name, seen in self._measured.items() if self._at - seen[0] < _KEPT}
        new = {one.launch_id: (self._at, found.get(one.launch_id)) for one in handles}
        self._measured = {**kept, **new}
