"""Copies of requests for candidates: sent after the caller has its answer, one at a time.

A copy can neither delay nor fail a caller. What does not fit into the queue, or meets a candidate that is
busy or does not serve, is dropped and counted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

import orjson

from model_deployment.core.answer_shape import NULL, SHAPE, lacks_values, same_shape, unwrapped
from model_deployment.core.errors import ModelDeploymentError, TooBusy
from model_deployment.proxy import headers, upstream_call
from model_deployment.proxy.answers import UpstreamAnswer, answer_error, valid_json
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.endpoint_table import EndpointEntry
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.rollout_counter import REFUSED, RequestOutcome
from model_deployment.proxy.route_entry import RouteEntry
from model_deployment.proxy.service import Service, ServiceTarget
from model_deployment.proxy.upstream import LaunchRemoved, UpstreamCall
from model_deployment.proxy.upstream_call import UpstreamRequest
from model_deployment.proxy.validate import rejection, validate

_log = logging.getLogger(__name__)

#: Copies that wait, and bytes of their bodies and of the champion's answers.
_MOST, _MOST_BYTES = 64, 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RequestCopy:
    """A request that the champion has answered."""

    endpoint: EndpointEntry
    request_id: bytes
    headers: list[RawHeader]
    named: Mapping[bytes, bytes]
    query: bytes
    content: bytes
    #: What became of it.
    champion: RequestOutcome
    #: What the champion said; None if it is not known.
    said: bytes | None
    route_key: bytes | None

    @property
    def size(self) -> int:
        return len(self.content) + len(self.said or b"")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content: bytes = b""
    failure: str = ""


class Shadows:
    """The queue of copies of one proxy."""

    def __init__(
        self, context: ExchangeContext, *, most: int = _MOST, most_bytes: int = _MOST_BYTES
    ) -> None:
        """
        Args:
            most: copies that may wait.
            most_bytes: bytes of their bodies.
        """
        self._context = context
        self._most = most
        self._most_bytes = most_bytes
        self._queue: deque[RequestCopy] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def offer(self, copy: RequestCopy) -> None:
        """Send a copy when it is its turn, or drop it."""
        size = copy.size
        if len(self._queue) >= self._most or self._bytes + size > self._most_bytes:
            _drop(copy)
            return
        self._queue.append(copy)
        self._bytes += size
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_all())

    def close(self) -> None:
        """Send no more copies."""
        self._queue.clear()
        self._bytes = 0
        if self._task is not None:
            self._task.cancel()

    async def _send_all(self) -> None:
        try:
            while self._queue:
                copy = self._queue.popleft()
                self._bytes -= copy.size
                try:
                    await self._send(copy)
                except Exception:
                    _log.exception("cannot send the copy of a request")
                    _drop(copy)
                await asyncio.sleep(0)  # callers go first
        finally:
            self._task = None

    async def _send(self, copy: RequestCopy) -> None:
        candidate = copy.endpoint.candidate
        service = None if candidate is None else candidate.service
        target = None if service is None else service.choose()
        if candidate is None or service is None or target is None or target.upstream.callers:
            _drop(copy)
            return
        began = monotonic()
        try:
            answer = await self._answer(copy, candidate, service, target)
        except (LaunchRemoved, TooBusy):
            _drop(copy)
            return
        seconds = monotonic() - began
        if copy.said is not None and not answer.failure:
            large = len(copy.said) + len(answer.content) > LARGE
            failure = await run(large, _unreadable, copy.said, answer.content)
            answer = _Answer(answer.status, answer.content, failure)
        route = copy.endpoint.route
        if copy.endpoint.counter is not None:
            outcome = RequestOutcome(seconds, answer.failure)
            copy.endpoint.counter.compare(route.stage, copy.champion, outcome, copy.route_key)
        if self._context.recorder:
            self._context.recorder.shadowed(
                candidate.route,
                route.rollout,
                copy.request_id.decode("ascii"),
                answer.content,
                answer.status,
                seconds,
                target.upstream.launch_id,
            )

    async def _answer(
        self, copy: RequestCopy, candidate: RouteEntry, service: Service, target: ServiceTarget
    ) -> _Answer:
        key, media_type, content, rows = candidate.route.key, None, copy.content, None
        if service.gate is not None:
            try:
                media_type = headers.media_type(copy.named)
                checked = await run(
                    len(content) > LARGE, validate, service.gate, media_type, content
                )
                if checked.result.refused:
                    raise rejection(key, checked.result)
            except ModelDeploymentError as error:
                return _Answer(error.status, failure=REFUSED)
            content, rows = checked.content, checked.result.rows

        def lines() -> bytes:
            return headers.for_upstream(copy.headers, copy.request_id, media_type)

        request = UpstreamRequest(content, lines, copy.query)
        with UpstreamCall(target.upstream, callers=0) as call:
            try:
                found = await upstream_call.send(target.upstream, call, request)
                assert found is not None  # noqa: S101 - only a relay makes it None
            except TooBusy:
                raise
            except ModelDeploymentError as error:
                return _Answer(error.status, failure=str(error.status))
        return await self._read(copy, candidate, target, found, rows)

    async def _read(
        self,
        copy: RequestCopy,
        candidate: RouteEntry,
        target: ServiceTarget,
        answer: UpstreamAnswer,
        rows: int | None,
    ) -> _Answer:
        large = len(answer.content) > LARGE
        if not answer.successful:
            found = await run(large, answer_error, candidate.route.key, answer, rows=rows)
            if found.internals:
                text = f"copy of request {copy.request_id.decode()}: {found.internals}"
                self._context.log_failure(str(target.upstream.launch_id), text)
            return _Answer(found.error.status, failure=str(found.error.status))
        content = answer.content
        if headers.is_json(answer.headers):
            content = await run(large, valid_json, content)
        return _Answer(answer.status, content)


def _unreadable(champion: bytes, candidate: bytes) -> str:
    """Why callers of the champion could not use the candidate's answer; empty if they could."""
    try:
        expected = unwrapped(orjson.loads(champion))
    except ValueError:
        return ""
    try:
        found = unwrapped(orjson.loads(candidate))
    except ValueError:
        return SHAPE
    if not same_shape(expected, found):
        return SHAPE
    return NULL if lacks_values(expected, found) else ""


def _drop(copy: RequestCopy) -> None:
    if copy.endpoint.counter is not None:
        copy.endpoint.counter.drop(copy.endpoint.route.stage)
