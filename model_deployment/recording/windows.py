"""Counts of requests by minute: first in memory, then as small documents in the store.

While the store is away, the oldest minutes are merged into hours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.recording.histogram import Histogram

#: Seconds of one window.
WINDOW = 60
#: Minutes of a deployment that may wait for the store; beyond, so many become one window.
_WAITING = 240
_MERGED = 60

#: Kinds of requests without a prediction, by the status of their answer.
_KINDS = {
    400: "malformed", 408: "caller_slow", 413: "too_large", 415: "media_type", 422: "refused",
    429: "too_busy", 502: "model_failed", 503: "not_ready", 504: "timeout",
}  # fmt: skip
_OTHER = "internal"
KINDS = (*_KINDS.values(), _OTHER)
#: Kinds that are the caller's fault: the model never sees these requests.
REFUSED = frozenset({"malformed", "too_large", "media_type", "refused"})


def kind_of(status: int) -> str:
    """The kind of a request without a prediction, by the status of its answer."""
    return _KINDS.get(status, _OTHER)


@dataclass(slots=True)
class TrafficWindow:
    """The requests of one deployment in one minute, or in several that were merged."""

    requests: int = 0
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    #: Of answered requests only.
    latencies: Histogram = field(default_factory=Histogram)
    #: By column and kind. A request may have many.
    violations: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Requests that do not fit the signature, and that went to the model nevertheless.
    let_through: int = 0

    def add(self, other: "TrafficWindow") -> None:
        self.requests += other.requests
        self.rows += other.rows
        self.errors.update(other.errors)
        self.latencies.update(other.latencies)
        self.violations.update(other.violations)
        self.let_through += other.let_through

    def summary(self) -> dict[str, Any]:
        """JSON-ready, for the API."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "errors": dict(sorted(self.errors.items())),
            "p50_ms": self.latencies.percentile(0.5),
            "p95_ms": self.latencies.percentile(0.95),
            "p99_ms": self.latencies.percentile(0.99),
            "violations": [
                {"column": column, "kind": kind, "count": count}
                for (column, kind), count in sorted(self.violations.items())
            ],
            "let_through": self.let_through,
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the store."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "errors": dict(self.errors),
            "latencies": [[bucket, count] for bucket, count in sorted(self.latencies.items())],
            "violations": [[*where, count] for where, count in sorted(self.violations.items())],
            "let_through": self.let_through,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "TrafficWindow":
        """The inverse of :meth:`as_dict`."""
        return cls(
            requests=stored["requests"],
            rows=stored["rows"],
            errors=Counter(stored["errors"]),
            latencies=Histogram(dict(stored["latencies"])),
            violations=Counter({(column, kind): n for column, kind, n in stored["violations"]}),
            let_through=stored.get("let_through", 0),  # missing in documents of earlier releases
        )


class TrafficWindows:
    """Counts the requests of all deployments."""

    def __init__(self, instance: str) -> None:
        """``instance`` names this run of the controller; each run writes documents of its own."""
        self._instance = instance
        #: By deployment and minute; of a merged window the first minute.
        self._windows: dict[ModelKey, dict[int, TrafficWindow]] = {}
        #: By deployment and first minute: the minutes of a merged window.
        self._merged: dict[ModelKey, dict[int, list[int]]] = {}
        #: Documents of finished windows, so that each is built once while the store is away.
        self._built: dict[tuple[ModelKey, int], dict[str, Any]] = {}

    def answered(self, key: ModelKey, now: float, milliseconds: float, rows: int) -> None:
        window = self._window(key, now)
        window.requests += 1
        window.rows += rows
        window.latencies.observe(milliseconds)

    def failed(self, key: ModelKey, now: float, status: int) -> None:
        window = self._window(key, now)
        window.requests += 1
        window.errors[kind_of(status)] += 1

    def violated(
        self,
        key: ModelKey,
        now: float,
        tally: Mapping[tuple[str, str], int],
        *,
        passed: bool = False,
    ) -> None:
        """Count the violations of one request; ``passed``: it goes to the model nevertheless."""
        window = self._window(key, now)
        window.violations.update(tally)
        window.let_through += passed

    def current(self, key: ModelKey) -> list[tuple[datetime, TrafficWindow]]:
        """The windows of a deployment that are not stored yet. Requests go on being counted in them."""
        return [
            (datetime.fromtimestamp(minute * WINDOW, UTC), window)
            for minute, window in self._windows.get(key, {}).items()
        ]

    def finished(self, now: float) -> list[dict[str, Any]]:
        """The documents of the windows that are over. The windows stay here until :meth:`forget`."""
        over = int(now // WINDOW)
        for key in self._windows:
            self._merge_oldest(key, over)
        return [
            self._document(key, minute)
            for key, windows in self._windows.items()
            for minute in windows
            if minute < over
        ]

    def all(self) -> list[dict[str, Any]]:
        """The documents of all windows, for the end of a controller."""
        return [
            _document(self._instance, key, minute, window)
            for key, windows in self._windows.items()
            for minute, window in windows.items()
        ]

    def replaced(self, documents: Iterable[Mapping[str, Any]]) -> list[str]:
        """Ids of documents that these replace: the minutes that were merged.

        A store that went away in the middle of a write may have taken some of the minutes.
        """
        wanted = {document["_id"] for document in documents}
        return [
            _id(self._instance, key, minute)
            for key, merged in self._merged.items()
            for first, minutes in merged.items()
            if _id(self._instance, key, first) in wanted
            for minute in minutes
        ]

    def forget(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Drop the windows of these documents: they are stored."""
        stored = {document["_id"] for document in documents}
        for key, windows in [*self._windows.items()]:
            for minute in [*windows]:
                if _id(self._instance, key, minute) in stored:
                    del windows[minute]
                    self._built.pop((key, minute), None)
                    self._merged.get(key, {}).pop(minute, None)
            if not windows:
                del self._windows[key]
                self._merged.pop(key, None)

    def discard(self, key: ModelKey) -> None:
        """Drop what is not stored of a deployment: its name stands for another model now."""
        self._windows.pop(key, None)
        self._merged.pop(key, None)
        self._built = {place: one for place, one in self._built.items() if place[0] != key}

    def _window(self, key: ModelKey, now: float) -> TrafficWindow:
        minute = int(now // WINDOW)
        windows = self._windows.get(key)
        if windows is None:
            windows = self._windows[key] = {}
        window = windows.get(minute)
        if window is None:
            window = windows[minute] = TrafficWindow()
        # The window was over already if the clock was set back.
        self._built.pop((key, minute), None)
        return window

    def _document(self, key: ModelKey, minute: int) -> dict[str, Any]:
        built = self._built.get((key, minute))
        if built is None:
            built = _document(self._instance, key, minute, self._windows[key][minute])
            self._built[key, minute] = built
        return built

    def _merge_oldest(self, key: ModelKey, over: int) -> None:
        """Merge the oldest minutes into hours, if too many are waiting."""
        windows, merged = self._windows[key], self._merged.setdefault(key, {})
        single = sorted(minute for minute in windows if minute < over and minute not in merged)
        while len(single) > _WAITING:
            hour = single[0] // _MERGED
            minutes = [minute for minute in single if minute // _MERGED == hour]
            single = single[len(minutes) :]
            # The hour may exist already if the clock was set back.
            first = next((one for one in merged if one // _MERGED == hour), minutes[0])
            into = windows.setdefault(first, TrafficWindow())
            for minute in minutes:
                self._built.pop((key, minute), None)
                if minute != first:
                    into.add(windows.pop(minute))
            self._built.pop((key, first), None)
            merged[first] = sorted({first, *merged.get(first, ()), *minutes})


def _id(instance: str, key: ModelKey, minute: int) -> str:
    return f"{key}/{minute}/{instance}"


def _document(instance: str, key: ModelKey, minute: int, window: TrafficWindow) -> dict[str, Any]:
    return {
        "_id": _id(instance, key, minute),
        "model": key.model,
        "version": key.version,
        "ts": datetime.fromtimestamp(minute * WINDOW, UTC),
        **window.as_dict(),
    }
