"""What all processes that serve requests have counted, as they reported it: the controller's side.

The counts live in the processes (``count_report.py``). The controller keeps the last report of each, and
shows sums. A controller that starts anew gets everything again with the first report of each process, and
so nothing is counted twice: the windows of a process have ids of their own in the store.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.recording.counters import RequestCounts
from model_deployment.recording.windows import WindowReport

#: Seconds are rounded to this share of a second. Sums of such numbers are exact, so their order does not
#: matter: a sum that fell by the smallest bit would look like a restart to Prometheus.
_TICKS = 1 << 20


class ReportedTotals:
    """Sums over all processes, also over those that ended. What it returns is never changed."""

    def __init__(self) -> None:
        self._living: dict[str, dict[ModelKey, RequestCounts]] = {}
        self._past: dict[ModelKey, RequestCounts] = {}
        #: Sums that are known.
        self._sums: dict[ModelKey, RequestCounts] = {}

    def of(self, key: ModelKey) -> RequestCounts:
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = self._sum(key)
        return found

    def all(self) -> dict[ModelKey, RequestCounts]:
        keys = dict.fromkeys(self._past)
        for counts in self._living.values():
            keys |= dict.fromkeys(counts)
        return {key: self.of(key) for key in keys}

    def keep(self, keys: Iterable[ModelKey]) -> None:
        """Forget all other deployments."""
        kept = {*keys}
        for table in (self._past, self._sums, *self._living.values()):
            for key in [key for key in table if key not in kept]:
                del table[key]

    def apply(self, process: str, totals: Mapping[str, Any], *, everything: bool) -> None:
        """Replace the counts of a process: those of some deployments, or of all of them."""
        counts = self._living.setdefault(process, {})
        if everything:
            for key in counts:
                self._sums.pop(key, None)
            counts.clear()
        for name, reported in totals.items():
            key = ModelKey.parse(name)
            found = RequestCounts.from_dict(reported)
            found.seconds = round(found.seconds * _TICKS) / _TICKS
            counts[key] = found
            self._sums.pop(key, None)

    def ended(self, process: str) -> None:
        """Keep the counts of a process that will report no more."""
        for key, counts in self._living.pop(process, {}).items():
            self._past.setdefault(key, RequestCounts()).add(counts)

    def _sum(self, key: ModelKey) -> RequestCounts:
        total = RequestCounts()
        for table in (self._past, *self._living.values()):
            if (counts := table.get(key)) is not None:
                total.add(counts)
        return total


class ReportedCounts:
    """The last report of each process, and what is left of those that ended."""

    def __init__(self) -> None:
        self.totals = ReportedTotals()
        self._ended: set[str] = set()
        #: Windows that are not stored yet, by process and by the id of their documents.
        self._windows: dict[str, dict[str, WindowReport]] = {}
        self._dropped: dict[str, int] = {}

    @property
    def dropped(self) -> int:
        """Captures that were dropped since this controller began, or earlier by a living process."""
        return sum(self._dropped.values())

    def apply(self, process: str, report: Mapping[str, Any]) -> None:
        """Take a report of :meth:`CountReport.changes`. One of a process that ended changes nothing.

        Args:
            process: its name, which no other process has had.

        Raises:
            LookupError, TypeError, ValueError: it is not such a report.
        """
        if process in self._ended:
            return
        everything = report.get("everything", False)
        self.totals.apply(process, report.get("totals", {}), everything=everything)
        windows = self._windows.setdefault(process, {})
        if everything:
            windows.clear()
        for name in report.get("discarded", ()):
            _discard(windows, ModelKey.parse(name))
        for window in map(WindowReport.read, report.get("windows", ())):
            for id in window.replaces:
                windows.pop(id, None)
            windows[window.id] = window
        if "dropped" in report:
            self._dropped[process] = report["dropped"]

    def ended(self, process: str) -> None:
        """A process is gone: its counts are kept, and its last minute is finished."""
        self._ended.add(process)
        self.totals.ended(process)

    def discard(self, key: ModelKey) -> None:
        """Drop what is not stored of a deployment: its name stands for another model now."""
        for windows in self._windows.values():
            _discard(windows, key)

    def unstored(self, key: ModelKey) -> list[WindowReport]:
        """The windows of a deployment that may not be in the store, or be there as they were before."""
        return [
            window
            for windows in self._windows.values()
            for window in windows.values()
            if window.key == key
        ]

    def finished(self) -> list[WindowReport]:
        """The windows that are over. They stay here until :meth:`forget`."""
        return [
            window
            for process, windows in self._windows.items()
            for window in windows.values()
            if window.finished or process in self._ended
        ]

    def forget(self, stored: Sequence[WindowReport]) -> dict[str, dict[str, int]]:
        """Drop windows whose documents are stored, unless they changed meanwhile.

        Returns:
            By living process: what it has to be told with :meth:`CountReport.stored`.
        """
        told: dict[str, dict[str, int]] = {}
        for process, windows in [*self._windows.items()]:
            for window in stored:
                if (current := windows.get(window.id)) is None:
                    continue
                if current.revision == window.revision:
                    del windows[window.id]
                if process not in self._ended:
                    told.setdefault(process, {})[window.id] = window.revision
            if process in self._ended and not windows:
                del self._windows[process]
        return told


def _discard(windows: dict[str, WindowReport], key: ModelKey) -> None:
    for id in [id for id, window in windows.items() if window.key == key]:
        del windows[id]
