"""What all proxies together use of a deployment's limits.

Each number is the sum of what the living proxies have written. A proxy first adds to its own number and
then reads those of the others, and takes its addition back if the sum is over the limit. So the limit
holds however the proxies interleave, without a lock. In exchange, two requests that want the last place
in the same microsecond may both be refused.
"""

from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Self

from model_deployment.proxy.held_bytes import HeldBytes
from model_deployment.proxy.limits_file import LimitsFile

# The integers of a record.
_CALLERS, _HELD, _QUEUED, _QUEUED_BYTES, _SENDING, _OLDEST_WAIT = range(6)

#: Nanoseconds for which a waiting proxy keeps its turn without a sign of life: it may be stopped.
_TURN = 500_000_000
#: Later than every request that waits.
_NEWCOMER = (1 << 63) - 1


class SharedNumber:
    """A number with a limit on its sum over all proxies."""

    __slots__ = ("_at", "_offset", "_refused", "_table", "_words")

    def __init__(self, table: LimitsFile, offset: int) -> None:
        """``offset``: where the number is in each column."""
        self._table = table
        self._words = table.words
        self._offset = offset
        self._at = table.own + offset
        #: The last addition did not fit.
        self._refused = False

    def add(self, amount: int, limit: int, own: int = -1) -> bool:
        """Add an amount, unless the sum would exceed a limit.

        Args:
            own: what the same request has added before. Alone, a request may add any amount.
        """
        # Proxies that are refused again and again would keep each other out by what they write.
        if self._refused and not self._fits(self.own, amount, limit, own):
            return False
        self._refused = False
        words, at = self._words, self._at
        mine = words[at]
        words[at] = mine + amount
        before = mine + self._table.sum_of_others(self._offset)
        if before + amount <= limit or before <= own or self._fits(mine, amount, limit, own):
            return True
        words[at] = mine
        self._refused = True
        return False

    def _fits(self, mine: int, amount: int, limit: int, own: int) -> bool:
        table, offset = self._table, self._offset
        before = mine + table.sum_of_others(offset)
        if before + amount > limit and before > own and table.drop_dead():
            before = mine + table.sum_of_others(offset)
        return before + amount <= limit or before <= own

    def subtract(self, amount: int) -> None:
        self._words[self._at] -= amount

    @property
    def own(self) -> int:
        """What this proxy has added."""
        return self._words[self._at]

    @property
    def total(self) -> int:
        """What all living proxies have added."""
        return self.own + self._table.sum_of_others(self._offset)


class SharedSlots:
    """Permits for calls of a model. The request that waits longest gets the next one, in any proxy."""

    __slots__ = ("_offset", "_table", "_waits_at", "sending")

    def __init__(self, table: LimitsFile, row: int) -> None:
        """``row``: where the record of the deployment is in each column."""
        #: Calls under way.
        self.sending = SharedNumber(table, row + _SENDING)
        self._table = table
        self._offset = row + _OLDEST_WAIT
        self._waits_at = table.own + self._offset

    def take(self, limit: int, since: int = _NEWCOMER) -> bool:
        """Take a slot, if one is free and nobody else has waited longer.

        Args:
            since: when the request began to wait; nanoseconds of the monotonic clock.
        """
        if self._is_turn(since) or (self._table.drop_dead() and self._is_turn(since)):
            return self.sending.add(1, limit)
        return False

    def free(self) -> None:
        """Give a slot back."""
        self.sending.subtract(1)

    def wait(self, since: int) -> None:
        """Tell the other proxies since when a request of this one waits, its oldest; 0 if none does."""
        if since:
            self._table.beat(monotonic_ns())
        self._table.words[self._waits_at] = since
        self._table.fence()

    def beat(self) -> None:
        """Keep the turn: to be called at least every 0.1 s while requests wait."""
        self._table.beat(monotonic_ns())

    @property
    def shared(self) -> bool:
        """Whether there are other proxies."""
        return bool(self._table.others)

    @property
    def contended(self) -> bool:
        """Whether other proxies have slots, or wait for some."""
        table = self._table
        return self.sending.total > self.sending.own or table.sum_of_others(self._offset) > 0

    def _is_turn(self, since: int) -> bool:
        table = self._table
        for start in table.others:
            waits = table.words[start + self._offset]
            # Two requests may have begun to wait in the same nanosecond.
            earlier = waits and (waits, start) < (since, table.own)
            if earlier and monotonic_ns() - table.last_beat(start) < _TURN:
                return False
        return True


@dataclass(frozen=True, slots=True)
class DeploymentUsage:
    """What the requests for one deployment use."""

    #: Requests that the model is to answer: those that wait for a slot, and those that have one.
    callers: SharedNumber
    #: Bytes of bodies, of these requests and of those whose bodies are being received or checked.
    held: SharedNumber
    #: Requests in the wake queue.
    queued: SharedNumber
    #: Bytes of their bodies.
    queued_bytes: SharedNumber
    slots: SharedSlots


class SharedLimits:
    """What the requests for all deployments use, shared with the proxies that have opened the same file."""

    def __init__(self, table: LimitsFile) -> None:
        self._table = table
        self._rows: dict[int, DeploymentUsage] = {}

    @classmethod
    def open(cls, path: Path, column: int) -> Self:
        """Join the proxies that share a file, as the one with the given column.

        Raises:
            ValueError: the file has another format, or no such column, or another process has the column.
        """
        return cls(LimitsFile.open(path, column))

    def row(self, index: int) -> DeploymentUsage:
        """What the requests for the deployment in a row use; the same object for the same row.

        Raises:
            IndexError: there is no such row.
        """
        if index not in self._rows:
            self._rows[index] = _usage(self._table, self._table.row(index))
        return self._rows[index]

    def held_bytes(self, budget: int) -> HeldBytes:
        """What the requests for all deployments and for the API hold together."""
        return HeldBytes(self._table, budget)

    def close(self) -> None:
        """Leave the other proxies, which no longer count what this one uses."""
        self._table.close()


def unshared_usage() -> DeploymentUsage:
    """What the requests for one deployment use where there is one proxy."""
    return _usage(LimitsFile.private(), 0)


def _usage(table: LimitsFile, row: int) -> DeploymentUsage:
    return DeploymentUsage(
        SharedNumber(table, row + _CALLERS),
        SharedNumber(table, row + _HELD),
        SharedNumber(table, row + _QUEUED),
        SharedNumber(table, row + _QUEUED_BYTES),
        SharedSlots(table, row),
    )
