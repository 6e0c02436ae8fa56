"""Tells at once when a main process ends, also one that an earlier controller started (pidfd_open(2))."""

import asyncio
import contextlib
import os
from collections.abc import Callable

from model_deployment.runtime import identity

#: In the place of a pidfd, for a launch that need not or cannot be watched.
_NO_DESCRIPTOR = -1


class EndWatch:
    """Those of the launches that were looked at. Used in the event loop."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """``on_end`` is called when a main process has ended."""
        self._on_end = on_end
        self._watched: dict[str, int] = {}

    def begin(self, launch_id: str, pid: int, started: int) -> bool:
        """Watch a launch; whether it is new here, and its main process lives."""
        if launch_id in self._watched:
            return False
        descriptor, running = _NO_DESCRIPTOR, False
        with contextlib.suppress(OSError):  # gone already, or none left: the next poll finds out
            descriptor = os.pidfd_open(pid)
        try:
            running = descriptor != _NO_DESCRIPTOR and identity.is_running(pid, started)
        finally:
            if descriptor != _NO_DESCRIPTOR and not running:
                os.close(descriptor)
        self._watched[launch_id] = descriptor if running else _NO_DESCRIPTOR
        if running:
            asyncio.get_running_loop().add_reader(descriptor, self.ended, launch_id)
        return running

    def lives(self, launch_id: str) -> bool:
        """Whether the main process is watched and lives: its end would have ended the watch."""
        return self._watched.get(launch_id, _NO_DESCRIPTOR) != _NO_DESCRIPTOR

    def ended(self, launch_id: str) -> None:
        """The main process has ended."""
        self._unwatch(launch_id)
        self._on_end()

    def forget(self, launch_id: str) -> None:
        """Watch a launch no longer."""
        self._unwatch(launch_id)
        self._watched.pop(launch_id, None)

    def close(self) -> None:
        for launch_id in self._watched:
            self._unwatch(launch_id)
        self._watched.clear()

    def _unwatch(self, launch_id: str) -> None:
        descriptor = self._watched.get(launch_id, _NO_DESCRIPTOR)
        if descriptor != _NO_DESCRIPTOR:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            self._watched[launch_id] = _NO_DESCRIPTOR
