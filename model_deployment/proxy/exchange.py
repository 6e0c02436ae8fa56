"""One request for a model: the gate, then the model, then an answer that callers can read."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from time import monotonic

import aiohttp

from model_deployment.core.errors import ModelBroke, ModelDeploymentError, NotReached
from model_deployment.gate import CheckResult, Gate
from model_deployment.http.asgi import Message, Receive, Scope, Send
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.proxy import headers, problems, upstream_call
from model_deployment.proxy.answers import UpstreamAnswer, answer_error, is_json, valid_json
from model_deployment.proxy.body import CallerGone, RequestBody
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.routes import RouteEntry, Service
from model_deployment.proxy.upstream import BodyReservation, LaunchRemoved, UpstreamCall
from model_deployment.proxy.upstream_call import UpstreamRequest
from model_deployment.proxy.validate import Validated, rejection, validate
from model_deployment.proxy.wake_queue import Waiter

_log = logging.getLogger(__name__)

_UNCHECKED = CheckResult()


class Exchange:
    """One request, from its first byte to the last one of its answer."""

    def __init__(
        self,
        context: ExchangeContext,
        entry: RouteEntry,
        scope: Scope,
        named: Mapping[bytes, bytes],
        request_id: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        """``named``: the headers in ``scope`` by name."""
        self._context = context
        self._entry = entry
        self._scope = scope
        self._headers = named
        self._request_id = request_id
        self._receive = receive
        self._send = send
        self._began = monotonic()
        self._media_type = ""
        #: Until when it waits for a launch; time of the event loop.
        self._wait_until: float | None = None
        #: The caller may still be sending the body.
        self._reading = False
        #: Something may have reached the caller, so that it is too late for another status.
        self._answering = False

    async def run(self) -> None:
        """Answer the request, whatever happens."""
        try:
            await self._predict()
        except CallerGone:
            return
        except ModelDeploymentError as error:
            self._record_failure(error.status)
            if self._reading:
                await problems.refuse(self._receive, self._send, error)
            else:
                await problems.respond(self._send, error)
        except Exception:
            self._record_failure(500)
            _log.exception(
                "cannot answer a request for %s", self._entry.route.key, extra=self._log_fields()
            )
            if not self._answering:
                await problems.respond(self._send, problems.INTERNAL_ERROR)

    async def _predict(self) -> None:
        if self._scope["method"] != "POST":
            await problems.respond(self._send, problems.NOT_POST)
            return None
        service = self._entry.service
        if service is not None:
            with BodyReservation(service.upstream) as reservation:
                body, content = await self._read(reservation)
                validated, request = await self._prepare(service, content)
        elif self._entry.route.waits:
            self._entry.wake_queue.arrive()
            with BodyReservation(self._entry.wake_queue) as reservation:
                body, content = await self._read(reservation)
                reservation.resize(len(content))
                service = await self._wait_for_service(body)
                with BodyReservation(service.upstream):
                    validated, request = await self._prepare(service, content)
        else:
            raise problems.not_ready(self._entry.route)
        while True:
            service.upstream.admit(len(request.content))
            try:
                return await self._call(service, body, validated, request)
            except NotReached:
                if self._entry.wake_queue.stopped:
                    raise
                # The next launch may have the request: this one has seen nothing of it.
                self._entry.wake_queue.arrive()
                with BodyReservation(self._entry.wake_queue) as reservation:
                    reservation.resize(len(request.content))
                    service = await self._wait_for_service(body, service.upstream.launch_id)

    async def _read(self, reservation: BodyReservation) -> tuple[RequestBody, bytes]:
        declared = content_length(self._headers)
        body = RequestBody(
            self._receive,
            reservation,
            declared=declared,
            limit=self._context.max_body_bytes,
            timeout=self._context.caller_timeout,
        )
        self._reading = True
        content = await body.read()
        self._reading = False
        if declared is not None:
            ensure_whole(declared, len(content))
        return body, content

    async def _wait_for_service(
        self, body: RequestBody, excluded_launch: str | None = None
    ) -> Service:
        """What serves the deployment, once a launch other than the excluded one does."""
        waiter: Waiter[RouteEntry] = Waiter(excluded_launch)
        queue = self._entry.wake_queue
        if self._wait_until is None:
            self._wait_until = asyncio.get_running_loop().time() + queue.timeout
        body.watch(waiter)
        try:
            self._entry = await queue.wait(waiter, self._wait_until)
        finally:
            body.unwatch()
        assert self._entry.service is not None  # noqa: S101 - that is what was waited for
        return self._entry.service

    async def _prepare(self, service: Service, content: bytes) -> tuple[Validated, UpstreamRequest]:
        """Have the gate check the body; what is sent to the model."""
        media_type, validated = None, Validated(_UNCHECKED, content)
        if service.gate is not None:
            media_type = headers.media_type(self._headers)
            validated = await self._validate(service.gate, media_type, content)
            self._media_type = media_type.decode("ascii")
        request = UpstreamRequest(
            validated.content,
            partial(headers.for_upstream, self._scope["headers"], self._request_id, media_type),
            self._scope["query_string"],
        )
        return validated, request

    async def _validate(self, gate: Gate, media_type: bytes, content: bytes) -> Validated:
        validated = await run(len(content) > LARGE, validate, gate, media_type, content)
        result = validated.result
        if result.count:
            self._entry.counts.count_check(result)
            if self._context.recorder:
                key = self._entry.route.key
                self._context.recorder.violated(key, result.tally, passed=not result.refused)
            if result.refused:
                raise rejection(self._entry.route.key, result)
        return validated

    async def _call(
        self, service: Service, body: RequestBody, validated: Validated, request: UpstreamRequest
    ) -> None:
        """Call the model and answer; ends early if the caller or the launch is gone."""
        call = UpstreamCall(service.upstream, len(request.content))
        try:
            with call:
                body.watch(call)
                answer = await self._send_upstream(service, call, validated, request)
                if answer is not None:
                    await self._answer(answer, validated)
        except (ModelDeploymentError, LaunchRemoved) as error:
            problem = self._removed(call) if isinstance(error, LaunchRemoved) else error
            if not self._answering:
                raise problem from None
            # Too late for another status. Ending without the last piece makes the server cut the
            # connection, and the caller sees that the answer is incomplete.
            _log.warning("an answer was cut off: %s", problem, extra=self._log_fields())
        finally:
            body.unwatch()

    async def _send_upstream(
        self, service: Service, call: UpstreamCall, validated: Validated, request: UpstreamRequest
    ) -> UpstreamAnswer | None:
        """The whole answer, or None if it was passed on already."""
        table, batcher = validated.result.table, service.batcher
        if batcher is not None and batcher.merging and table is not None and not request.query:
            return await batcher.predict(table, request, call.mark_sent)
        return await upstream_call.send(service.upstream, call, request, partial(self._relay, call))

    async def _answer(self, answer: UpstreamAnswer, validated: Validated) -> None:
        """Send a whole answer to the caller, as valid JSON.

        Raises:
            ModelDeploymentError: it is not a prediction.
        """
        content = answer.content
        large = len(content) > LARGE
        if not answer.successful:
            # MLflow repeats the request in its error, which may be as long.
            key, rows = self._entry.route.key, validated.result.rows
            found = await run(large, answer_error, key, answer, rows=rows)
            if found.trace:
                text = f"request {self._request_id.decode()}: {found.trace}"
                self._context.log_failure(str(self._launch_id), text)
            raise found.error
        if is_json(answer.headers):
            content = await run(large, valid_json, content)
        self._record_prediction(validated, content)
        raw = [header for header in answer.headers if header[0] != b"content-length"]
        raw.append((b"content-length", b"%d" % len(content)))
        self._answering = True
        start = {"type": "http.response.start", "status": answer.status, "headers": raw}
        await self._send_in_time(start, {"type": "http.response.body", "body": content})

    async def _relay(
        self, call: UpstreamCall, answer: aiohttp.ClientResponse, raw: list[RawHeader]
    ) -> None:
        """Pass an answer on as it comes, byte for byte."""
        call.stop_clock()
        self._answering = True
        start = {"type": "http.response.start", "status": answer.status, "headers": raw}
        await self._send_in_time(start)
        async for piece in answer.content.iter_any():
            message = {"type": "http.response.body", "body": piece, "more_body": True}
            await self._send_in_time(message)
        await self._send_in_time({"type": "http.response.body", "body": b""})
        if self._context.recorder:
            self._context.recorder.relayed(self._entry.route.key, monotonic() - self._began)

    def _record_prediction(self, validated: Validated, content: bytes) -> None:
        """Record the prediction before the caller knows it."""
        if self._context.recorder:
            self._context.recorder.predicted(
                self._entry.route,
                self._request_id.decode("ascii"),
                self._media_type,
                validated.content,
                content,
                validated.result.rows or 0,
                monotonic() - self._began,
            )

    def _record_failure(self, status: int) -> None:
        if self._context.recorder:
            self._context.recorder.failed(self._entry.route.key, status)

    @property
    def _launch_id(self) -> str | None:
        service = self._entry.service
        return service.upstream.launch_id if service else self._entry.route.launch_id

    def _log_fields(self) -> dict[str, object]:
        route = self._entry.route
        return {
            "model": route.key.model,
            "version": route.key.version,
            "launch_id": self._launch_id,
            "request_id": self._request_id.decode("ascii"),
        }

    async def _send_in_time(self, *messages: Message) -> None:
        try:
            async with asyncio.timeout(self._context.caller_timeout):
                for message in messages:
                    await self._send(message)
        except TimeoutError:
            raise CallerGone from None

    def _removed(self, call: UpstreamCall) -> ModelDeploymentError:
        key = self._entry.route.key
        if call.sent:
            return ModelBroke(f"cannot get a prediction from {key}: its process was stopped")
        return NotReached(f"cannot predict with {key}: its process was stopped", retry_after=1)
