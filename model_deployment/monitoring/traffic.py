"""What was served, minute by minute: counted in memory, kept as small documents.

Latencies go into buckets that grow by a fifth each, so the middle of one is right to a tenth, whatever the
load, and those of many minutes can be added.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from model_deployment.domain import ModelKey

#: Seconds of one window.
WINDOW = 60
#: Upper ends of the buckets, in milliseconds: 0.1 ms to 9 minutes.
BUCKETS = tuple(0.1 * 1.2**step for step in range(86))
_HALF_A_BUCKET = 1.2**0.5

#: What may become of a request, by the status of its answer.
_KINDS = {
    400: "malformed", 408: "caller_slow", 413: "too_large", 415: "media_type", 422: "refused",
    429: "too_busy", 502: "model_failed", 503: "not_ready", 504: "timeout",
}  # fmt: skip


@dataclass(slots=True)
class Window:
    """The requests of one deployment in one minute, or in several that were added."""

    requests: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    #: By bucket; of answered requests only.
    latencies: Counter[int] = field(default_factory=Counter)
    #: By column and kind.
    violations: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: "Window") -> None:
        """Count what another one has counted as well."""
        self.requests += other.requests
        self.rows += other.rows
        self.errors.update(other.errors)
        self.latencies.update(other.latencies)
        self.violations.update(other.violations)

    def percentile(self, share: float) -> float | None:
        """Milliseconds that a share of the answers took at most, nearly; None without answers."""
        total = self.latencies.total()
        if not total:
            return None
        wanted, seen = math.ceil(share * total), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= wanted:
                return round(BUCKETS[min(bucket, len(BUCKETS) - 1)] / _HALF_A_BUCKET, 3)
        return None

    def summary(self) -> dict[str, Any]:
        """JSON-ready, for people."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "errors": dict(sorted(self.errors.items())),
            "p50_ms": self.percentile(0.5),
            "p95_ms": self.percentile(0.95),
            "p99_ms": self.percentile(0.99),
            "violations": [
                {"column": column, "kind": kind, "count": count}
                for (column, kind), count in sorted(self.violations.items())
            ],
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, to be kept."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "errors": dict(self.errors),
            "latencies": [[bucket, count] for bucket, count in sorted(self.latencies.items())],
            "violations": [[*where, count] for where, count in sorted(self.violations.items())],
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Window":
        """The inverse of :meth:`as_dict`."""
        return cls(
            requests=kept["requests"],
            rows=kept["rows"],
            errors=Counter(kept["errors"]),
            latencies=Counter(dict(kept["latencies"])),
            violations=Counter({(column, kind): n for column, kind, n in kept["violations"]}),
        )


class Traffic:
    """Counts requests, and gives back the minutes that are over."""

    def __init__(self, instance: str) -> None:
        """Count from nothing.

        Args:
            instance: names this run of a controller: another one's minute is another document.
        """
        self._instance = instance
        self._windows: dict[tuple[ModelKey, int], Window] = {}

    def answered(self, key: ModelKey, now: float, milliseconds: float, rows: int) -> None:
        """Count a prediction."""
        window = self._window(key, now)
        window.requests += 1
        window.rows += rows
        window.latencies[bisect_left(BUCKETS, milliseconds)] += 1

    def failed(self, key: ModelKey, now: float, status: int) -> None:
        """Count a request that got no prediction."""
        window = self._window(key, now)
        window.requests += 1
        window.errors[_KINDS.get(status, "internal")] += 1

    def violated(self, key: ModelKey, now: float, tally: Mapping[tuple[str, str], int]) -> None:
        """Count what did not fit the signature."""
        self._window(key, now).violations.update(tally)

    def current(self, key: ModelKey) -> list[tuple[datetime, Window]]:
        """The minutes of a deployment that are not kept yet."""
        return [
            (datetime.fromtimestamp(minute * WINDOW, UTC), window)
            for (other, minute), window in self._windows.items()
            if other == key
        ]

    def finished(self, now: float) -> list[dict[str, Any]]:
        """The documents of the minutes that are over; they stay here until :meth:`forget`."""
        return [
            _document(self._instance, key, minute, window)
            for (key, minute), window in self._windows.items()
            if (minute + 1) * WINDOW <= now
        ]

    def all(self) -> list[dict[str, Any]]:
        """The documents of all minutes, for the end of a controller."""
        return self.finished(math.inf)

    def forget(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Let go of what is kept now."""
        kept = {document["_id"] for document in documents}
        self._windows = {
            (key, minute): window
            for (key, minute), window in self._windows.items()
            if _id(self._instance, key, minute) not in kept
        }

    def _window(self, key: ModelKey, now: float) -> Window:
        place = key, int(now // WINDOW)
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = Window()
        return window


def _id(instance: str, key: ModelKey, minute: int) -> str:
    return f"{key}/{minute}/{instance}"


def _document(instance: str, key: ModelKey, minute: int, window: Window) -> dict[str, Any]:
    return {
        "_id": _id(instance, key, minute),
        "model": key.model,
        "version": key.version,
        "ts": datetime.fromtimestamp(minute * WINDOW, UTC),
        **window.as_dict(),
    }
