"""Lines of the logs of the agent and of its model, for the controller: made safe, and not too many."""

import logging
import time
from collections import deque
from typing import Any

from model_deployment_agent import outbox
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database

#: Characters of a line.
MAX_TEXT = 1000
#: Lines a minute that are kept on average, and at once.
PER_MINUTE, AT_ONCE = 120, 200
#: Lines in one message.
_IN_MESSAGE = 100


def safe(text: str) -> str:
    """One line that does nothing to whoever looks at it: control characters are escaped, long lines are
    cut."""
    cut = text[:MAX_TEXT].encode("utf-8", "replace").decode()
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut
    )


class LogLines(logging.Handler):
    """Collects lines until they are stored as messages."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.INFO)
        self._clock = clock
        self._lines: deque[dict[str, Any]] = deque(maxlen=10 * _IN_MESSAGE)
        self._room, self._since = float(AT_ONCE), time.monotonic()
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, or count it where there are too many."""
        now = time.monotonic()
        self._room = min(AT_ONCE, self._room + (now - self._since) * PER_MINUTE / 60)
        self._since = now
        if self._room < 1:
            self._left_out += 1
            return
        self._room -= 1
        self._keep(
            record.levelname.lower(), f"{record.name.rpartition('.')[2]}: {record.getMessage()}"
        )

    def _keep(self, level: str, text: str) -> None:
        self._lines.append({"at": self._clock.now(), "level": level, "text": safe(text)})

    def flush_to(self, store: Database) -> None:
        """Make messages of the lines.

        Raises:
            AgentError: nothing was stored; the lines stay in memory.
        """
        if self._left_out:
            self._keep(
                "warning",
                f"{self._left_out:,} lines were left out: more than {PER_MINUTE} a minute",
            )
            self._left_out = 0
        lines = list(self._lines)
        if not lines:
            return
        with store.transaction() as connection:
            for start in range(0, len(lines), _IN_MESSAGE):
                part = lines[start : start + _IN_MESSAGE]
                outbox.put(connection, "log", {"lines": part}, self._clock.now(), items=len(part))
        for _ in lines:
            self._lines.popleft()
