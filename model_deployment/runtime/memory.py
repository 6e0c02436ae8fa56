"""The memory that is free, and the memory of launches as it was measured last."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from model_deployment.core.domain import Handle
from model_deployment.core.measures import MachineMemory, Memory

#: Seconds for which figures are returned without measuring again, and for which they are kept at all.
_FRESH, _KEPT = 3.0, 30.0
#: Seconds between measurements for launches that were not measured before.
_NEW = 0.5

#: Files with the limit and the use, and the name of the use by cached files, in both versions of cgroups.
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")
_V2 = ("memory.max", "memory.current", b"inactive_file")


def machine_memory(root: Path = Path("/")) -> MachineMemory:
    """Memory of the machine, as far as the control groups of the controller let it be used."""
    machine, limits = psutil.virtual_memory(), [*_cgroup_limits(root)]
    return MachineMemory(
        total=min([machine.total, *(limit for limit, _ in limits)]),
        available=max(0, min([machine.available, *(left for _, left in limits)])),
    )


def _cgroup_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Each limit and what is left of it, see cgroups(7). The kernel drops cached files before that."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _limits_in(root / "sys/fs/cgroup", path, _V2)
            elif "memory" in controllers.split(","):
                yield from _limits_in(root / "sys/fs/cgroup/memory", path, _V1)


def _limits_in(top: Path, path: str, names: tuple[str, str, bytes]) -> Iterator[tuple[int, int]]:
    # In a container the path may be that of the host, and not exist.
    folder = top if ".." in path else top / path.lstrip("/")
    for group in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):  # "max", or no limit at all here
            limit, used = (int((group / name).read_text()) for name in names[:2])
            stat = dict(line.split() for line in (group / "memory.stat").read_bytes().splitlines())
            yield limit, limit - max(0, used - int(stat.get(names[2], 0)))
        if group == top:
            return


class MemoryGauge:
    """Remembers the figures for some seconds: frequent callers cost nothing."""

    def __init__(
        self, measure: Callable[[Sequence[Handle]], Awaitable[Mapping[str, Memory]]]
    ) -> None:
        """
        Args:
            measure: the memory of launches by their ids, measured now: :meth:`Runtime.memory`.
        """
        self._measure_now = measure
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

    async def fresh(self, handles: Sequence[Handle]) -> dict[str, Memory]:
        """The memory of launches by their ids, without those that are gone or cannot be seen."""
        # One measurement at a time: each reads of every process of the machine.
        while self._measuring is not None:
            await asyncio.wait({self._measuring})
        now, never = time.monotonic(), (float("-inf"), None)
        old = [h for h in handles if now - self._measured.get(h.launch_id, never)[0] >= _FRESH]
        if old:
            self._measuring = asyncio.create_task(self._measure(old))
        return await self.all(handles, None)

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
        found: Mapping[str, Memory]
        try:
            found = await self._measure_now(handles)
        except OSError:
            found = {}
        self._at, self._measuring = time.monotonic(), None
        kept = {name: seen for name, seen in self._measured.items() if self._at - seen[0] < _KEPT}
        new = {one.launch_id: (self._at, found.get(one.launch_id)) for one in handles}
        self._measured = {**kept, **new}
