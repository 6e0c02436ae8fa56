"""Checks every request before the application: canonical path, access rights, size of the body."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from model_deployment.api import problems
from model_deployment.core.errors import (
    BodyTimeout,
    ModelDeploymentError,
    NonCanonicalPath,
    PayloadTooLarge,
    TooManyBodies,
)
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.http.paths import NON_CANONICAL, is_canonical
from model_deployment.proxy.held_bytes import UNCOUNTED, HeldBytes, HeldKind, Holding, Pace

Message = MutableMapping[str, Any]

_SECURITY_HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_CSP = b"content-security-policy"
#: For answers of the API; the dashboard's pages have a policy of their own.
_API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
#: For the pages that FastAPI makes, which start with an inline script.
_DOCS_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)
#: Seconds that a caller may go on sending a body which is refused.
_LINGER = 2.0
#: A member of the scope of a request whose answer is sent without its body.
BODILESS = "model_deployment.bodiless"
App = Callable[..., Awaitable[None]]


class Guard:
    """ASGI middleware."""

    def __init__(
        self,
        app: App,
        *,
        max_body_bytes: int,
        max_held_bytes: int = 256 * 1024 * 1024,
        patience: float = 30.0,
        body_timeout: float = 60.0,
        authorise: Callable[[Message], int | None],
        reads_body: Callable[[Message], bool] = lambda scope: False,
    ) -> None:
        """Guard an application.

        Args:
            max_held_bytes: bytes of all bodies that are held. Proxies have counted and timed them already,
                but a proxy of the release before has not, nor has a caller who uses its socket.
            patience: seconds that a body may pause.
            body_timeout: seconds that a whole body may take, as ``held_bytes.Pace`` has it.
            authorise: raises the reason why a request is refused; returns a smaller limit of its body, or
                None.
            reads_body: whether the call itself reads the body of a request as it comes, and limits it.
        """
        self._app = app
        self._authorise = authorise
        self._reads_body = reads_body
        self._limit = max_body_bytes
        #: The bodies that the controller holds.
        self.held = HeldBytes.unshared(max_held_bytes)
        self._patience = patience
        self._body_timeout = body_timeout

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            if not is_canonical(scope["raw_path"], scope["path"]):
                raise NonCanonicalPath(NON_CANONICAL)
            limit = self._authorise(scope)
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
                return
            if self._reads_body(scope):
                await self._app(scope, receive, with_security_headers(scope, send))
                return
        except ModelDeploymentError as error:
            await refuse(scope, receive, send, error)
            return
        with Holding(self.held, HeldKind.CALL) as holding:
            await self._pass_on(scope, receive, send, holding, limit)

    async def _pass_on(
        self, scope: Message, receive: Any, send: Any, holding: Holding, limit: int | None
    ) -> None:
        """Read the whole body, and have the application answer."""
        try:
            declared = content_length(dict(scope["headers"]))
            self.held.ensure_room(HeldKind.CALL, declared)
            body = await self._read(receive, limit, holding)
            if body is not None and declared is not None:
                ensure_whole(declared, len(body))
        except (TooManyBodies, BodyTimeout) as error:
            holding.release()
            await refuse_unread(scope, receive, send, error)
            return
        except ModelDeploymentError as error:
            await refuse(scope, receive, send, error)
            return
        if body is None:
            return
        if scope["method"] == "HEAD":
            # Handled as a GET; the server leaves out the body.
            scope = {**scope, "method": "GET", BODILESS: True}
        await self._app(scope, _replay(body, receive), with_security_headers(scope, send))

    async def _read(self, receive: Any, limit: int | None, holding: Holding) -> bytes | None:
        """The whole body, which is small for all calls but predictions; None if the caller disconnected."""
        body, piece = bytearray(), b""
        pace = Pace(self._patience, self._body_timeout, holding)
        try:
            while True:
                message = await _next(receive, pace, len(body))
                if message["type"] == "http.disconnect":
                    return None
                piece = message.get("body", b"")
                body += piece
                if limit is not None and len(body) > limit:
                    raise PayloadTooLarge(
                        f"cannot accept the body: it is larger than the {limit} bytes that this call takes"
                    )
                if len(body) > self._limit:
                    raise PayloadTooLarge(
                        f"cannot accept the body: it is larger than {self._limit} bytes "
                        "(MODEL_DEPLOYMENT_MAX_BODY_BYTES)"
                    )
                if len(body) > UNCOUNTED:
                    holding.ensure(len(body))
                if not message.get("more_body", False):
                    return bytes(body)
        finally:
            # The traceback of a refusal keeps this frame for as long as the refusal takes.
            body.clear()
            piece = b""


async def _next(receive: Any, pace: Pace, received: int) -> Message:
    """What comes next of a body.

    Raises:
        BodyTimeout: it is too slow.
    """
    while True:
        try:
            async with asyncio.timeout_at(pace.next()):
                message: Message = await receive()
        except TimeoutError:
            if pace.too_slow():
                raise BodyTimeout.of(received) from None
            continue
        pace.moved(len(message.get("body", b"")))
        if message.get("more_body", False) and pace.too_slow():
            raise BodyTimeout.of(received)
        return message


async def refuse_unread(
    scope: Message, receive: Any, send: Any, error: ModelDeploymentError
) -> None:
    """Answer a caller who is still sending the body with an error; its connection ends.

    If it ended with bytes unread, the caller might lose the answer (RFC 9112, section 9.6).
    """

    async def send_then_read(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})

    await refuse(scope, receive, send_then_read, error)


async def refuse(scope: Message, receive: Any, send: Any, error: ModelDeploymentError) -> None:
    """Answer a request, or the handshake of a WebSocket, with an error; its connection ends."""
    answer = problems.respond(error, {"Connection": "close"})
    await answer(scope, receive, with_security_headers(scope, send))


def with_security_headers(scope: Message, send: Any) -> Callable[[Message], Awaitable[None]]:
    """A ``send`` that adds headers against misuse in browsers, unless the answer has its own."""
    policy = _DOCS_POLICY if scope["path"] in ("/docs", "/redoc") else _API_POLICY

    async def send_with_headers(message: Message) -> None:
        # Of the ASGI extension "WebSocket Denial Response", too.
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            raw = list(message.get("headers", ()))
            present = {name.lower() for name, _ in raw}
            raw += [
                header
                for header in (*_SECURITY_HEADERS, (_CSP, policy))
                if header[0] not in present
            ]
            message["headers"] = raw
        await send(message)

    return send_with_headers


def _replay(body: bytes, receive: Any) -> Callable[[], Awaitable[Message]]:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            message: Message = await receive()
            return message
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
