"""What each deployment has served since the process began, for Prometheus and the dashboard.

The windows of ``windows.py`` are forgotten once they are stored; a counter that is read from outside must
only rise. Counting takes place while a caller waits, so the counts are plain numbers.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.recording.error_kinds import caller_errors, model_errors
from model_deployment.recording.histogram import Histogram

#: Upper bounds of Prometheus' latency buckets, in seconds; one more bucket has no bound.
LATENCIES = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip


@dataclass(slots=True)
class RequestCounts:
    """The requests of one deployment."""

    rows: int = 0
    #: Sum of the latencies of all predictions.
    seconds: float = 0.0
    #: Predictions by place in :data:`LATENCIES`. The table of :class:`Histogram` has other bounds, and
    #: these have to be exact.
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCIES) + 1))
    #: The same predictions, for percentiles.
    latencies: Histogram = field(default_factory=Histogram)
    #: Requests without a prediction, by kind.
    errors: Counter[str] = field(default_factory=Counter)
    #: Whether something was counted since the last report.
    changed: bool = field(default=False, compare=False)

    @property
    def answered(self) -> int:
        """Requests that got a prediction."""
        return sum(self.buckets)

    @property
    def caller_errors(self) -> int:
        """Requests without a prediction whose caller has to change something (status 4xx)."""
        return caller_errors(self.errors)

    @property
    def model_errors(self) -> int:
        """Requests without a prediction that the model, or its server, failed to answer (status 5xx)."""
        return model_errors(self.errors)

    def copy(self) -> "RequestCounts":
        """A value that later requests do not change."""
        return RequestCounts(
            self.rows, self.seconds, [*self.buckets], self.latencies.copy(), self.errors.copy()
        )

    def add(self, other: "RequestCounts") -> None:
        self.rows += other.rows
        self.seconds += other.seconds
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]
        self.latencies.update(other.latencies)
        self.errors.update(other.errors)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "rows": self.rows,
            "seconds": self.seconds,
            "buckets": [*self.buckets],
            "latencies": [*self.latencies.items()],
            "errors": dict(self.errors),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "RequestCounts":
        """The inverse of :meth:`as_dict`."""
        return cls(
            found["rows"],
            found["seconds"],
            [*found["buckets"]],
            Histogram(dict(found["latencies"])),
            Counter(found["errors"]),
        )


class RequestCounters:
    """The counts of all deployments."""

    def __init__(self) -> None:
        self._counts: dict[ModelKey, RequestCounts] = {}
        #: Whether the counts of any deployment changed since the last report.
        self._changed = False

    def answered(self, key: ModelKey, seconds: float, rows: int) -> None:
        counts = self._counts.get(key) or self._add(key)
        counts.rows += rows
        counts.seconds += seconds
        counts.buckets[bisect_left(LATENCIES, seconds)] += 1
        counts.latencies.observe(seconds * 1e3)
        counts.changed = self._changed = True

    def failed(self, key: ModelKey, kind: str) -> None:
        counts = self._counts.get(key) or self._add(key)
        counts.errors[kind] += 1
        counts.changed = self._changed = True

    def of(self, key: ModelKey) -> RequestCounts:
        counts = self._counts.get(key)
        return counts.copy() if counts else RequestCounts()

    def all(self) -> dict[ModelKey, RequestCounts]:
        return {key: counts.copy() for key, counts in self._counts.items()}

    def changed(self, *, everything: bool = False) -> dict[str, dict[str, Any]]:
        """JSON-ready, by deployment: the counts that changed since the last call, or all of them."""
        found: dict[str, dict[str, Any]] = {}
        if not (self._changed or everything):
            return found
        self._changed = False
        for key, counts in self._counts.items():
            if counts.changed or everything:
                counts.changed = False
                found[str(key)] = counts.as_dict()
        return found

    def keep(self, keys: Iterable[ModelKey]) -> None:
        """Forget all other deployments."""
        kept = {*keys}
        self._counts = {key: counts for key, counts in self._counts.items() if key in kept}

    def _add(self, key: ModelKey) -> RequestCounts:
        return self._counts.setdefault(key, RequestCounts())
