"""Pauses between attempts: doubled from 1 to 60 seconds, with jitter, so that a thousand devices do not
come at once."""

import random

FIRST, LONGEST = 1.0, 60.0


class Backoff:
    """Counts attempts that failed one after the other."""

    def __init__(self, first: float = FIRST, longest: float = LONGEST) -> None:
        """
        Args:
            first: seconds of the first pause, before jitter.
            longest: seconds that no pause exceeds.
        """
        self._first, self._longest = first, longest
        self.failures = 0

    def reset(self) -> None:
        """An attempt succeeded."""
        self.failures = 0

    def pause(self) -> float:
        """Count a failure; seconds to wait: between half and all of the doubled pause."""
        whole = min(self._longest, self._first * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return whole * (0.5 + random.random() / 2)  # noqa: S311 - no secret
