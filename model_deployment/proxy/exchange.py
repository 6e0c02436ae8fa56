"""One request for a model: the gate, then the model, then an answer that callers can read."""

import asyncio
import logging
from collections.abc import Container

from model_deployment.core.errors import ModelDeploymentError, NotReached
from model_deployment.gate import CheckResult, Gate
from model_deployment.proxy import headers, problems, upstream_call
from model_deployment.proxy.answers import UpstreamAnswer, answer_error, valid_json
from model_deployment.proxy.body_reading import receive_body
from model_deployment.proxy.body_reservation import BodyReservation
from model_deployment.proxy.caller_request import CallerGone, CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.held_bytes import SMALL, HeldKind
from model_deployment.proxy.model_connection import ModelConnection
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.outbox import Outbox
from model_deployment.proxy.recorded_request import RecordedRequest
from model_deployment.proxy.relayed_answer import relay_answer
from model_deployment.proxy.route_entry import RouteEntry
from model_deployment.proxy.service import Service, ServiceTarget
from model_deployment.proxy.stream_relay import StreamFailed, StreamRelay
from model_deployment.proxy.upstream import LaunchRemoved, UpstreamCall
from model_deployment.proxy.upstream_call import Unsent, UpstreamRequest
from model_deployment.proxy.validate import Validated, rejection, validate
from model_deployment.proxy.wake_queue import Waiter

_log = logging.getLogger(__name__)
_UNCHECKED = CheckResult()


class Exchange(RecordedRequest):
    """One request, from its first byte to the last one of its answer."""

    def __init__(
        self, context: ExchangeContext, outbox: Outbox, entry: RouteEntry, request: CallerRequest
    ) -> None:
        super().__init__(context, entry, request)
        self._outbox = outbox
        #: Until when it waits for a launch; time of the event loop.
        self._wait_until: float | None = None
        self._body = context.hold(HeldKind.PREDICTION)
        self._held_answer = context.hold(HeldKind.ANSWER)
        #: The caller may still be sending the body.
        self._reading = False
        #: The answer is a stream.
        self._stream: StreamRelay | None = None

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
            self._body.release()
            self._record_failure(error.status)
            if error.status >= 500:
                self._record_error(error)
            if self._reading and not self._request.body_complete:
                await problems.refuse(self._request, error, self._entry.version)
            else:
                problems.respond(self._request, error, self._entry.version)
        except Exception:
            self._record_failure(500)
            self._record_error(problems.INTERNAL_ERROR)
            _log.exception(
                "cannot answer a request for %s", self._entry.route.key, extra=self._log_fields()
            )
            if not self._request.answer_begun:
                problems.respond(self._request, problems.INTERNAL_ERROR, self._entry.version)
        finally:
            self._body.release()
            if self._request.held_answer is None:
                self._held_answer.release()

    async def _predict(self) -> None:
        """Have the deployment answer, once it serves."""
        service = self._entry.service
        if service is not None:
            self._target = service.targets[0]
            with BodyReservation(self._target.upstream) as reservation:
                content = await self._read(reservation)
                validated, request = await self._prepare(service, content)
        elif self._entry.route.waits:
            with BodyReservation(self._entry.wake_queue) as reservation:
                content = await self._read(reservation)
                reservation.resize(len(content))
                service = await self._wait_for_service()
                self._target = service.targets[0]
                with BodyReservation(self._target.upstream):
                    validated, request = await self._prepare(service, content)
        else:
            raise problems.not_ready(self._entry.route)
        gone: set[str | None] = set()
        while True:
            try:
                return await self._ask(self._target, validated, request, gone)
            except NotReached:
                if self._entry.wake_queue.stopped:
                    raise
                # The next launch may have the request: those so far have seen nothing of it.
                with BodyReservation(self._entry.wake_queue) as reservation:
                    reservation.resize(len(request.content))
                    await self._wait_for_service(gone)

    async def _ask(
        self,
        target: ServiceTarget,
        validated: Validated,
        request: UpstreamRequest,
        gone: set[str | None],
    ) -> None:
        """Have the best launch answer. While nothing is sent, the request goes from one to the next.

        Args:
            target: is asked if no launch serves any more: it may still take what came before.
            gone: ids of launches that turned out to be gone; more are added.

        Raises:
            ModelDeploymentError: there is no prediction. Nothing was sent if it is one of ``Unsent``.
        """
        self._target = self._other(gone) or target
        while True:
            try:
                return await self._call(self._target, validated, request)
            except Unsent:
                gone.add(self._target.upstream.launch_id)
                other = self._other(gone)
                if other is None:
                    raise
                self._target = other

    def _other(self, gone: Container[str | None]) -> ServiceTarget | None:
        """The target to be asked now, but none of these."""
        # While the body came, launches may have come and gone.
        newest = self._entry.wake_queue.serving
        return newest.service.choose_but(gone) if newest and newest.service else None

    async def _read(self, reservation: BodyReservation) -> bytes:
        self._reading = True
        content = await receive_body(self._request, self._context, self._body, reservation.add)
        self._reading = False
        return content

    async def _wait_for_service(self, gone: Container[str | None] = ()) -> Service:
        """What serves the deployment, once a launch does that is not gone."""
        waiter: Waiter[RouteEntry] = Waiter(gone)
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
        run_in_turn = self._context.work_turns.run
        validated = await run_in_turn(len(content), validate, gate, media_type, content)
        result = validated.result
        if result.count:
            self._record_violations(result)
            if result.refused:
                raise rejection(self._entry.route.key, result)
        return validated

    async def _call(
        self, target: ServiceTarget, validated: Validated, request: UpstreamRequest
    ) -> None:
        """Call the model and answer; ends early if the caller or the launch is gone."""
        call = UpstreamCall(target.upstream, len(request.content))
        call.answer = self._held_answer
        try:
            with call:
                self._request.watch(call)
                answer = await self._send_upstream(target, call, validated, request)
                if answer is not None:
                    await self._answer(answer, validated)
        except (ModelDeploymentError, LaunchRemoved) as error:
            problem = (
                problems.removed(self._entry.route.key, sent=call.sent)
                if isinstance(error, LaunchRemoved)
                else error
            )
            if not self._request.answer_begun:
                raise problem from None
            if self._stream is not None:
                self._fail_stream(problem)
                return
            # Ending without the last piece makes the server cut the connection, and the caller sees that
            # the answer is incomplete.
            self._note_cut(problem)
        finally:
            self._request.unwatch()

    async def _send_upstream(
        self,
        target: ServiceTarget,
        call: UpstreamCall,
        validated: Validated,
        request: UpstreamRequest,
    ) -> UpstreamAnswer | None:
        """The whole answer, or None if it was passed on already."""
        table, batcher = validated.result.table, target.batcher
        merging = batcher is not None and batcher.merging and not self._entry.counts.unmergeable
        if batcher is not None and merging and table is not None and not request.query:
            return await batcher.predict(table, request, call.mark_sent)

        async def relay(connection: ModelConnection) -> None:
            await self._relay(target, call, connection, validated)

        return await upstream_call.send(target.upstream, call, request, relay)

    async def _answer(self, answer: UpstreamAnswer, validated: Validated) -> None:
        """Send a whole answer to the caller, as valid JSON.

        Raises:
            ModelDeploymentError: it is not a prediction.
        """
        content = answer.content
        large = len(content) > LARGE
        if not answer.successful:
            raise await self._failure(answer, validated)
        if headers.is_json(answer.headers):
            content = await run(large, valid_json, content)
        dialect = self._request.dialect
        written = await run(large, dialect.answer, content)
        replaced = [(b"content-length", b"%d" % len(written))]
        replaced += [headers.STREAM_TYPE] if dialect.streams else []
        raw = headers.without(answer.headers, frozenset(name for name, _ in replaced))
        raw += *replaced, self._entry.version
        self._record_prediction(validated, content)
        if len(written) > SMALL:
            self._held_answer.ensure(len(written))
        if self._request.backed_up:
            await self._wait_for_caller()
        self._request.held_answer = self._held_answer
        self._outbox.put(self._request, answer.status, raw, written)

    async def _failure(self, answer: UpstreamAnswer, validated: Validated) -> ModelDeploymentError:
        """What the caller is told in place of a prediction; the rest goes to the log of the launch."""
        # MLflow repeats the request in its error, which may be as long.
        key, rows = self._entry.route.key, validated.result.rows
        found = await run(len(answer.content) > LARGE, answer_error, key, answer, rows=rows)
        if found.internals:
            self._server_error = found
            name, error = self._request.request_id.decode(), found.error
            text = f"request {name}: answered {error.status} ({error.title}); {found.internals}"
            self._context.log_failure(str(self._launch_id), text)
        return found.error

    async def _wait_for_caller(self) -> None:
        """Wait until the caller has accepted earlier answers."""
        try:
            await self._request.accepted(self._context.caller_timeout)
        except CallerGone:
            if self._context.recorder:
                self._context.recorder.flush()
            raise

    async def _relay(
        self,
        target: ServiceTarget,
        call: UpstreamCall,
        answer: ModelConnection,
        validated: Validated,
    ) -> None:
        """Pass an answer on as it comes, byte for byte."""
        call.stop_clock()
        if headers.is_event_stream(answer.headers):
            await self._relay_stream(target, answer, validated)
            return
        raw = [*answer.headers, self._entry.version]
        timeout = self._context.caller_timeout
        await relay_answer(self._request, answer, raw, self._held_answer, timeout)
        self._record_relayed()

    async def _relay_stream(
        self, target: ServiceTarget, answer: ModelConnection, validated: Validated
    ) -> None:
        """Pass a stream on, frame by frame."""
        request, context = self._request, self._context
        kept_bytes = self._entry.route.options.max_capture_bytes if context.recorder else 0
        hold = self._held_answer.ensure
        stream = StreamRelay(request, context.caller_timeout, kept_bytes=kept_bytes, hold=hold)
        raw = [*answer.headers, self._entry.version]
        try:
            self._stream = stream
            await stream.run(answer, raw, longest=target.upstream.limits.answer_bytes)
        except StreamFailed as failed:
            if failed.answer.status == 504:
                raise TimeoutError from None
            target.upstream.count_answer(failed.answer.status)
            raise await self._failure(failed.answer, validated) from None
        self._record_prediction(validated, stream.joined, stream.unkept)
        if context.recorder:
            context.recorder.flush()
        request.send(request.dialect.end())
        request.end()

    def _fail_stream(self, problem: ModelDeploymentError) -> None:
        """End a stream with an error: it is too late for another status."""
        self._record_failure(problem.status)
        if problem.status >= 500:
            self._record_error(problem)
        self._request.send(self._request.dialect.failure(problem))
        self._request.end()

    def _note_cut(self, problem: ModelDeploymentError) -> None:
        """An answer was begun, so that it is too late for another status."""
        _log.warning("an answer was cut off: %s", problem, extra=self._log_fields())
