"""Finds launches that something has stopped (SIGSTOP, SIGTSTP): they live, and answer nobody.

The kernel tells it of each process (state ``T`` in ``/proc/<pid>/stat``), so no request has to time out
first, and none that is slow is taken for it. A process that a debugger holds has another state (``t``).
"""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from model_deployment.runtime import identity

_log = logging.getLogger(__name__)

#: Seconds for which each look has to find a process stopped, with no time of a processor used: programs
#: that limit what a process uses (cpulimit) stop it again and again, and let it go on in between.
SUSPENDED_AFTER = 2.0
_DEPTH = 4


class SuspensionDetector:
    """What was seen of launches so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By launch and pid: since when it is stopped, and what it had used of processors by then.
        self._since: dict[str, dict[int, tuple[float, int]]] = {}

    def forget(self, launch_id: str) -> None:
        """It is gone."""
        self._since.pop(launch_id, None)

    def look(self, launch_id: str, leader: int, *, alone: bool) -> bool:
        """Whether the launch is stopped, and that for long enough.

        Of several processes that serve, those that are stopped are ended where others are not.

        Args:
            leader: its main process.
            alone: that one serves by itself, whatever else it has started.
        """
        servers = _servers(leader, alone)
        still = self._still(launch_id, servers)
        if not still:
            return False
        if len(still) == len(servers):
            return True
        for process in still:
            _log.warning("ending process %s of launch %s: it is stopped", process.pid, launch_id)
            identity.send_signal(process, signal.SIGKILL)
        return False

    def _still(
        self, launch_id: str, servers: Sequence[identity.Process]
    ) -> Sequence[identity.Process]:
        """Those that were stopped at each look for a while."""
        now, known = self._clock(), self._since.get(launch_id, {})
        stopped = {process.pid: process.used for process in servers if process.stopped}
        seen = {
            pid: known[pid] if pid in known and known[pid][1] == used else (now, used)
            for pid, used in stopped.items()
        }
        if seen:
            self._since[launch_id] = seen
        else:
            self._since.pop(launch_id, None)
        return [
            one for one in servers if one.pid in seen and now - seen[one.pid][0] >= SUSPENDED_AFTER
        ]


def _servers(leader: int, alone: bool) -> Sequence[identity.Process]:
    """The processes that serve: those at the end of the line that the main process begins."""
    found = identity.read_process(leader)
    if found is None or found.zombie:
        return []
    return [found] if alone else _last(found, _DEPTH)


def _last(process: identity.Process, depth: int) -> list[identity.Process]:
    children = [identity.read_process(pid) for pid in _children(process.pid)] if depth else []
    living = [child for child in children if child is not None and not child.zombie]
    return [one for child in living for one in _last(child, depth - 1)] or [process]


def _children(pid: int) -> list[int]:
    """What a process has started from its first thread, as those do that only wait for a server."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # gone, or a kernel that does not tell
        return []
