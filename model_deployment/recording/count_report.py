"""Reports what a process has counted to the controller: absolute values, so a lost report harms nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.windows import TrafficWindows

#: Windows in one report: half a megabyte. While the store is away there may be tens of thousands.
_WINDOWS = 500


class CountReport:
    """The reports of one process, for one controller at a time."""

    def __init__(
        self, counters: RequestCounters, windows: TrafficWindows, dropped: Callable[[], int]
    ) -> None:
        """``dropped`` tells how many captures the process has dropped since it began."""
        self._counters = counters
        self._windows = windows
        self._dropped = dropped
        self._told = 0
        self._discarded: dict[ModelKey, None] = {}

    def changes(self, now: float, *, everything: bool = False) -> dict[str, Any]:
        """What changed since the last call, JSON-ready; empty if nothing did.

        If ``more`` is in it, another report should follow at once.

        Args:
            now: seconds since 1970.
            everything: for a controller that knows nothing of earlier reports, or missed one.
        """
        report: dict[str, Any] = {}
        if everything:
            report["everything"] = True
        if self._discarded:
            report["discarded"] = [str(key) for key in self._discarded]
            self._discarded.clear()
        if totals := self._counters.changed(everything=everything):
            report["totals"] = totals
        if windows := self._windows.changed(now, _WINDOWS, everything=everything):
            report["windows"] = windows
            if len(windows) == _WINDOWS:
                report["more"] = True
        if (dropped := self._dropped()) != self._told or everything:
            report["dropped"] = self._told = dropped
        return report

    def stored(self, revisions: Mapping[str, int]) -> None:
        """Drop windows that are in the store: ids of their documents, and the revision of each."""
        self._windows.stored(revisions)

    def discard(self, key: ModelKey) -> None:
        """Drop the windows of a deployment: its name stands for another model now."""
        self._windows.discard(key)
        self._discarded[key] = None
