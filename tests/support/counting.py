"""Counts of a process that serves requests, reported to a controller without a connection between them."""

import time
from collections.abc import Callable, Mapping

from model_deployment.recording.count_report import CountReport
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.windows import TrafficWindows


class LocalCounts:
    """One process that serves requests, and what it counted as its controller knows it at once."""

    def __init__(self, name: str = "i", clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self.traffic = TrafficWindows(name)
        self.counters = RequestCounters()
        self.report = CountReport(self.counters, self.traffic, lambda: self.dropped)
        self.reported = ReportedCounts()
        self.dropped = 0
        self._clock = clock
        self.reported.totals.refresh = self.refresh

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
