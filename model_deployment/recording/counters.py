"""What each deployment has served since the controller began, for Prometheus and the dashboard.

The windows of ``windows.py`` are forgotten once they are stored; a counter that is read from outside must
only rise. Counting takes place while a caller waits, so the counts are plain numbers.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from model_deployment.core.names import ModelKey
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

    @property
    def answered(self) -> int:
        """Requests that got a prediction."""
        return sum(self.buckets)

    def copy(self) -> "RequestCounts":
        """A value that later requests do not change."""
        return RequestCounts(
            self.rows, self.seconds, [*self.buckets], self.latencies.copy(), self.errors.copy()
        )


class RequestCounters:
    """The counts of all deployments."""

    def __init__(self) -> None:
        self._counts: dict[ModelKey, RequestCounts] = {}

    def answered(self, key: ModelKey, seconds: float, rows: int) -> None:
        counts = self._counts.get(key) or self._add(key)
        counts.rows += rows
        counts.seconds += seconds
        counts.buckets[bisect_left(LATENCIES, seconds)] += 1
        counts.latencies.observe(seconds * 1e3)

    def failed(self, key: ModelKey, kind: str) -> None:
        counts = self._counts.get(key) or self._add(key)
        counts.errors[kind] += 1

    def of(self, key: ModelKey) -> RequestCounts:
        counts = self._counts.get(key)
        return counts.copy() if counts else RequestCounts()

    def all(self) -> dict[ModelKey, RequestCounts]:
        return {key: counts.copy() for key, counts in self._counts.items()}

    def keep(self, keys: Iterable[ModelKey]) -> None:
        """Forget all other deployments."""
        kept = {*keys}
        self._counts = {key: counts for key, counts in self._counts.items() if key in kept}

    def _add(self, key: ModelKey) -> RequestCounts:
        return self._counts.setdefault(key, RequestCounts())
