"""What was served since the controller began, for whoever collects figures from time to time.

Windows of traffic are forgotten once they are kept; counters that are read from outside must only rise.
Counted are plain numbers, since that happens while a caller waits. Latencies are counted in steps of a
fifth at most, which percentiles take; the few buckets that are told outside are sums of these.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from model_deployment.core.names import ModelKey

#: Upper ends of the buckets of latencies, in seconds; one more is without end.
LATENCIES = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
#: The largest ratio of two steps.
_STEP = 1.2


def _steps() -> tuple[float, ...]:
    """All ends of buckets, and between each two as many as it takes."""
    ends = [LATENCIES[0] / 10, *LATENCIES]
    found = [ends[0]]
    for low, high in pairwise(ends):
        parts = math.ceil(math.log(high / low) / math.log(_STEP))
        found += [low * (high / low) ** (part / parts) for part in range(1, parts)]
        found.append(high)  # exactly
    return tuple(found)


#: Upper ends of the steps, in seconds; one more is without end.
STEPS = _steps()
#: In which bucket a step is.
_BUCKET = [bisect_left(LATENCIES, end) for end in STEPS] + [len(LATENCIES)]


@dataclass(slots=True)
class RequestCounts:
    """The requests of one deployment."""

    rows: int = 0
    #: Of the answers in all.
    seconds: float = 0.0
    #: Answered requests by their latency: the step that it is in.
    steps: list[int] = field(default_factory=lambda: [0] * (len(STEPS) + 1))
    #: Requests without a prediction, by kind.
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        """Requests that got a prediction."""
        return sum(self.steps)

    @property
    def latencies(self) -> list[int]:
        """Answered requests by the bucket of :data:`LATENCIES` that they are in."""
        found = [0] * (len(LATENCIES) + 1)
        for bucket, count in zip(_BUCKET, self.steps, strict=True):
            found[bucket] += count
        return found

    def copy(self) -> "RequestCounts":
        """As it is now; what is counted later does not show in it."""
        return RequestCounts(self.rows, self.seconds, [*self.steps], self.errors.copy())


class RequestCounters:
    """Counts requests, and forgets nothing of a deployment that there is."""

    def __init__(self) -> None:
        self._totals: dict[ModelKey, RequestCounts] = {}

    def answered(self, key: ModelKey, seconds: float, rows: int) -> None:
        """Count a prediction."""
        total = self._totals.get(key) or self._new(key)
        total.rows += rows
        total.seconds += seconds
        total.steps[bisect_left(STEPS, seconds)] += 1

    def failed(self, key: ModelKey, kind: str) -> None:
        """Count a request that got no prediction."""
        total = self._totals.get(key) or self._new(key)
        total.errors[kind] += 1

    def of(self, key: ModelKey) -> RequestCounts:
        """What was counted of a deployment, as it is now."""
        total = self._totals.get(key)
        return total.copy() if total else RequestCounts()

    def all(self) -> dict[ModelKey, RequestCounts]:
        """What was counted of each deployment, as it is now."""
        return {key: total.copy() for key, total in self._totals.items()}

    def keep(self, keys: Iterable[ModelKey]) -> None:
        """Forget all other deployments."""
        kept = {*keys}
        for key in [key for key in self._totals if key not in kept]:
            del self._totals[key]

    def _new(self, key: ModelKey) -> RequestCounts:
        return self._totals.setdefault(key, RequestCounts())
