"""The logs of launches: one file for each, written by its own processes."""

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from model_deployment.runtime import log_lines
from model_deployment.runtime.log_lines import LogLine, MessageFilter
from model_deployment.worker.timed_output import stamp

#: Bytes of the end of a file that are read for its last lines.
_WINDOW = 1024 * 1024
#: The same where lines are searched for.
_SEARCHED = 16 * 1024 * 1024
#: Lines of the end of a log that explain why a launch has ended: a long traceback or two.
_ENDING = 600
#: In the place of a launch id: the log of the warm parent, and those of companions by their kind.
PARENT, DRAIN, PROXY = "worker", "drain", "proxy"


class LaunchLogs:
    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = root
        self._max_bytes = max_bytes

    def path(self, launch_id: str) -> Path:
        return self.root / f"{launch_id}.log"

    def tail(self, launch_id: str, lines: int) -> str:
        """The last lines, without their times, and without characters that could steer a terminal."""
        return tail_of(self.path(launch_id), lines)

    def ending(self, launch_id: str) -> str:
        """Enough of the end of a log to explain why a launch has ended."""
        return self.tail(launch_id, _ENDING)

    def search(self, launch_id: str, lines: int, matches: MessageFilter) -> list[LogLine]:
        """The last lines of the messages that match; a message is not cut but at the first line."""
        return search_in(self.path(launch_id), lines, matches)

    def exists(self, launch_id: str) -> bool:
        """Whether there is a log of this launch."""
        return self.path(launch_id).exists()

    def append(self, launch_id: str, text: str) -> None:
        """Add lines to the log of a launch, if there is one."""
        path = self.path(launch_id)
        with contextlib.suppress(OSError):
            # Not created: a launch whose log was cleared away is over.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "ab", buffering=0) as file:
                now = stamp(time.time())
                lines = "".join(f"{now}{line}\n" for line in text.rstrip().split("\n"))
                file.write(lines.encode(errors="replace"))

    def tidy(self, keep: Iterable[str]) -> None:
        """Remove the logs of other launches, and empty logs that are too long.

        Those of our own programs are never removed. The content of an emptied log is kept as
        ``<launch>.log.1``. The model goes on writing at the new end: its descriptor was opened for
        appending.
        """
        kept = {*keep, PARENT, DRAIN, PROXY}
        for file in self.root.glob("*.log*"):
            launch_id = file.name.partition(".")[0]
            with contextlib.suppress(FileNotFoundError):
                if launch_id not in kept:
                    file.unlink()
                elif file.suffix == ".log" and file.stat().st_size > self._max_bytes:
                    with contextlib.suppress(OSError):  # a full disk needs space, not old lines
                        shutil.copy(file, file.with_suffix(".log.1"))  # with its mode
                    os.truncate(file, 0)


def tail_of(path: Path, lines: int) -> str:
    """The last lines of any log, as :meth:`LaunchLogs.tail` has them."""
    kept = _end(path, _WINDOW)[-lines:] if lines > 0 else []
    return "".join(f"{log_lines.untimed(line)}\n" for line in kept)


def search_in(path: Path, lines: int, matches: MessageFilter) -> list[LogLine]:
    """The last lines of the messages in any log that match, as :meth:`LaunchLogs.search`."""
    found = _end(path, _WINDOW if matches.everything else _SEARCHED)
    kept: deque[LogLine] = deque(maxlen=lines)
    for message in log_lines.messages(log_lines.read(found)):
        if matches(message):
            kept.extend(message)
    return [*kept]


def _end(path: Path, most: int) -> list[str]:
    """The lines in the last bytes of a log, and of what was moved out of it."""
    parts = []
    for file in (path, path.with_suffix(".log.1")):
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - most))
            content = opened.read(most)
            # Without the rest of a line.
            parts.append(content.partition(b"\n")[2] if size > most else content)
            most -= len(content)
        if most <= 0:
            break
    text = b"".join(reversed(parts)).decode(errors="replace")
    return [_printable(line) for line in text.splitlines()]


def _printable(line: str) -> str:
    return "".join(
        char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in line
    )
