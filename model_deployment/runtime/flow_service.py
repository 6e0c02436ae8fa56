"""The process of the service of flows, which has an environment of its own and outlives the controller.

It is no companion: another distribution has its code, a lock in its folder keeps a second one away, and its
file says where it listens.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from model_deployment.runtime import identity

#: The argument vector behind the Python of the flows' environment.
PROGRAM = ("-m", "model_deployment_flows", "serve")
_SHORT = 0.05
_TAIL = 4000


def is_service(pid: int) -> bool:
    """Whether a process lives and is a service of flows."""
    process = identity.read_process(pid)
    if process is None or process.zombie:
        return False
    with contextlib.suppress(OSError):
        return PROGRAM[1].encode() in identity.read_file(pid, "cmdline").split(b"\0")
    return False


class ServiceProcess:
    """Starts the service, and knows the one that it has started."""

    def __init__(self, python: Path, folder: Path, log: Path) -> None:
        """
        Args:
            python: of the flows' environment.
            folder: of the service; it is made.
        """
        self._python = python
        self._folder = folder
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._begin = 0

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it. Takes some milliseconds.

        Raises:
            OSError: it cannot be started.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._log, flags, 0o600), "wb") as output:
            self._begin = output.tell()
            self._child = subprocess.Popen(
                [self._python, *PROGRAM],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                cwd=self._folder,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Whether the one that was started here runs."""
        return self._child is not None and self._child.poll() is None

    def status(self) -> int | None:
        """How the one that was started here has ended; None: it runs, or none was started."""
        return None if self._child is None else self._child.poll()

    def last_words(self) -> str:
        """The last line that it wrote, for a message."""
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._begin, size - _TAIL))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def forget(self) -> None:
        """Stop being its parent: it goes on when this process ends."""
        if self._child is not None:
            self._child.returncode = self._child.poll() or 0  # no ResourceWarning
            self._child = None


def stop(pid: int, grace: float) -> None:
    """End a service and wait for its end; for programs without an event loop.

    Args:
        grace: seconds between SIGTERM and SIGKILL. The service ends its runs before itself.
    """
    process = identity.read_process(pid)
    if process is None or not is_service(pid):
        return
    identity.send_signal(process, signal.SIGTERM)
    end = time.monotonic() + grace
    while identity.is_running(pid, process.started):
        if time.monotonic() > end:
            identity.send_signal(process, signal.SIGKILL)
        time.sleep(_SHORT)
