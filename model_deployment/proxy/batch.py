"""Merges requests that wait while the model is busy: they go together as one call when it returns.

There is no timer: the first request goes at once, and a lone caller pays nothing. The longer the model
takes, the more requests arrive meanwhile, and the larger is the next call.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from model_deployment.core.errors import ModelDeploymentError, UpstreamTimeout
from model_deployment.gate import Mergeable, dumps
from model_deployment.proxy import packed_rows
from model_deployment.proxy.answers import UpstreamAnswer, answer_of, predictions
from model_deployment.proxy.batch_queue import BatchQueue, QueuedRows, RowRange
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.upstream import LaunchRemoved
from model_deployment.proxy.upstream_call import Unsent, UpstreamRequest

_log = logging.getLogger(__name__)

#: Requests of failed calls that are sent alone at the same time.
_RETRIES_AT_ONCE = 8
#: Cells of a merged body beyond which it is written in a thread.
_MANY_CELLS = 50_000

_JSON_LINE = b"content-type: application/json\r\n"

#: Sends a request to the model and returns the whole answer.
Send = Callable[[UpstreamRequest], Awaitable[UpstreamAnswer]]
#: Makes one body of the rows of several requests.
Join = Callable[[list[Mergeable]], Any]


@dataclass(slots=True, eq=False, kw_only=True)
class QueuedRequest(QueuedRows):
    #: What is sent if the request goes alone.
    request: UpstreamRequest
    answer: asyncio.Future[UpstreamAnswer]
    #: Called when some of its rows go to the model.
    on_sent: Callable[[], None]
    #: When it came, or some of its rows went; time of the event loop.
    waiting_since: float
    #: Predictions by the row they begin with.
    parts: dict[int, list[Any]] = field(default_factory=dict)
    #: Bytes of the answers that the parts came in.
    answer_bytes: int = 0
    #: A call that it was part of has failed, so it is sent alone.
    retried: bool = False

    @property
    def is_predicted(self) -> bool:
        """Whether there are predictions for all rows."""
        return sum(map(len, self.parts.values())) == self.table.rows

    def resolve(self, answer: UpstreamAnswer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher:
    """Merges the requests for one launch."""

    def __init__(
        self,
        send: Send,
        join: Join,
        *,
        max_rows: int,
        max_calls: int,
        queue_timeout: float = float("inf"),
        max_rows_alone: int = 2000,
        on_turned_off: Callable[[str], None] = lambda why: None,
        on_merged: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """
        Args:
            max_rows: rows in one call at most.
            max_calls: calls at the same time, one for each worker of the model.
            queue_timeout: seconds a request may wait for its turn.
            max_rows_alone: rows in one call where only one request waits, if more than ``max_rows``.
            on_turned_off: called with the reason when merging turns out to be wrong for this model.
            on_merged: called with the rows of each merged call.
        """
        self._send = send
        self._join = join
        self._free_calls = max_calls
        self._queue_timeout = queue_timeout
        self._max_rows_alone = max(max_rows_alone, max_rows)
        self._queue = BatchQueue[QueuedRequest](max_rows, self._max_rows_alone)
        #: Limits retries, so that other requests go on meanwhile.
        self._retries = asyncio.Semaphore(_RETRIES_AT_ONCE)
        self._on_turned_off = on_turned_off
        self._on_merged = on_merged
        self._tasks: set[asyncio.Task[None]] = set()
        #: False once the model server has refused tensors that are not JSON.
        self._packs = True
        #: False once an answer could not be split by rows: from then on each request goes alone.
        self.merging = True

    async def predict(
        self,
        table: Mergeable,
        request: UpstreamRequest,
        on_sent: Callable[[], None] = lambda: None,
    ) -> UpstreamAnswer:
        """The answer to one request, sent alone or as part of a call.

        Raises:
            ModelDeploymentError: the model gave none.
        """
        if not self.merging:
            on_sent()
            return await self._send(request)
        if self._free_calls and not self._queue and table.rows <= self._max_rows_alone:
            on_sent()
            self._free_calls -= 1
            try:
                return await self._send(request)
            finally:
                self._call_ended()
        # Here, and not when the call is made, so that it need not be done for all requests at once.
        if packed_rows.may_be_packed(table):
            table = await run(table.cells > _MANY_CELLS, packed_rows.packed, table)
            if not self.merging:
                on_sent()
                return await self._send(request)
        answer: asyncio.Future[UpstreamAnswer] = asyncio.get_running_loop().create_future()
        self._queue.append(
            QueuedRequest(
                table,
                table.key,
                request=request,
                answer=answer,
                on_sent=on_sent,
                waiting_since=_now(),
            )
        )
        self._dispatch()
        # A caller who leaves cancels this future; its rows are skipped, or their answer dropped.
        return await answer

    def _call_ended(self) -> None:
        self._free_calls += 1
        self._dispatch()

    def _dispatch(self) -> None:
        while self._free_calls and self._queue:
            self._queue.keep(self._is_waiting)
            if not (ranges := self._queue.take()):
                return
            for one in ranges:
                one.request.waiting_since = _now()
            self._free_calls -= 1
            self._start(self._call(ranges))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_waiting(self, request: QueuedRequest) -> bool:
        """Whether its caller still waits; a request that has waited too long fails here."""
        waited = _now() - request.waiting_since
        if waited > self._queue_timeout:
            request.fail(
                UpstreamTimeout(
                    f"cannot predict: no worker of the model became free within {waited:.0f} s"
                )
            )
        return not request.answer.done()

    async def _call(self, ranges: list[RowRange[QueuedRequest]]) -> None:
        try:
            if len(ranges) == 1 and ranges[0].is_complete:
                await self._send_alone(ranges[0].request)
            else:
                await self._send_merged(ranges)
        finally:
            self._call_ended()

    async def _send_alone(self, request: QueuedRequest) -> None:
        request.on_sent()
        try:
            request.resolve(await self._send(request.request))
        except asyncio.CancelledError:
            request.answer.cancel()
            raise
        except Exception as error:
            request.fail(error)

    async def _send_merged(self, ranges: list[RowRange[QueuedRequest]]) -> None:
        requests = [one.request for one in ranges]
        for request in requests:
            request.on_sent()
        try:
            if await self._predict_merged(ranges):
                return
        except asyncio.CancelledError:
            for request in requests:
                request.answer.cancel()
            raise
        except (LaunchRemoved, *Unsent) as error:  # another target may have them
            for request in requests:
                request.fail(error)
            return
        except ModelDeploymentError:
            pass
        except Exception:
            _log.exception("a merged call failed in the controller itself")
        self._retry_alone(requests)

    async def _predict_merged(self, ranges: list[RowRange[QueuedRequest]]) -> bool:
        """Make one call for all; False if its answer does not serve, so that each has to go alone."""
        rows = sum(one.rows for one in ranges)
        if len(ranges) > 1:
            self._on_merged(rows)
        answer = await self._send_joined([one.table for one in ranges])
        if not answer.successful:
            return False
        found = await run(len(answer.content) > LARGE, predictions, answer.content)
        if found is None or len(found) != rows:
            got = "no list of predictions" if found is None else f"{len(found)} predictions"
            self._turn_off(f"the model answered a call of {rows} rows with {got}")
            return False
        # Only the writing may be done in a thread: other calls deal to the same requests.
        predicted = _deal(ranges, found, len(answer.content))
        large = any(request.answer_bytes > LARGE for request in predicted)
        contents = await run(large, _contents, predicted)
        for request, content in zip(predicted, contents, strict=True):
            request.resolve(UpstreamAnswer(answer.status, answer.headers, content))
        return True

    async def _send_joined(self, tables: list[Mergeable]) -> UpstreamAnswer:
        large = sum(one.cells for one in tables) > _MANY_CELLS
        if self._packs and (content := await run(large, packed_rows.body_of, tables)) is not None:
            answer = await self._send(UpstreamRequest(content, lambda: packed_rows.HEADERS))
            if answer.status != 415:
                return answer
            self._packs = False  # MLflow's own server, or the worker of an earlier release
        content = await run(large, self._body, tables)
        return await self._send(UpstreamRequest(content, lambda: _JSON_LINE))

    def _body(self, tables: list[Mergeable]) -> bytes:
        return dumps(self._join(tables))

    def _turn_off(self, why: str) -> None:
        if self.merging:
            self.merging = False
            self._on_turned_off(f"batching was turned off: {why}")
        self._retry_alone(list(self._queue))

    def _retry_alone(self, requests: Iterable[QueuedRequest]) -> None:
        """Send each request by itself, since one may have spoilt the call for the others.

        This is the only case in which a request is sent to a model twice. Several go at the same time,
        so that a request that hangs holds up no other; not all, so that those behind have their turn.
        """
        for request in requests:
            if not (request.retried or request.answer.done()):
                request.retried = True
                request.waiting_since = _now()
                self._start(self._retry(request))
        # The rows of a large request that still wait here went with it.
        self._queue.keep(lambda request: not request.retried)

    async def _retry(self, request: QueuedRequest) -> None:
        async with self._retries:
            if self._is_waiting(request):
                await self._send_alone(request)


def _deal(
    ranges: list[RowRange[QueuedRequest]], found: list[Any], size: int
) -> list[QueuedRequest]:
    """Give each request its own predictions of an answer of ``size`` bytes; those now complete."""
    start = 0
    for one in ranges:
        one.request.parts[one.first] = found[start : start + one.rows]
        one.request.answer_bytes += size
        start += one.rows
    return [one.request for one in ranges if one.request.is_predicted]


def _contents(requests: list[QueuedRequest]) -> list[bytes]:
    """The bodies of their answers."""
    return [
        answer_of([row for _, part in sorted(request.parts.items()) for row in part])
        for request in requests
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()
