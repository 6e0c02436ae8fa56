"""Counts of requests by minute, in the memory of the process that serves them.

The process reports them to the controller (``count_report.py``), which keeps them as small documents in the
store (``reported_counts.py``), and tells the process so. While the store is away, the oldest minutes are
merged into hours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.recording.error_kinds import caller_errors, kind_of, model_errors
from model_deployment.recording.histogram import Histogram

#: Seconds of one window.
WINDOW = 60
#: Minutes of a deployment that may wait for the store; beyond, so many become one window.
_WAITING = 240
_MERGED = 60


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
    #: Rises with each change.
    revision: int = field(default=0, compare=False)

    def add(self, other: "TrafficWindow") -> None:
        self.requests += other.requests
        self.rows += other.rows
        self.errors.update(other.errors)
        self.latencies.update(other.latencies)
        self.violations.update(other.violations)
        self.let_through += other.let_through
        self.revision += other.revision + 1

    def summary(self) -> dict[str, Any]:
        """JSON-ready, for the API."""
        return {
            "requests": self.requests,
            "rows": self.rows,
            "errors": dict(sorted(self.errors.items())),
            "caller_errors": caller_errors(self.errors),
            "model_errors": model_errors(self.errors),
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

    def __init__(self, owner: str) -> None:
        """``owner`` names the process and this run of it; each writes documents of its own."""
        self._owner = owner
        #: By deployment and minute; of a merged window the first minute.
        self._windows: dict[ModelKey, dict[int, TrafficWindow]] = {}
        #: By deployment and first minute: the minutes of a merged window. Also a minute that changed after
        #: it had been reported as finished: a store may have what it was.
        self._merged: dict[ModelKey, dict[int, list[int]]] = {}
        #: What was reported of a window: its revision, and whether it was finished.
        self._reported: dict[ModelKey, dict[int, tuple[int, bool]]] = {}
        #: To be reported again, although they have not changed.
        self._again: set[tuple[ModelKey, int]] = set()
        #: Whether there is anything to report, and the minute of the last report.
        self._changed, self._now = False, 0

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
        return [(_moment(minute), window) for minute, window in self._windows.get(key, {}).items()]

    def changed(self, now: float, limit: int, *, everything: bool = False) -> list[dict[str, Any]]:
        """The windows that changed or were finished since the last call, for :meth:`WindowReport.read`.

        Args:
            now: seconds since 1970; minutes before this one are finished.
            limit: windows of one call. The others follow with the next calls.
            everything: begin again with all windows.
        """
        over = int(now // WINDOW)
        if not (self._changed or everything or over != self._now):
            return []
        self._changed, self._now = False, over
        for key in self._windows:
            self._merge_oldest(key, over)
        if everything:
            self._again = {(key, one) for key, found in self._windows.items() for one in found}
        made: list[dict[str, Any]] = []
        for key, windows in self._windows.items():
            reported = self._reported.setdefault(key, {})
            for minute, window in windows.items():
                state = (window.revision, minute < over)
                if reported.get(minute) != state or (key, minute) in self._again:
                    if len(made) == limit:
                        self._changed = True
                        return made
                    made.append(self._report(key, minute, window, state))
        return made

    def _report(
        self, key: ModelKey, minute: int, window: TrafficWindow, state: tuple[int, bool]
    ) -> dict[str, Any]:
        revision, finished = state
        before = self._reported[key].get(minute, state)
        merged = self._merged.setdefault(key, {})
        if before[1] and before[0] != revision and minute not in merged:
            merged[minute] = [minute]  # the clock was set back
        self._reported[key][minute] = state
        self._again.discard((key, minute))
        return {
            "id": self._id(key, minute),
            "model": key.model,
            "version": key.version,
            "minute": minute,
            "revision": revision,
            "finished": finished,
            "replaces": [self._id(key, one) for one in merged.get(minute, ())],
            "counts": window.as_dict(),
        }

    def stored(self, revisions: Mapping[str, int]) -> None:
        """Drop windows that are stored, by the ids of their documents, unless they changed meanwhile."""
        for key, windows in [*self._windows.items()]:
            for minute, window in [*windows.items()]:
                if revisions.get(self._id(key, minute)) == window.revision:
                    self._drop(key, minute)

    def discard(self, key: ModelKey) -> None:
        """Drop what is not stored of a deployment: its name stands for another model now."""
        for minute in [*self._windows.get(key, ())]:
            self._drop(key, minute)

    def _drop(self, key: ModelKey, minute: int) -> None:
        del self._windows[key][minute]
        self._reported.get(key, {}).pop(minute, None)
        self._merged.get(key, {}).pop(minute, None)
        self._again.discard((key, minute))
        if not self._windows[key]:
            for table in (self._windows, self._reported, self._merged):
                table.pop(key, None)

    def _window(self, key: ModelKey, now: float) -> TrafficWindow:
        minute = int(now // WINDOW)
        self._changed = True
        windows = self._windows.get(key)
        if windows is None:
            windows = self._windows[key] = {}
        window = windows.get(minute)
        if window is None:
            window = windows[minute] = TrafficWindow()
        window.revision += 1
        return window

    def _id(self, key: ModelKey, minute: int) -> str:
        return f"{key}/{minute}/{self._owner}"

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
                if minute != first:
                    into.add(windows.pop(minute))
                    self._reported.get(key, {}).pop(minute, None)
                    self._again.discard((key, minute))
            into.revision += 1
            merged[first] = sorted({first, *merged.get(first, ()), *minutes})


@dataclass(frozen=True, slots=True)
class WindowReport:
    """One window, as another process has reported it."""

    #: As the store has it.
    document: Mapping[str, Any]
    key: ModelKey
    revision: int
    #: No request will be counted in it, unless the clock is set back.
    finished: bool
    #: Ids of documents that this one replaces. A store that went away in the middle of a write may have
    #: some of them.
    replaces: Sequence[str]

    @classmethod
    def read(cls, reported: Mapping[str, Any]) -> "WindowReport":
        """The inverse of what :meth:`TrafficWindows.changed` writes."""
        key = ModelKey(reported["model"], reported["version"])
        document = {
            "_id": reported["id"],
            "model": key.model,
            "version": key.version,
            "ts": _moment(reported["minute"]),
            **reported["counts"],
        }
        finished, replaces = reported["finished"], reported["replaces"]
        return cls(document, key, reported["revision"], finished, replaces)

    @property
    def id(self) -> str:
        return str(self.document["_id"])


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * WINDOW, UTC)
