"""Detects launches that a signal has stopped (SIGSTOP, SIGTSTP): they live, and answer no request.

The kernel shows the state of each process (``T`` in ``/proc/<pid>/stat``), so no request has to time out
first, and a slow launch is not mistaken for a stopped one. A process that a debugger holds has another
state (``t``).
"""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from model_deployment.runtime import identity

_log = logging.getLogger(__name__)

#: Seconds for which every check has to find a process stopped, and its CPU time unchanged: programs that
#: limit the CPU time of a process (cpulimit) stop it again and again, and let it run in between.
SUSPENDED_AFTER = 2.0
_DEPTH = 4


class SuspensionDetector:
    """Remembers since when the processes of launches are stopped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By launch and pid: since when the process is stopped, and its CPU time by then.
        self._since: dict[str, dict[int, tuple[float, int]]] = {}

    def forget(self, launch_id: str) -> None:
        self._since.pop(launch_id, None)

    def is_suspended(self, launch_id: str, leader: identity.Process, *, alone: bool) -> bool:
        """Whether the launch has been stopped for long enough.

        Where only some of several serving processes are stopped, they are killed, to be replaced.

        Args:
            leader: the main process, as it is now.
            alone: the main process serves by itself, whatever else it has started.
        """
        serving = [leader] if alone else _last_descendants(leader, _DEPTH)
        servers = [] if leader.zombie else serving
        suspended = self._suspended(launch_id, servers)
        if suspended and len(suspended) < len(servers):
            for process in suspended:
                _log.warning("killing process %s of %s: it is stopped", process.pid, launch_id)
                identity.send_signal(process, signal.SIGKILL)
            return False
        return bool(suspended)

    def _suspended(
        self, launch_id: str, servers: Sequence[identity.Process]
    ) -> Sequence[identity.Process]:
        """The processes that every check of the last seconds has found stopped."""
        now, known = self._clock(), self._since.pop(launch_id, {})
        since = {
            process.pid: known[process.pid]
            if process.pid in known and known[process.pid][1] == process.used
            else (now, process.used)
            for process in servers
            if process.stopped
        }
        if since:
            self._since[launch_id] = since
        return [
            process
            for process in servers
            if process.pid in since and now - since[process.pid][0] >= SUSPENDED_AFTER
        ]


def _last_descendants(process: identity.Process, depth: int) -> list[identity.Process]:
    """The processes that serve: those at the end of the line that the main process begins."""
    children = [identity.read_process(pid) for pid in _children(process.pid)] if depth else []
    living = [child for child in children if child is not None and not child.zombie]
    return [one for child in living for one in _last_descendants(child, depth - 1)] or [process]


def _children(pid: int) -> list[int]:
    """What the first thread of a process has started, as processes do that only wait for a server."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # the process is gone, or the kernel does not show its children
        return []
