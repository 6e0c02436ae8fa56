"""One request for a model: the gate, then the model, then an answer that callers can read."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from time import monotonic

import aiohttp

from model_deployment.core.errors import (
    ModelBroke,
    ModelDeploymentError,
    NotReached,
)
from model_deployment.gate import CheckResult, Gate
from model_deployment.http.asgi import Message, Receive, Scope, Send
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.proxy import headers, problems
from model_deployment.proxy.answers import (
    AnswerError,
    UpstreamAnswer,
    answer_error,
    is_json,
    valid_json,
)
from model_deployment.proxy.body import CallerGone, RequestBody
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.routes import RouteEntry, Service
from model_deployment.proxy.upstream import BodyReservation, LaunchRemoved, UpstreamCall
from model_deployment.proxy.upstream_call import UpstreamRequest, ask
from model_deployment.proxy.validate import Validated, rejection, validate
from model_deployment.proxy.wake_queue import Waiter

_log = logging.getLogger(__name__)

#: Bodies and answers of more bytes than this are looked at in a thread, so that others need not wait.
_LARGE = 256 * 1024
_UNCHECKED = CheckResult()


class Exchange:
    """One request, from its first byte to the last one of its answer."""

    def __init__(
        self,
        terms: ExchangeContext,
        entry: RouteEntry,
        scope: Scope,
        named: Mapping[bytes, bytes],
        request_id: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        self._terms = terms
        self._entry = entry
        self._scope = scope
        self._headers = named
        self._request_id = request_id
        self._receive = receive
        self._send = send
        self._began = monotonic()
        self._media_type = ""
        #: When it has waited long enough for a launch, of the event loop's time.
        self._until: float | None = None
        #: The caller may still be sending the body.
        self._reading = False
        #: Something may have reached the caller, so that it is too late for another status.
        self._answering = False

    async def run(self) -> None:
        """Answer it, whatever happens."""
        try:
            await self._predict()
        except CallerGone:
            return
        except ModelDeploymentError as error:
            self._failed(error.status)
            if self._reading:
                await problems.refuse(self._receive, self._send, error)
            else:
                await problems.respond(self._send, error)
        except Exception:
            self._failed(500)
            _log.exception(
                "cannot answer a request for %s", self._entry.route.key, extra=self._fields()
            )
            if not self._answering:
                await problems.respond(self._send, problems.OUR_FAULT)

    async def _predict(self) -> None:
        if self._scope["method"] != "POST":
            await problems.respond(self._send, problems.NOT_POST)
            return None
        service = self._entry.service
        if service is not None:
            with BodyReservation(service.upstream) as holding:
                body, content = await self._read(holding)
                validated, question = await self._question(service, content)
        elif self._entry.route.waits:
            self._entry.lobby.knock()
            with BodyReservation(self._entry.lobby) as holding:
                body, content = await self._read(holding)
                holding.hold(len(content))
                service = await self._served(body)
                with BodyReservation(service.upstream):
                    validated, question = await self._question(service, content)
        else:
            raise problems.not_ready(self._entry.route)
        while True:
            service.upstream.admit(len(question.content))
            try:
                return await self._call(service, body, validated, question)
            except NotReached:
                if self._entry.lobby.over:
                    raise
                # The next launch may have it: no other has seen anything of it.
                self._entry.lobby.knock()
                with BodyReservation(self._entry.lobby) as holding:
                    holding.hold(len(question.content))
                    service = await self._served(body, but=service.upstream.launch_id)

    async def _read(self, holding: BodyReservation) -> tuple[RequestBody, bytes]:
        declared = content_length(self._headers)
        body = RequestBody(
            self._receive,
            holding,
            declared=declared,
            limit=self._terms.max_body_bytes,
            patience=self._terms.patience,
        )
        self._reading = True
        content = await body.read()
        self._reading = False
        if declared is not None:
            ensure_whole(declared, len(content))
        return body, content

    async def _served(self, body: RequestBody, but: str | None = None) -> Service:
        """What serves the deployment, once that is another launch, and as long as the caller waits."""
        seat: Waiter[RouteEntry] = Waiter(but)
        lobby = self._entry.lobby
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + lobby.patience
        body.watch(seat)
        try:
            self._entry = await lobby.wait(seat, self._until)
        finally:
            body.unwatch()
        assert self._entry.service is not None  # noqa: S101 - that is what was waited for
        return self._entry.service

    async def _question(
        self, service: Service, content: bytes
    ) -> tuple[Validated, UpstreamRequest]:
        """What the gate says, and what it leaves to be asked."""
        media_type, validated = None, Validated(_UNCHECKED, content)
        if service.gate is not None:
            media_type = headers.media_type(self._headers)
            validated = await self._judge(service.gate, media_type, content)
            self._media_type = media_type.decode("ascii")
        question = UpstreamRequest(
            validated.content,
            partial(headers.for_upstream, self._scope["headers"], self._request_id, media_type),
            self._scope["query_string"],
        )
        return validated, question

    async def _judge(self, gate: Gate, media_type: bytes, content: bytes) -> Validated:
        if len(content) > _LARGE:
            validated = await asyncio.to_thread(validate, gate, media_type, content)
        else:
            validated = validate(gate, media_type, content)
        if validated.result.count:
            self._entry.tally.note(validated.result)
            if self._terms.recorder:
                passed = not validated.result.refused
                key, tally = self._entry.route.key, validated.result.tally
                self._terms.recorder.violated(key, tally, passed=passed)
            if validated.result.refused:
                raise rejection(self._entry.route.key, validated.result)
        return validated

    async def _call(
        self, service: Service, body: RequestBody, validated: Validated, question: UpstreamRequest
    ) -> None:
        """Ask the model, for as long as there are a caller and a launch."""
        call = UpstreamCall(service.upstream, len(question.content))
        try:
            with call:
                body.watch(call)
                answer = await self._ask(service, call, validated, question)
                if answer is not None:
                    await self._answer(answer, validated)
        except (ModelDeploymentError, LaunchRemoved) as error:
            problem = self._dropped(call) if isinstance(error, LaunchRemoved) else error
            if not self._answering:
                raise problem from None
            # Too late for another status. Ending without the last piece makes the server cut the
            # connection, and the caller sees that the answer is not whole.
            _log.warning("an answer was cut off: %s", problem, extra=self._fields())
        finally:
            body.unwatch()

    async def _ask(
        self, service: Service, call: UpstreamCall, validated: Validated, question: UpstreamRequest
    ) -> UpstreamAnswer | None:
        """The whole answer, or None if it was passed on already."""
        table, batcher = validated.result.table, service.batcher
        if batcher is not None and batcher.merging and table is not None and not question.query:
            return await batcher.predict(table, question, call.is_sent)
        return await ask(service.upstream, call, question, partial(self._relay, call))

    async def _answer(self, answer: UpstreamAnswer, validated: Validated) -> None:
        """Send a whole answer to the caller, as valid JSON; or say what is wrong with it."""
        if not answer.successful:
            found = await self._refusal(answer, validated.result.rows)
            if found.trace:
                text = f"request {self._request_id.decode()}: {found.trace}"
                self._terms.trace(str(self._launch_id), text)
            raise found.error
        content = answer.content
        if is_json(answer.headers):
            if len(content) > _LARGE:
                content = await asyncio.to_thread(valid_json, content)
            else:
                content = valid_json(content)
        self._predicted(validated, content)
        raw = [header for header in answer.headers if header[0] != b"content-length"]
        raw.append((b"content-length", b"%d" % len(content)))
        self._answering = True
        start = {"type": "http.response.start", "status": answer.status, "headers": raw}
        await self._send_in_time(start, {"type": "http.response.body", "body": content})

    async def _refusal(self, answer: UpstreamAnswer, rows: int | None) -> AnswerError:
        """MLflow repeats what it was sent, so it may be as long."""
        key = self._entry.route.key
        if len(answer.content) > _LARGE:
            return await asyncio.to_thread(answer_error, key, answer, rows=rows)
        return answer_error(key, answer, rows=rows)

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
        if self._terms.recorder:
            self._terms.recorder.relayed(self._entry.route.key, monotonic() - self._began)

    def _predicted(self, validated: Validated, content: bytes) -> None:
        """Have it noted down, before anybody knows the answer."""
        if self._terms.recorder:
            self._terms.recorder.predicted(
                self._entry.route,
                self._request_id.decode("ascii"),
                self._media_type,
                validated.content,
                content,
                validated.result.rows or 0,
                monotonic() - self._began,
            )

    @property
    def _launch_id(self) -> str | None:
        service = self._entry.service
        return service.upstream.launch_id if service else self._entry.route.launch_id

    def _failed(self, status: int) -> None:
        if self._terms.recorder:
            self._terms.recorder.failed(self._entry.route.key, status)

    def _fields(self) -> dict[str, object]:
        route = self._entry.route
        return {
            "model": route.key.model,
            "version": route.key.version,
            "launch_id": self._launch_id,
            "request_id": self._request_id.decode("ascii"),
        }

    async def _send_in_time(self, *messages: Message) -> None:
        try:
            async with asyncio.timeout(self._terms.patience):
                for message in messages:
                    await self._send(message)
        except TimeoutError:
            raise CallerGone from None

    def _dropped(self, call: UpstreamCall) -> ModelDeploymentError:
        key = self._entry.route.key
        if call.sent:
            return ModelBroke(f"cannot get a prediction from {key}: its process was stopped")
        return NotReached(f"cannot predict with {key}: its process was stopped", retry_after=1)
