"""Merges requests that wait while the model is busy: they go together as one call when it returns.

No timer: the first request goes at once, and a lone caller pays nothing. The longer the model takes,
the more arrives meanwhile, and the larger is the next call.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from model_deployment.core.errors import ModelDeploymentError, UpstreamTimeout
from model_deployment.gate import MergeableTable, dumps
from model_deployment.proxy.answers import UpstreamAnswer, answer_of, predictions
from model_deployment.proxy.upstream import LaunchRemoved
from model_deployment.proxy.upstream_call import UpstreamRequest

_log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: Requests of a failed call that are sent alone at a time.
_AGAIN = 8
#: Cells of a merged body, and bytes of an answer, beyond which they are worked on in a thread.
_MANY_CELLS, _LARGE = 50_000, 256 * 1024

#: Sends a question of one's own to the model and returns the whole answer.
Ask = Callable[[UpstreamRequest], Awaitable[UpstreamAnswer]]
#: One body for several tables.
Join = Callable[[list[MergeableTable]], Any]


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """One request. It may go to the model in several pieces."""

    table: MergeableTable
    #: How it is sent alone.
    question: UpstreamRequest
    answer: asyncio.Future[UpstreamAnswer]
    #: Requests of one kind may merge.
    kind: tuple[object, ...]
    #: Told when something of it goes to the model.
    sent: Callable[[], None]
    #: Rows that are with the model, or back from it.
    taken: int = 0
    #: Predictions by the row they begin with.
    parts: dict[int, list[Any]] = field(default_factory=dict)
    #: Bytes of the answers that they came in.
    size: int = 0
    #: Since when it waits for its turn: it came, or something of it went.
    since: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    #: A call it was part of has failed.
    alone: bool = False

    @property
    def left(self) -> int:
        """Rows that have not gone yet."""
        return self.table.rows - self.taken

    def give(self, answer: UpstreamAnswer) -> None:
        """Answer it, if somebody waits for that still."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def refuse(self, error: BaseException) -> None:
        """Fail it, if somebody waits for that still."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class RowRange:
    """Some rows of a job, as part of a call."""

    job: QueuedRequest
    first: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether it is all of the job."""
        return self.size == self.job.table.rows

    @property
    def table(self) -> MergeableTable:
        """Its rows."""
        return self.job.table.part(self.first, self.size)


class Batcher:
    """The queue of one launch."""

    def __init__(
        self,
        ask: Ask,
        join: Join,
        *,
        max_rows: int,
        calls: int,
        patience: float = float("inf"),
        rows_alone: int = 2000,
        turned_off: Callable[[str], None] = lambda why: None,
        counted: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """Merge the calls of one launch.

        Args:
            max_rows: rows in one call at most.
            calls: calls at a time, the server's workers.
            patience: seconds a request may wait for its turn.
            rows_alone: rows in one call where only one request waits, if these are more.
            turned_off: told why, when merging turns out to be wrong for this model.
            counted: told the rows of each merged call.
        """
        self._ask = ask
        self._join = join
        self._max_rows = max_rows
        self._free = calls
        self._patience = patience
        self._rows_alone = max(rows_alone, max_rows)
        #: Of a failed call, so many requests are sent alone at a time: the others go on meanwhile.
        self._again = asyncio.Semaphore(_AGAIN)
        self._turned_off = turned_off
        self._counted = counted
        self._queue: deque[QueuedRequest] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        #: False once an answer could not be taken apart: all go alone from then on.
        self.merging = True

    async def predict(
        self,
        table: MergeableTable,
        question: UpstreamRequest,
        sent: Callable[[], None] = lambda: None,
    ) -> UpstreamAnswer:
        """The answer to one request, made alone or as a part of a call.

        Raises:
            ModelDeploymentError: the model gave none.
        """
        if not self.merging:
            sent()
            return await self._ask(question)
        if self._free and not self._queue and table.rows <= self._rows_alone:
            sent()
            self._free -= 1
            try:
                return await self._ask(question)
            finally:
                self._returned()
        answer: asyncio.Future[UpstreamAnswer] = asyncio.get_running_loop().create_future()
        self._queue.append(QueuedRequest(table, question, answer, table.key, sent))
        self._dispatch()
        # A caller who leaves cancels this future; its rows are skipped, or their answer dropped.
        return await answer

    def _returned(self) -> None:
        self._free += 1
        self._dispatch()

    def _dispatch(self) -> None:
        while self._free and (pieces := self._take()):
            self._free -= 1
            self._start(self._call(pieces))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[RowRange]:
        """What goes next: the oldest request, with others of its kind as far as there is room.

        A request of more rows than fit into any call gives as many as there is room for and queues
        again behind the others, so that one caller's ten thousand rows do not hold up everybody's one.
        """
        waiting = [job for job in self._queue if self._waits(job)]
        # One that nobody waits beside need not be cut small.
        room = self._max_rows if len(waiting) > 1 else self._rows_alone
        pieces: list[RowRange] = []
        others: list[QueuedRequest] = []
        large: list[QueuedRequest] = []
        for job in waiting:
            fits = job.left <= room or (room and job.table.rows > self._max_rows)
            if not fits or job.kind != waiting[0].kind:
                others.append(job)
                continue
            piece = RowRange(job, job.taken, min(room, job.left))
            pieces.append(piece)
            job.taken += piece.size
            job.since = asyncio.get_running_loop().time()
            room -= piece.size
            if job.left:
                large.append(job)
        self._queue = deque(others + large)
        return pieces

    def _waits(self, job: QueuedRequest) -> bool:
        """Whether somebody waits for it still; one who has waited too long is told so."""
        waited = asyncio.get_running_loop().time() - job.since
        if waited > self._patience:
            job.refuse(UpstreamTimeout(f"cannot predict: it waited {waited:.0f} s in vain"))
        return not job.answer.done()

    async def _call(self, pieces: list[RowRange]) -> None:
        try:
            if len(pieces) == 1 and pieces[0].whole:
                await self._alone(pieces[0].job)
            else:
                await self._together(pieces)
        finally:
            self._returned()

    async def _alone(self, job: QueuedRequest) -> None:
        job.sent()
        try:
            job.give(await self._ask(job.question))
        except asyncio.CancelledError:
            job.answer.cancel()
            raise
        except Exception as error:
            job.refuse(error)

    async def _once_more(self, job: QueuedRequest) -> None:
        async with self._again:
            if self._waits(job):
                await self._alone(job)

    def _body(self, pieces: list[RowRange]) -> bytes:
        return dumps(self._join([piece.table for piece in pieces]))

    async def _together(self, pieces: list[RowRange]) -> None:
        rows = sum(piece.size for piece in pieces)
        if len(pieces) > 1:
            self._counted(rows)
        for piece in pieces:
            piece.job.sent()
        try:
            answer, found = await self._ask_together(pieces, rows)
            if found is not None and len(found) == rows:
                await self._deal(pieces, found, answer)
                return
        except asyncio.CancelledError:
            for piece in pieces:
                piece.job.answer.cancel()
            raise
        except LaunchRemoved as error:
            for piece in pieces:
                piece.job.refuse(error)
            return
        except ModelDeploymentError:
            self._each_alone(piece.job for piece in pieces)
            return
        except Exception:
            _log.exception("a merged call failed in the controller itself")
            self._each_alone(piece.job for piece in pieces)
            return
        if answer.successful:
            got = "no list of predictions" if found is None else f"{len(found)} predictions"
            self._turn_off(f"the model answered a call of {rows} rows with {got}")
        self._each_alone(piece.job for piece in pieces)

    async def _ask_together(
        self, pieces: list[RowRange], rows: int
    ) -> tuple[UpstreamAnswer, list[Any] | None]:
        """The answer to one call for all, and the predictions in it."""
        cells = rows * len(pieces[0].job.table.columns)
        content = await _maybe_aside(cells > _MANY_CELLS, self._body, pieces)
        answer = await self._ask(UpstreamRequest(content, _merged_headers))
        if not answer.successful:
            return answer, None
        large = len(answer.content) > _LARGE
        return answer, await _maybe_aside(large, predictions, answer.content)

    async def _deal(self, pieces: list[RowRange], found: list[Any], answer: UpstreamAnswer) -> None:
        # Only the writing may be done in a thread: other calls deal to the same requests.
        whole = _dealt(pieces, found, len(answer.content))
        large = max((job.size for job in whole), default=0) > _LARGE
        contents = await _maybe_aside(large, _contents, whole)
        for job, content in zip(whole, contents, strict=True):
            job.give(UpstreamAnswer(answer.status, answer.headers, content))

    def _turn_off(self, why: str) -> None:
        if self.merging:
            self.merging = False
            self._turned_off(f"micro-batching turned itself off: {why}")
        self._each_alone(list(self._queue))

    def _each_alone(self, jobs: Iterable[QueuedRequest]) -> None:
        """One request of a merged call may have spoilt it for the others: each goes by itself.

        This is the only case in which a request is sent to a model twice. Some go at the same time, so
        that one that hangs holds up no other, and not all, so that those behind them have their turn.
        """
        for job in jobs:
            if not (job.alone or job.answer.done()):
                job.alone = True
                job.since = asyncio.get_running_loop().time()
                self._start(self._once_more(job))
        # The other rows of a large request went with it.
        self._queue = deque(job for job in self._queue if not job.alone)


def _dealt(pieces: list[RowRange], found: list[Any], size: int) -> list[QueuedRequest]:
    """Give each request its own rows of a merged answer; the ones that have all of theirs now."""
    position = 0
    for piece in pieces:
        piece.job.parts[piece.first] = found[position : position + piece.size]
        piece.job.size += size
        position += piece.size
    jobs = [piece.job for piece in pieces]
    return [job for job in jobs if sum(map(len, job.parts.values())) == job.table.rows]


def _contents(jobs: list[QueuedRequest]) -> list[bytes]:
    """The bodies of their answers."""
    return [
        answer_of([row for first in sorted(job.parts) for row in job.parts[first]]) for job in jobs
    ]


async def _maybe_aside(aside: bool, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    """What takes long is done in a thread, so that other requests need not wait for it."""
    if aside:
        return await asyncio.to_thread(work, *given, **named)
    return work(*given, **named)


def _merged_headers() -> list[tuple[str, str]]:
    return [("content-type", "application/json")]
