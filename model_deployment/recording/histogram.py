"""Latencies counted by bucket: one bucket table and one percentile for minutes, counters and the dashboard.

A bucket's upper bound is a fifth above the one before, so its geometric middle is at most a tenth off,
whatever the load. Histograms add up: those of many minutes are one.
"""

import math
from bisect import bisect_left
from collections import Counter

#: Upper bounds of the buckets in milliseconds, 0.1 ms to 9 minutes; one more bucket has no bound. Stored
#: documents hold places in this table, so it never changes.
BOUNDS = tuple(0.1 * 1.2**step for step in range(86))
_HALF_A_BUCKET = 1.2**0.5


class Histogram(Counter[int]):
    """Counts by place in :data:`BOUNDS`."""

    def observe(self, milliseconds: float) -> None:
        self[bisect_left(BOUNDS, milliseconds)] += 1

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was counted after ``earlier`` was copied from this histogram."""
        return Histogram(self - earlier)

    def percentile(self, share: float) -> float | None:
        """Milliseconds within which a share (0 to 1) of the answers came; None without answers."""
        wanted, passed = math.ceil(share * self.total()), 0
        for bucket in sorted(self):
            passed += self[bucket]
            if passed >= wanted:
                return round(BOUNDS[min(bucket, len(BOUNDS) - 1)] / _HALF_A_BUCKET, 3)
        return None
