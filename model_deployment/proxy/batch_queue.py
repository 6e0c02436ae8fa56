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
    """The rows of one request."""

    table: Mergeable
    #: Requests with equal keys may be merged.
    key: tuple[object, ...]


T = TypeVar("T", bound=QueuedRows)


class BatchQueue(Generic[T]):
    """Requests in the order in which they get their turn."""

    def __init__(self, max_rows: int) -> None:
        """``max_rows``: rows in one call at most."""
        self._max_rows = max_rows
        self._requests: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[T]:
        return iter(self._requests)

    def fits(self, table: Mergeable) -> bool:
        """Whether a merged call may have so many rows. A request of more gains nothing by others."""
        return table.rows <= rows_at_once(table, self._max_rows)

    def append(self, request: T) -> None:
        """Add a request that fits."""
        self._requests.append(request)

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Remove all other requests."""
        self._requests = deque(filter(wanted, self._requests))

    def take(self) -> list[T]:
        """Remove what goes next: the oldest request, with others of its key as far as there is room."""
        if not self._requests:
            return []
        oldest = self._requests.popleft()
        room = rows_at_once(oldest.table, self._max_rows) - oldest.table.rows
        taken, left = [oldest], deque[T]()
        for request in self._requests:
            if request.key == oldest.key and request.table.rows <= room:
                taken.append(request)
                room -= request.table.rows
            else:
                left.append(request)
        self._requests = left
        return taken
