"""The requests that wait for a call of the model, and which of them go together. Pure."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from model_deployment.gate import Mergeable

#: Cells of a merged call at most: 13 colour images of 224 by 224 have as many. One call for more of them is
#: hardly faster than two, and takes memory in the proxy and in the model.
MOST_CELLS = 1 << 21


def rows_at_once(rows: Mergeable, most: int) -> int:
    """How many rows like these a merged call may have, if it may have ``most`` small ones."""
    return max(1, min(most, MOST_CELLS * rows.rows // max(rows.cells, 1)))


@dataclass(slots=True, eq=False)
class QueuedRows:
    """The rows of one request. They may go to the model in several calls."""

    table: Mergeable
    #: Requests with equal keys may be merged.
    key: tuple[object, ...]
    #: Rows that are with the model, or back from it.
    rows_taken: int = 0

    @property
    def rows_left(self) -> int:
        return self.table.rows - self.rows_taken


T = TypeVar("T", bound=QueuedRows)


@dataclass(frozen=True, slots=True)
class RowRange(Generic[T]):
    """Consecutive rows of a request, as part of a call."""

    request: T
    first: int
    rows: int

    @property
    def is_complete(self) -> bool:
        """Whether these are all rows of the request."""
        return self.rows == self.request.table.rows

    @property
    def table(self) -> Mergeable:
        return self.request.table.part(self.first, self.rows)


class BatchQueue(Generic[T]):
    """Requests in the order in which they get their turn."""

    def __init__(self, max_rows: int, max_rows_alone: int) -> None:
        """
        Args:
            max_rows: rows in one call at most.
            max_rows_alone: rows in one call where a single request waits.
        """
        self._max_rows = max_rows
        self._max_rows_alone = max_rows_alone
        self._requests: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[T]:
        return iter(self._requests)

    def append(self, request: T) -> None:
        self._requests.append(request)

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Remove all other requests."""
        self._requests = deque(filter(wanted, self._requests))

    def take(self) -> list[RowRange[T]]:
        """Remove what goes next: the oldest request, with others of its key as far as there is room.

        A request of more rows than any call may have gives as many as there is room for and queues
        again behind the others, so that one caller's ten thousand rows do not hold up other callers.
        """
        most = rows_at_once(self._requests[0].table, self._max_rows) if self._requests else 0
        # A request that waits alone need not be cut small.
        room = most if len(self._requests) > 1 else self._max_rows_alone
        taken: list[RowRange[T]] = []
        skipped: deque[T] = deque()
        unfinished: list[T] = []
        for request in self._requests:
            may_split = room > 0 and request.table.rows > most
            fits = request.rows_left <= room or may_split
            if not fits or request.key != self._requests[0].key:
                skipped.append(request)
                continue
            rows = RowRange(request, request.rows_taken, min(room, request.rows_left))
            taken.append(rows)
            request.rows_taken += rows.rows
            room -= rows.rows
            if request.rows_left:
                unfinished.append(request)
        skipped.extend(unfinished)
        self._requests = skipped
        return taken
