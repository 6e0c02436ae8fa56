"""Merges requests that wait while the model is busy: they go together as one call when it returns.

There is no timer: the first request goes at once, and a lone caller pays nothing. The longer the model
takes, the more requests arrive meanwhile, and the larger is the next call.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from model_deployment.core.errors import ModelDeploymentError, UpstreamTimeout
from model_deployment.gate import Mergeable, MergeableTensors, dumps
from model_deployment.proxy import packed_rows
from model_deployment.proxy.answers import UpstreamAnswer, answer_of, predictions
from model_deployment.proxy.batch_queue import BatchQueue, QueuedRows
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
    #: Called when it goes to the model.
    on_sent: Callable[[], None]
    #: When it came, or went; time of the event loop.
    waiting_since: float
    #: A call that it was part of has failed, so it is sent alone.
    retried: bool = False

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
        on_turned_off: Callable[[str], None] = lambda why: None,
        on_merged: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """
        Args:
            max_rows: rows in one merged call at most. A request of more goes whole and at once.
            max_calls: calls at the same time, one for each worker of the model.
            queue_timeout: seconds a request may wait for its turn.
            on_turned_off: called with the reason when merging turns out to be wrong for this model.
            on_merged: called with the rows of each merged call.
        """
        self._send = send
        self._join = join
        self._free_calls = max_calls
        self._queue_timeout = queue_timeout
        self._queue = BatchQueue[QueuedRequest](max_rows)
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
        if not self.merging or not self._queue.fits(table):
            on_sent()
            return await self._send(request)
        if self._free_calls and not self._queue:
            on_sent()
            self._free_calls -= 1
            try:
                return await self._send_lone(table, request)
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
            if not (requests := self._queue.take()):
                return
            for one in requests:
                one.waiting_since = _now()
            self._free_calls -= 1
            self._start(self._call(requests))

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

    async def _call(self, requests: list[QueuedRequest]) -> None:
        try:
            if len(requests) == 1:
                one = requests[0]
                await self._send_alone(one, self._send_lone(one.table, one.request))
            else:
                await self._send_merged(requests)
        finally:
            self._call_ended()

    async def _send_lone(self, table: Mergeable, request: UpstreamRequest) -> UpstreamAnswer:
        """Have one request answered. Tensors go as bytes, which the model's process reads in no time."""
        if self._packs and isinstance(table, MergeableTensors):
            large = table.cells > _MANY_CELLS
            content = await run(large, lambda: packed_rows.body_of([packed_rows.packed(table)]))
            if content is not None:
                answer = await self._send_packed(content)
                # Of a failure the model's server tells the reason as it would tell any caller.
                if answer.successful or answer.status == 504:
                    return answer
        return await self._send(request)

    async def _send_alone(self, request: QueuedRequest, sent: Awaitable[UpstreamAnswer]) -> None:
        request.on_sent()
        try:
            request.resolve(await sent)
        except asyncio.CancelledError:
            request.answer.cancel()
            raise
        except Exception as error:
            request.fail(error)

    async def _send_merged(self, requests: list[QueuedRequest]) -> None:
        for request in requests:
            request.on_sent()
        try:
            if await self._predict_merged(requests):
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

    async def _predict_merged(self, requests: list[QueuedRequest]) -> bool:
        """Make one call for all; False if its answer does not serve, so that each has to go alone."""
        rows = sum(one.table.rows for one in requests)
        self._on_merged(rows)
        answer = await self._send_joined([one.table for one in requests])
        if not answer.successful:
            return False
        large = len(answer.content) > LARGE
        found = await run(large, predictions, answer.content)
        if found is None or len(found) != rows:
            got = "no list of predictions" if found is None else f"{len(found)} predictions"
            self._turn_off(f"the model answered a call of {rows} rows with {got}")
            return False
        contents = await run(large, _contents, requests, found)
        for request, content in zip(requests, contents, strict=True):
            request.resolve(UpstreamAnswer(answer.status, answer.headers, content))
        return True

    async def _send_joined(self, tables: list[Mergeable]) -> UpstreamAnswer:
        large = sum(one.cells for one in tables) > _MANY_CELLS
        if self._packs and (content := await run(large, packed_rows.body_of, tables)) is not None:
            answer = await self._send_packed(content)
            if answer.status != 415:
                return answer
        content = await run(large, self._body, tables)
        return await self._send(UpstreamRequest(content, lambda: _JSON_LINE))

    async def _send_packed(self, content: bytes) -> UpstreamAnswer:
        answer = await self._send(UpstreamRequest(content, lambda: packed_rows.HEADERS))
        if answer.status == 415:
            self._packs = False  # MLflow's own server, or the worker of an earlier release
        return answer

    def _body(self, tables: list[Mergeable]) -> bytes:
        return dumps(self._join(tables))

    def _turn_off(self, why: str) -> None:
        if self.merging:
            self.merging = False
            self._on_turned_off(f"batching was turned off: {why}")
        self._retry_alone(list(self._queue))

    def _retry_alone(self, requests: Iterable[QueuedRequest]) -> None:
        """Send each request by itself, since one may have spoilt the call for the others.

        Several go at the same time, so that a request that hangs holds up no other; not all, so that
        those behind have their turn.
        """
        for request in requests:
            if not (request.retried or request.answer.done()):
                request.retried = True
                request.waiting_since = _now()
                self._start(self._retry(request))
        self._queue.keep(lambda request: not request.retried)

    async def _retry(self, request: QueuedRequest) -> None:
        async with self._retries:
            if self._is_waiting(request):
                await self._send_alone(request, self._send(request.request))


def _contents(requests: list[QueuedRequest], found: list[Any]) -> list[bytes]:
    """The bodies of their answers, of the predictions for all rows."""
    contents, start = [], 0
    for one in requests:
        contents.append(answer_of(found[start : start + one.table.rows]))
        start += one.table.rows
    return contents


def _now() -> float:
    return asyncio.get_running_loop().time()
