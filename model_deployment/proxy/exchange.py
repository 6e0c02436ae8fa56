"""One request for a model: the gate, then the model, then an answer that callers can read."""

import asyncio
import logging
from time import monotonic

from model_deployment.core.errors import ModelBroke, ModelDeploymentError, NotReached
from model_deployment.gate import CheckResult, Gate
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.proxy import headers, problems, upstream_call
from model_deployment.proxy.answers import UpstreamAnswer, answer_error, valid_json
from model_deployment.proxy.caller_request import CallerGone, CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.model_connection import ModelConnection
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.outbox import Outbox
from model_deployment.proxy.route_entry import RouteEntry, Service
from model_deployment.proxy.upstream import BodyReservation, LaunchRemoved, UpstreamCall
from model_deployment.proxy.upstream_call import UpstreamRequest
from model_deployment.proxy.validate import Validated, rejection, validate
from model_deployment.proxy.wake_queue import Waiter

_log = logging.getLogger(__name__)

_UNCHECKED = CheckResult()


class Exchange:
    """One request, from its first byte to the last one of its answer."""

    #: The endpoint that was asked; empty if it was the deployment itself.
    endpoint = ""

    def __init__(
        self, context: ExchangeContext, outbox: Outbox, entry: RouteEntry, request: CallerRequest
    ) -> None:
        self._context = context
        self._outbox = outbox
        self._entry = entry
        self._request = request
        self._began = monotonic()
        self._media_type = b""
        #: Until when it waits for a launch; time of the event loop.
        self._wait_until: float | None = None
        #: The caller may still be sending the body.
        self._reading = False

    async def run(self) -> None:
        """Answer the request, whatever happens."""
        try:
            if self._request.method == "POST":
                await self._predict()
            else:
                problems.respond(self._request, problems.NOT_POST)
        except CallerGone:
            return
        except ModelDeploymentError as error:
            self._record_failure(error.status)
            if self._reading:
                await problems.refuse(self._request, error, self._entry.version)
            else:
                problems.respond(self._request, error, self._entry.version)
        except Exception:
            self._record_failure(500)
            _log.exception(
                "cannot answer a request for %s", self._entry.route.key, extra=self._log_fields()
            )
            if not self._request.answer_begun:
                problems.respond(self._request, problems.INTERNAL_ERROR, self._entry.version)

    async def _predict(self) -> None:
        """Have the deployment answer, once it serves."""
        service = self._entry.service
        if service is not None:
            with BodyReservation(service.upstream) as reservation:
                content = await self._read(reservation)
                validated, request = await self._prepare(service, content)
        elif self._entry.route.waits:
            with BodyReservation(self._entry.wake_queue) as reservation:
                content = await self._read(reservation)
                reservation.resize(len(content))
                service = await self._wait_for_service()
                with BodyReservation(service.upstream):
                    validated, request = await self._prepare(service, content)
        else:
            raise problems.not_ready(self._entry.route)
        while True:
            try:
                return await self._call(service, validated, request)
            except NotReached:
                if self._entry.wake_queue.stopped:
                    raise
                # The next launch may have the request: this one has seen nothing of it.
                with BodyReservation(self._entry.wake_queue) as reservation:
                    reservation.resize(len(request.content))
                    service = await self._wait_for_service(service.upstream.launch_id)

    async def _read(self, reservation: BodyReservation) -> bytes:
        declared = content_length(self._request.named)
        self._reading = True
        content = await self._request.read(
            declared=declared,
            limit=self._context.max_body_bytes,
            timeout=self._context.caller_timeout,
            hold=reservation.add,
        )
        self._reading = False
        if declared is not None:
            ensure_whole(declared, len(content))
        return content

    async def _wait_for_service(self, excluded_launch: str | None = None) -> Service:
        """What serves the deployment, once a launch other than the excluded one does."""
        waiter: Waiter[RouteEntry] = Waiter(excluded_launch)
        queue = self._entry.wake_queue
        if self._wait_until is None:
            self._wait_until = asyncio.get_running_loop().time() + queue.timeout
        self._request.watch(waiter)
        try:
            self._entry = await queue.wait(waiter, self._wait_until)
        finally:
            self._request.unwatch()
        assert self._entry.service is not None  # noqa: S101 - that is what was waited for
        return self._entry.service

    async def _prepare(self, service: Service, content: bytes) -> tuple[Validated, UpstreamRequest]:
        """Have the gate check the body; what is sent to the model."""
        request, media_type, validated = self._request, None, Validated(_UNCHECKED, content)
        if service.gate is not None:
            self._media_type = media_type = headers.media_type(request.named)
            validated = await self._validate(service.gate, media_type, content)

        def lines() -> bytes:
            return headers.for_upstream(request.headers, request.request_id, media_type)

        return validated, UpstreamRequest(validated.content, lines, request.query)

    async def _validate(self, gate: Gate, media_type: bytes, content: bytes) -> Validated:
        validated = await run(len(content) > LARGE, validate, gate, media_type, content)
        result = validated.result
        if result.count:
            self._record_violations(result)
            if result.refused:
                raise rejection(self._entry.route.key, result)
        return validated

    async def _call(self, service: Service, validated: Validated, request: UpstreamRequest) -> None:
        """Call the model and answer; ends early if the caller or the launch is gone."""
        call = UpstreamCall(service.upstream, len(request.content))
        try:
            with call:
                self._request.watch(call)
                answer = await self._send_upstream(service, call, validated, request)
                if answer is not None:
                    await self._answer(answer, validated)
        except (ModelDeploymentError, LaunchRemoved) as error:
            problem = self._removed(call) if isinstance(error, LaunchRemoved) else error
            if not self._request.answer_begun:
                raise problem from None
            # Ending without the last piece makes the server cut the connection, and the caller sees that
            # the answer is incomplete.
            self._note_cut(problem)
        finally:
            self._request.unwatch()

    async def _send_upstream(
        self, service: Service, call: UpstreamCall, validated: Validated, request: UpstreamRequest
    ) -> UpstreamAnswer | None:
        """The whole answer, or None if it was passed on already."""
        table, batcher = validated.result.table, service.batcher
        if batcher is not None and batcher.merging and table is not None and not request.query:
            return await batcher.predict(table, request, call.mark_sent)

        async def relay(connection: ModelConnection) -> None:
            await self._relay(call, connection)

        return await upstream_call.send(service.upstream, call, request, relay)

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
                text = f"request {self._request.request_id.decode()}: {found.trace}"
                self._context.log_failure(str(self._launch_id), text)
            raise found.error
        if headers.is_json(answer.headers):
            content = await run(large, valid_json, content)
        raw = [header for header in answer.headers if header[0] != b"content-length"]
        raw += (b"content-length", b"%d" % len(content)), self._entry.version
        self._record_prediction(validated, content)
        if self._request.backed_up:
            await self._wait_for_caller()
        self._outbox.put(self._request, answer.status, raw, content)

    async def _wait_for_caller(self) -> None:
        """Wait until the caller has accepted earlier answers."""
        try:
            await self._request.accepted(self._context.caller_timeout)
        except CallerGone:
            if self._context.recorder:
                self._context.recorder.flush()
            raise

    async def _relay(self, call: UpstreamCall, answer: ModelConnection) -> None:
        """Pass an answer on as it comes, byte for byte."""
        call.stop_clock()
        request, timeout = self._request, self._context.caller_timeout
        await request.accepted(timeout)
        request.begin(answer.status, [*answer.headers, self._entry.version])
        async for piece in answer.pieces():
            request.send(piece)
            await request.accepted(timeout)
        request.end()
        self._record_relayed()

    def _note_cut(self, problem: ModelDeploymentError) -> None:
        """An answer was begun, so that it is too late for another status."""
        _log.warning("an answer was cut off: %s", problem, extra=self._log_fields())

    def _record_violations(self, result: CheckResult) -> None:
        self._entry.counts.count_check(result)
        if self._context.recorder:
            key = self._entry.route.key
            self._context.recorder.violated(key, result.tally, passed=not result.refused)

    def _record_relayed(self) -> None:
        if self._context.recorder:
            self._context.recorder.relayed(self._entry.route.key, monotonic() - self._began)

    def _record_prediction(self, validated: Validated, content: bytes) -> None:
        """Record the prediction before the caller knows it."""
        if self._context.recorder:
            self._context.recorder.predicted(
                self._entry.route,
                self._request.request_id.decode("ascii"),
                self._media_type.decode("ascii"),
                validated.content,
                content,
                validated.result.rows or 0,
                monotonic() - self._began,
                self.endpoint,
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
            "request_id": self._request.request_id.decode("ascii"),
        }

    def _removed(self, call: UpstreamCall) -> ModelDeploymentError:
        key = self._entry.route.key
        if call.sent:
            return ModelBroke(f"cannot get a prediction from {key}: its process was stopped")
        return NotReached(f"cannot predict with {key}: its process was stopped", retry_after=1)
