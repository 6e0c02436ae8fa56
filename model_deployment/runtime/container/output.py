"""Brings what containers write into the log files of launches, where all that reads logs finds it."""

import contextlib
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from model_deployment.runtime.container.engine import Engine, EngineRefused
from model_deployment.runtime.container.folders import LOGGED, LaunchFolders
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.worker.timed_output import stamp

#: Characters of a line that are kept.
_LONGEST = 32 * 1024


class Output:
    """The output of an instance's containers. Blocking; may be called from several threads."""

    def __init__(self, engine: Engine, folders: LaunchFolders, logs: LaunchLogs) -> None:
        self._engine = engine
        self._folders = folders
        self._logs = logs
        self._appending = threading.Lock()

    def begin(self, launch_id: str, header: str, now: float) -> None:
        """Make the log file of a launch.

        Raises:
            OSError: it cannot be made.
        """
        self._logs.root.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._logs.path(launch_id), flags, 0o600), "wb") as file:
            file.write(f"{stamp(now)}$ {header}\n".encode(errors="replace"))

    def fetch(self, launch_id: str, name: str) -> None:
        """Append what a container has written since the last time.

        Raises:
            OSError: the engine could not be asked, or the file could not be written.
        """
        with self._appending:
            mark = self._folders.of(launch_id) / LOGGED
            before = ""
            with contextlib.suppress(OSError):
                before = mark.read_text(encoding="ascii")
            try:
                said = self._engine.logs(name, _seconds(before))
            except EngineRefused:
                return
            lines, last = _lines(said.decode(errors="replace"), before)
            if not lines or not self._logs.exists(launch_id):
                return
            with self._logs.path(launch_id).open("ab") as file:
                file.write("".join(lines).encode(errors="replace"))
            _write(mark, last)


def _lines(said: str, before: str) -> tuple[list[str], str]:
    """The lines later than a time, as logs have them, and the last time."""
    lines, last = [], before
    for line in said.split("\n"):
        at, _, text = line.partition(" ")
        moment = _nanoseconds(at)
        if moment is None or moment <= (_nanoseconds(before) or 0):
            continue
        last = at
        lines.append(f"{stamp(moment / 1e9)}{text[:_LONGEST].rstrip()}\n")
    return lines, last


def _nanoseconds(at: str) -> int | None:
    """A time as engines write it (RFC 3339 with up to nine decimals), since 1970; None if it is none."""
    whole, _, rest = at.partition(".")
    decimals = rest.rstrip("Z").partition("+")[0].partition("-")[0]
    try:
        zone = at[-6:] if at[-6:-5] in ("+", "-") else "+00:00"
        seconds = datetime.fromisoformat(whole.rstrip("Z")[:19] + zone).astimezone(UTC).timestamp()
        return int(seconds) * 10**9 + int((decimals or "0").ljust(9, "0")[:9])
    except ValueError:
        return None


def _seconds(before: str) -> float:
    """From when to ask for lines: a little earlier, since a float has no nanoseconds."""
    moment = _nanoseconds(before)
    return 0.0 if moment is None else max(0.0, moment / 1e9 - 0.001)


def _write(path: Path, text: str) -> None:
    """Lost, lines are fetched twice."""
    with contextlib.suppress(OSError):
        path.write_text(text, encoding="ascii")
