"""Limits a rate, and lets bursts pass."""


class TokenBucket:
    """Holds as many tokens as a burst may take, and gets so many each second. It may owe some."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """``rate``: tokens a second; ``burst``: tokens at most; ``now``: seconds of a monotonic clock."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, tokens: float, now: float) -> float:
        """Take tokens; the seconds to wait until they are there."""
        self._tokens = self._left(now) - tokens
        self._at = now
        return max(0.0, -self._tokens / self._rate)

    def is_full(self, now: float) -> bool:
        """Whether it is as a new one."""
        return self._left(now) >= self._burst

    def _left(self, now: float) -> float:
        return min(self._burst, self._tokens + (now - self._at) * self._rate)
