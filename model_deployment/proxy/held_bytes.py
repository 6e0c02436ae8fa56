"""One budget of bytes for all that is held for callers: bodies of predictions, bodies of the API, answers.

All proxies share it, through the row of the limits file that belongs to no deployment. Each kind has a
share that the other kinds leave free, so callers of one kind never shut out those of another:

    the sum over all kinds of max(share of the kind, bytes held of the kind) <= budget

A kind whose callers hold nothing else may always hold one body, however large: what the limits of a single
body allow is never refused for ever. Small bodies may use the last part of the budget, large ones may not.
"""

import asyncio
from enum import IntEnum
from time import monotonic_ns
from typing import Self

from model_deployment.core.errors import TooManyBodies
from model_deployment.proxy.limits_file import LimitsFile

#: Bytes of a body that is not counted if it comes at once: its connection takes more itself.
UNCOUNTED = 4096
#: Bytes up to which a body is small.
SMALL = 64 * 1024
#: Bytes of an answer that wait for a caller who does not read, where it is passed on as it comes.
RELAYED = 512 * 1024
#: Seconds after which a caller that was refused may find room.
_RETRY_AFTER = 2
#: Part of the budget that is left to small bodies.
_LEFT_TO_SMALL = 1 / 16


class HeldKind(IntEnum):
    """What bytes are held for. Where its number is in the record of a proxy."""

    PREDICTION = 0
    CALL = 1
    ANSWER = 2


#: Part of the budget that other kinds leave to one.
_SHARES = {HeldKind.PREDICTION: 1 / 4, HeldKind.CALL: 1 / 8, HeldKind.ANSWER: 1 / 8}
_WORDS = {
    HeldKind.PREDICTION: "cannot read the body now: other requests",
    HeldKind.CALL: "cannot read the body now: other requests",
    HeldKind.ANSWER: "cannot pass on the answer now: other requests",
}
#: Requests that were refused, of each kind, and when the last one was: nanoseconds of the monotonic clock.
REFUSED = len(HeldKind)
_PRESSED = 2 * len(HeldKind)


class HeldBytes:
    """The budget as one proxy sees it."""

    def __init__(self, table: LimitsFile, budget: int) -> None:
        """``budget``: bytes that all proxies may hold together."""
        self.budget = budget
        self._table = table
        self._offset = table.common_row
        self._at = table.own + self._offset
        #: The most bytes that this proxy has held, until somebody sets it back.
        self.most = 0
        self._shares = {kind: int(part * budget) for kind, part in _SHARES.items()}

    @classmethod
    def unshared(cls, budget: int = 256 * 1024 * 1024) -> Self:
        """The budget of a process alone."""
        return cls(LimitsFile.private(), budget)

    def total(self, kind: HeldKind) -> int:
        """Bytes that all living proxies hold."""
        return self._table.words[self._at + kind] + self._table.sum_of_others(self._offset + kind)

    def own(self, kind: HeldKind) -> int:
        """Bytes that this proxy holds."""
        return self._table.words[self._at + kind]

    @property
    def held(self) -> int:
        """Bytes of all kinds that this proxy holds."""
        return sum(self._table.words[self._at : self._at + len(HeldKind)])

    def refused(self, kind: HeldKind) -> int:
        """Requests that this proxy has refused since it began."""
        return self._table.words[self._at + REFUSED + kind]

    def pressed_within(self, seconds: float) -> bool:
        """Whether any proxy has refused a request in the last seconds."""
        words, since = self._table.words, monotonic_ns() - int(seconds * 1e9)
        starts = (self._table.own, *self._table.others)
        return any(words[start + self._offset + _PRESSED] > since for start in starts)

    def take(self, kind: HeldKind, size: int, own: int) -> None:
        """Hold ``size`` more bytes.

        Args:
            own: bytes that are held for the same request already.

        Raises:
            TooManyBodies: they may not be held.
        """
        if not self._fits(kind, size, own) and not (
            self._table.drop_dead() and self._fits(kind, size, own)
        ):
            raise self._refusal(kind)
        # As SharedNumber does it: another proxy may have added as well since.
        self._table.words[self._at + kind] += size
        if not self._fits(kind, 0, own + size):
            self.give_back(kind, size)
            raise self._refusal(kind)
        self.most = max(self.most, self.held)

    def ensure_room(self, kind: HeldKind, declared: int | None) -> None:
        """Refuse a body before any of it is read, if it does not fit now.

        Args:
            declared: bytes that its headers announce; None if they do not.

        Raises:
            TooManyBodies: it does not.
        """
        if declared is None or declared <= UNCOUNTED or self._fits(kind, declared, 0):
            return
        if not (self._table.drop_dead() and self._fits(kind, declared, 0)):
            raise self._refusal(kind)

    def give_back(self, kind: HeldKind, size: int) -> None:
        """Hold ``size`` bytes less."""
        self._table.words[self._at + kind] -= size

    def _fits(self, kind: HeldKind, more: int, own: int) -> bool:
        """Whether there is room for ``more`` bytes of a request that holds ``own``."""
        used = self.total(kind) + more
        if used <= own + more:  # nobody else holds any
            return True
        large = own + more > SMALL
        kept = _LEFT_TO_SMALL if large else 0.0
        if used <= self._shares[kind] * (1 - kept):
            return True
        others = sum(
            max(share, self.total(other)) for other, share in self._shares.items() if other != kind
        )
        return used + others <= self.budget * (1 - kept)

    def _refusal(self, kind: HeldKind) -> TooManyBodies:
        words = self._table.words
        words[self._at + REFUSED + kind] += 1
        words[self._at + _PRESSED] = monotonic_ns()
        return TooManyBodies(
            f"{_WORDS[kind]} hold as much as may be held of the {self.budget} bytes "
            "(MODEL_DEPLOYMENT_MAX_HELD_BYTES); try again in a moment",
            retry_after=_RETRY_AFTER,
        )


class Holding:
    """The bytes of one request, of one kind."""

    __slots__ = ("_held", "_kind", "size")

    def __init__(self, held: HeldBytes, kind: HeldKind) -> None:
        self._held = held
        self._kind = kind
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def add(self, size: int) -> None:
        """Hold ``size`` more bytes.

        Raises:
            TooManyBodies: other requests hold too many.
        """
        self._held.take(self._kind, size, self.size)
        self.size += size

    def ensure(self, size: int) -> None:
        """Hold at least ``size`` bytes in all.

        Raises:
            TooManyBodies: other requests hold too many.
        """
        if size > self.size:
            self.add(size - self.size)

    def release(self) -> None:
        """Hold nothing any more."""
        if self.size:
            self._held.give_back(self._kind, self.size)
            self.size = 0

    @property
    def pressed(self) -> bool:
        """Whether others are refused meanwhile: who holds bytes must make use of them."""
        return self.size > 0 and self._held.pressed_within(LOOK)


#: Seconds between two looks at a transfer.
LOOK = 5.0
#: Bytes a second that a transfer must make while others are refused.
_LEAST_RATE = 16 * 1024
#: Bytes a second that a transfer must make on the average, but for the time that each has.
SLOWEST = 64 * 1024


class Pace:
    """Until when a transfer to or from a caller must go on, and how fast. One for each transfer.

    It may pause for ``idle`` seconds, and may take ``whole`` seconds and one more for each 64 KiB. While
    others are refused for want of room, it may not go slower than 16 KiB a second for 5 to 10 seconds.
    """

    __slots__ = (
        "_began", "_done", "_idle", "_last", "_look", "_marked", "_now", "_whole", "holding",
    )  # fmt: skip

    def __init__(self, idle: float, whole: float, holding: Holding | None) -> None:
        self._idle, self._whole, self.holding = idle, whole, holding
        self._now = asyncio.get_running_loop().time
        self._began = self._last = self._now()
        #: Bytes so far, and at the last look.
        self._done = self._marked = 0
        self._look = self._began + LOOK

    def next(self) -> float:
        """When to call :meth:`too_slow` next at the latest; time of the event loop."""
        end = self._began + self._whole + self._done / SLOWEST
        return min(self._last + self._idle, end, self._look)

    def moved(self, size: int) -> None:
        """So many more bytes have come or gone."""
        if size:
            self._done += size
            self._last = self._now()

    def too_slow(self) -> bool:
        """Whether it has to end."""
        now = self._now()
        if now - self._last >= self._idle:
            return True
        if now - self._began >= self._whole + self._done / SLOWEST:
            return True
        if now < self._look:
            return False
        crawls = self._done - self._marked < _LEAST_RATE * LOOK
        self._look, self._marked = now + LOOK, self._done
        return crawls and self.holding is not None and self.holding.pressed
