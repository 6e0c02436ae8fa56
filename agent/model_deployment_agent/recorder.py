"""What predictions leave behind: minutes of metrics and a sample of captures.

They are kept in memory for some seconds, then go to SQLite together: each write there waits for the
disk, and flash memory wears out. An agent that is killed loses those seconds.
"""

import json
import logging
import math
import random
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model_deployment_agent import outbox
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database
from model_deployment_agent.manifest import Manifest
from model_deployment_agent.prediction_input import PredictionInput

log = logging.getLogger(__name__)

#: Bucket i of latencies ends at 0.1 ms times 1.2 to the power of i; the last one has no end.
_FIRST_MS, _FACTOR, LAST_BUCKET = 0.1, 1.2, 86
#: Characters of the rows of one capture, and of all captures in one message.
MAX_CAPTURE, MAX_CAPTURES = 32 * 1024, 256 * 1024
#: Captures in one message, and characters of captures that wait in memory.
_IN_MESSAGE, MAX_WAITING = 100, 1024 * 1024
#: The largest whole number that every JSON parser reads exactly.
_LARGEST = 2**53 - 1
#: A message may have 64 levels, and what is around a value takes some.
_LEVELS = 48


def bucket(milliseconds: float) -> int:
    """The bucket of a latency, 0 to 86."""
    if milliseconds <= _FIRST_MS:
        return 0
    return min(LAST_BUCKET, math.ceil(math.log(milliseconds / _FIRST_MS, _FACTOR) - 1e-9))


@dataclass(slots=True)
class Window:
    """One minute of one release."""

    model: str
    version: int
    requests: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Window") -> None:
        """Count both together."""
        self.requests += other.requests
        self.rows += other.rows
        self.errors += other.errors
        self.latencies += other.latencies

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, as in a message of metrics."""
        return {
            "model": self.model,
            "version": self.version,
            "requests": self.requests,
            "rows": self.rows,
            "errors": dict(self.errors),
            "latencies": sorted([place, count] for place, count in self.latencies.items()),
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "Window":
        """The inverse of :meth:`as_dict`."""
        more = {"errors": Counter(found["errors"]), "latencies": Counter(dict(found["latencies"]))}
        return cls(**{**found, **more})


class Recorder:
    """Counts and samples predictions; never fails a prediction."""

    def __init__(self, store: Database, clock: Clock, *, capture_rate: float) -> None:
        """
        Args:
            capture_rate: share of the predictions that are captured, 0 to 1.
        """
        self._store = store
        self._clock = clock
        self._rate = capture_rate
        self._windows: dict[tuple[int, int], Window] = {}
        self._captures: list[dict[str, Any]] = []
        self._room = MAX_WAITING

    def succeeded(
        self, manifest: Manifest, given: PredictionInput, predictions: Sequence[Any], seconds: float
    ) -> None:
        """A prediction was answered."""
        window = self._window(manifest)
        window.requests += 1
        window.rows += len(given.rows)
        window.latencies[bucket(seconds * 1000)] += 1
        if self._room > 0 and random.random() < self._rate:  # noqa: S311
            capture = self._capture(manifest, given, predictions, seconds)
            self._captures.append(capture)
            self._room -= len(json.dumps(capture))

    def failed(self, manifest: Manifest, kind: str) -> None:
        """A prediction was not answered; ``kind`` is a short name of the error."""
        window = self._window(manifest)
        window.requests += 1
        window.errors[kind] += 1

    def _window(self, manifest: Manifest) -> Window:
        key = (self._clock.now() // 60_000, manifest.number)
        return self._windows.setdefault(key, Window(manifest.model, manifest.version))

    def _capture(
        self, manifest: Manifest, given: PredictionInput, predictions: Sequence[Any], seconds: float
    ) -> dict[str, Any]:
        """The first rows, as many as fit, with their predictions."""
        columns = None if given.columns is None else [_storable(one) for one in given.columns]
        rows: list[Any] = []
        room = MAX_CAPTURE
        for row in given.rows:
            stored = _storable(row) if isinstance(row, list) else [_storable(row)]
            room -= len(json.dumps(stored))
            if room < 0:
                break
            rows.append(stored)
        whole = len(rows) == len(given.rows) or len(predictions) != len(given.rows)
        answers = _storable(list(predictions if whole else predictions[: len(rows)]))
        return {
            "id": secrets.token_hex(16),
            "at": self._clock.now(),
            "release": manifest.number,
            "model": manifest.model,
            "version": manifest.version,
            "columns": columns,
            "rows": rows,
            "predictions": answers if len(json.dumps(answers)) <= MAX_CAPTURE else None,
            "latency_ms": round(seconds * 1000, 3),
        }

    def flush(self) -> None:
        """Store what was counted, and make messages of the minutes that are over.

        Raises:
            AgentError: nothing was stored; it stays in memory.
        """
        now = self._clock.now()
        with self._store.transaction() as connection:
            for (minute, release), window in self._windows.items():
                _add_window(connection, minute, release, window)
            _close_windows(connection, now // 60_000, now)
            for group in _groups(self._captures):
                outbox.put(connection, "captures", {"captures": group}, now, items=len(group))
        self._windows.clear()
        self._captures.clear()
        self._room = MAX_WAITING


def _add_window(connection: sqlite3.Connection, minute: int, release: int, window: Window) -> None:
    row = connection.execute(
        "SELECT data FROM windows WHERE minute = ? AND release = ?", (minute, release)
    ).fetchone()
    whole = Window(window.model, window.version)
    if row:
        whole = Window.from_dict(json.loads(row[0]))
    whole.add(window)
    connection.execute(
        "INSERT OR REPLACE INTO windows VALUES (?, ?, ?)",
        (minute, release, json.dumps(whole.as_dict())),
    )


def _close_windows(connection: sqlite3.Connection, minute: int, now: int) -> None:
    """Minutes that are over, by a clock that may have been set: those ahead of it are over as well."""
    rows = connection.execute(
        "DELETE FROM windows WHERE minute != ? RETURNING minute, release, data", (minute,)
    ).fetchall()
    for begun, release, data in sorted(rows):
        outbox.put(
            connection, "metrics", {"release": release, "minute": begun, **json.loads(data)}, now
        )


def _groups(captures: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Captures in messages that fit in a frame."""
    groups: list[list[dict[str, Any]]] = []
    room = 0
    for one in captures:
        size = len(json.dumps(one))
        if not groups or size > room or len(groups[-1]) == _IN_MESSAGE:
            groups.append([])
            room = MAX_CAPTURES
        groups[-1].append(one)
        room -= size
    return groups


def _storable(value: Any, levels: int = _LEVELS) -> Any:
    """A JSON value that every parser reads the same way; what is nested deeper is null."""
    if not levels:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        return float(value) if abs(value) < 10**300 else str(value)[:100]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_storable(one, levels - 1) for one in value]
    if isinstance(value, dict):
        return {_storable(str(name)): _storable(one, levels - 1) for name, one in value.items()}
    return value
