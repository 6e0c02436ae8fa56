"""Measures the memory of model processes.

A launch is several processes, and one pass over ``/proc`` serves all launches: with fifty of them, a pass
for each would read every process of the machine fifty times.

The kernel walks all pages of a process for its proportional and private memory: 4 ms for a fork. So a
process that has hardly run since, and is as large as then, is not measured again.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_deployment.core.domain import Handle
from model_deployment.core.measures import Memory, total_memory
from model_deployment.runtime import identity

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
#: Lines of ``/proc/<pid>/smaps_rollup``, see proc_pid_smaps(5).
_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)
_PRIVATE = re.compile(rb"^Private_\w+:\s+(\d+) kB$", re.MULTILINE)
#: Seconds for which a measurement holds at most, and the CPU time for which it does: a share, and seconds.
_HOLDS, _IDLE, _LITTLE = 300.0, 0.01, 0.05


@dataclass(frozen=True, slots=True)
class _Measured:
    process: identity.Process
    #: ``/proc/<pid>/statm``.
    size: bytes
    at: float
    memory: Memory

    def holds(self, process: identity.Process, size: bytes, now: float) -> bool:
        """Whether the process is what it was when it was measured."""
        age, used = now - self.at, (process.used - self.process.used) / _TICKS
        same = self.process == process and self.size == size
        return same and age < _HOLDS and used <= _LITTLE + _IDLE * age


class LaunchMemory:
    """Measures launches of one instance; may be called from several threads."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        #: By pid.
        self._known: dict[int, _Measured] = {}
        self._measuring = threading.Lock()

    def measure(self, handles: Iterable[Handle], *, forks: bool = True) -> dict[str, Memory]:
        """The memory of launches by their ids, in bytes, without launches that have no process left.

        Args:
            forks: find out which launches are forks.

        Raises:
            OSError: ``/proc`` cannot be read.
        """
        boot = identity.boot_id()
        here = {one.launch_id: one for one in handles if one.ref.get("boot") == boot}
        groups = {launch_id: int(one.ref.get("pid", -1)) for launch_id, one in here.items()}
        if not groups:
            return {}
        with self._measuring:
            found = self._measure(identity.members_of(self._instance, groups))
        return {
            launch_id: total_memory(parts, _is_fork(here[launch_id]) if forks else None)
            for launch_id, parts in found.items()
            if parts
        }

    def _measure(self, members: Mapping[str, list[identity.Process]]) -> Mapping[str, list[Memory]]:
        started = [one for found in members.values() for one in found if not self._is_known(one)]
        if started or not all(self._runs(one.process) for one in self._known.values()):
            # They share pages: with one more or less, each has another share.
            self._known.clear()
        return {
            launch_id: [one for one in map(self._memory_of, processes) if one is not None]
            for launch_id, processes in members.items()
        }

    def _is_known(self, process: identity.Process) -> bool:
        known = self._known.get(process.pid)
        return known is not None and known.process == process

    @staticmethod
    def _runs(process: identity.Process) -> bool:
        return identity.is_running(process.pid, process.started)

    def _memory_of(self, process: identity.Process) -> Memory | None:
        try:
            size = identity.read_file(process.pid, "statm")
        except (FileNotFoundError, ProcessLookupError):
            return None
        known, now = self._known.get(process.pid), time.monotonic()
        if known is not None and known.holds(process, size, now):
            return known.memory
        pss = uss = None
        with contextlib.suppress(
            OSError
        ):  # not every kernel has it, and not every process shows it
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_bytes()
            pss, uss = _kilobytes(_PSS, text), _kilobytes(_PRIVATE, text)
        memory = Memory(int(size.split()[1]) * _PAGE, pss, uss)
        if not self._runs(process):
            return None
        self._known[process.pid] = _Measured(process, size, now, memory)
        return memory


def measure(instance: str, handles: Iterable[Handle], *, forks: bool = True) -> dict[str, Memory]:
    """The memory of launches, measured once. See :meth:`LaunchMemory.measure`."""
    return LaunchMemory(instance).measure(handles, forks=forks)


def _is_fork(handle: Handle) -> bool:
    method = handle.ref.get("method")
    if method is None:
        leader = int(handle.ref.get("pid", -1))
        method = identity.environment_variable(leader, identity.METHOD)
    return bool(method == identity.FORK)


def _kilobytes(line: re.Pattern[bytes], text: bytes) -> int | None:
    """The sum of these lines, in bytes; None where there are none."""
    found = line.findall(text)
    return sum(map(int, found)) * 1024 if found else None
