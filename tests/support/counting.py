"""Counts of a process that serves requests, reported to a controller without a connection between them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from model_deployment.core.names import ModelKey
from model_deployment.recording.count_report import CountReport
from model_deployment.recording.counters import RequestCounters, RequestCounts
from model_deployment.recording.reported_counts import ReportedCounts, ReportedTotals
from model_deployment.recording.windows import TrafficWindows, WindowReport


class _PromptTotals(ReportedTotals):
    """Takes a report before each reading."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        super().__init__()
        self._refresh = refresh

    def of(self, key: ModelKey) -> RequestCounts:
        self._refresh()
        return super().of(key)

    def all(self) -> dict[ModelKey, RequestCounts]:
        self._refresh()
        return super().all()


class _PromptCounts(ReportedCounts):
    """Takes a report before each reading."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        super().__init__()
        self.totals = _PromptTotals(refresh)
        self._refresh = refresh

    @property
    def dropped(self) -> int:
        self._refresh()
        return super().dropped

    def unstored(self, key: ModelKey) -> list[WindowReport]:
        self._refresh()
        return super().unstored(key)

    def finished(self) -> list[WindowReport]:
        self._refresh()
        return super().finished()


class LocalCounts:
    """One process that serves requests, and what it counted as its controller knows it at once."""

    def __init__(self, name: str = "i", clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.traffic = TrafficWindows(name)
        self.counters = RequestCounters()
        self.report = CountReport(self.counters, self.traffic, lambda: self.dropped)
        self.reported = _PromptCounts(self.refresh)
        self.dropped = 0
        self._clock = clock

    def refresh(self) -> None:
        """Report what changed."""
        while report := self.report.changes(self._clock()):
            self.reported.apply(self.name, report)

    def end(self) -> None:
        """The process ends."""
        self.refresh()
        self.reported.ended(self.name)

    def stored(self, process: str, revisions: Mapping[str, int]) -> None:
        """As the controller tells it."""
        assert process == self.name
        self.report.stored(revisions)

    def told(self, *, everything: bool = False, now: float | None = None) -> dict[str, Any]:
        """Its next report, as it arrives at a controller."""
        changes = self.report.changes(self._clock() if now is None else now, everything=everything)
        found: dict[str, Any] = orjson.loads(orjson.dumps(changes))
        return found
