"""What model processes take of the machine's memory.

A launch is several processes, and one look at ``/proc`` serves all launches: with fifty of them, a look for
each would read every process of the machine fifty times.
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

#: Seconds that figures are good for, and those between looks for a launch that was not seen before.
_FRESH, _NEW = 3.0, 0.5

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Limit, use, and the part of it that is cached files, in the two versions of control groups.
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")
_V2 = ("memory.max", "memory.current", b"inactive_file")
#: Lines of ``/proc/<pid>/smaps_rollup``, see proc_pid_smaps(5).
_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)
_PRIVATE = re.compile(rb"^Private_\w+:\s+(\d+) kB$", re.MULTILINE)


def measure(instance: str, handles: Iterable[Handle], *, forks: bool = True) -> dict[str, Memory]:
    """The memory of launches by their ids, in bytes. Those with no process left are not in it.

    Args:
        forks: launches may be forked here, so that it is worth a look which ones are.

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
        launch_id: [one for one in map(_memory, processes) if one is not None]
        for launch_id, processes in identity.members_of(instance, groups).items()
    }
    return {
        launch_id: _sum(parts, _forked(groups[launch_id]) if forks else None)
        for launch_id, parts in found.items()
        if parts
    }


def _forked(leader: int) -> bool:
    return identity.environment_variable(leader, identity.METHOD) == identity.FORK


def _memory(process: identity.Process) -> Memory | None:
    """Of one process; None if it is gone."""
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
        _whole(part.pss for part in parts),
        _whole(part.uss for part in parts),
        forked,
    )


def _whole(parts: Iterable[int | None]) -> int | None:
    """Their sum, if all are known."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that new processes may take, of the machine and of the control groups we are in."""
    return max(0, min([psutil.virtual_memory().available, *_room(root)]))


def _room(root: Path) -> Iterator[int]:
    """What is left of each limit, see cgroups(7). Cached files are given up before it is reached."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _room_in(root / "sys/fs/cgroup", path, _V2)
            elif "memory" in controllers.split(","):
                yield from _room_in(root / "sys/fs/cgroup/memory", path, _V1)


def _room_in(top: Path, path: str, names: tuple[str, str, bytes]) -> Iterator[int]:
    # In a container the path may be that of the host, and is not there.
    folder = top if ".." in path else top / path.lstrip("/")
    for group in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):  # "max", or no limit at all here
            limit, used = (int((group / name).read_text()) for name in names[:2])
            stat = dict(line.split() for line in (group / "memory.stat").read_bytes().splitlines())
            yield limit - max(0, used - int(stat.get(names[2], 0)))
        if group == top:
            return


class MemoryGauge:
    """Reads in a thread, and remembers for some seconds: whoever asks often pays nothing."""

    def __init__(self, instance: str) -> None:
        """Of the launches of one instance."""
        self._instance = instance
        self._seen: dict[str, Memory] = {}
        self._at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        #: Launches that were looked at by themselves: when, and what was seen.
        self._single: dict[str, tuple[float, Memory | None]] = {}
        self._turn = asyncio.Lock()

    async def all(self, handles: Iterable[Handle], patience: float) -> dict[str, Memory]:
        """Of these launches; where a look takes longer than ``patience`` seconds, as seen before."""
        wanted = {handle.launch_id: handle for handle in handles}
        fresh = self._fresh if wanted.keys() <= self._seen.keys() else self._age < _NEW
        if not fresh and self._looking is None:
            self._looking = asyncio.create_task(self._look(list(wanted.values())))
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=patience)
        return {name: memory for name, memory in self._seen.items() if name in wanted}

    async def one(self, handle: Handle) -> Memory | None:
        """Of one launch; None if it is gone, or cannot be seen."""
        # One look at a time, whoever asks: each reads of every process of the machine.
        async with self._turn:
            measured, memory = self._single.get(handle.launch_id, (float("-inf"), None))
            if self._fresh and handle.launch_id in self._seen:
                return self._seen[handle.launch_id]
            if time.monotonic() - measured < _FRESH:
                return memory
            memory = await self._measure(handle)
            self._single = {
                name: seen
                for name, seen in self._single.items()
                if time.monotonic() - seen[0] < _FRESH
            }
            self._single[handle.launch_id] = (time.monotonic(), memory)
            return memory

    async def _measure(self, handle: Handle) -> Memory | None:
        try:
            found = await asyncio.to_thread(measure, self._instance, [handle])
        except OSError:
            return None
        return found.get(handle.launch_id)

    async def close(self) -> None:
        """Wait for a look that is under way."""
        if self._looking is not None:
            await asyncio.wait({self._looking})

    @property
    def _age(self) -> float:
        return time.monotonic() - self._at

    @property
    def _fresh(self) -> bool:
        return self._age < _FRESH

    async def _look(self, handles: list[Handle]) -> None:
        try:
            self._seen = await asyncio.to_thread(measure, self._instance, handles)
        except OSError:
            self._seen = {}
        finally:
            self._at = time.monotonic()
            self._looking = None
