"""Forwards what is no prediction to the controller, over a Unix socket; nothing is held in this process.

While no controller is there, ``GET /health`` is answered all the same, and everything else with 503.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import NoReturn

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from model_deployment.core.errors import (
    BodyTimeout,
    ModelDeploymentError,
    NonCanonicalPath,
    TooManyBodies,
    Unavailable,
)
from model_deployment.http.asgi import Message, Receive, Scope, Send
from model_deployment.http.framing import announces_body, content_length
from model_deployment.http.paths import NON_CANONICAL
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.dialect import document
from model_deployment.proxy.headers import CLOSE, HOP_BY_HOP, REQUEST_ID, without
from model_deployment.proxy.held_bytes import HeldKind, Pace

#: Seconds after which a caller may find a controller again.
_RETRY_AFTER = 2
#: Seconds within which the controller takes a connection, if it lives.
_CONNECT_TIMEOUT = 5.0
#: Key of an ASGI scope: the id of the request, which the proxy sets.
SCOPE_ID = "model_deployment.request_id"
#: And a coroutine function that throws the rest of the body away.
SCOPE_DISCARD = "model_deployment.discard_body"

#: What the proxy says in the controller's place, so that the controller need not say it again.
_OURS = frozenset({b"date", b"server", REQUEST_ID, b"x-content-type-options"})
#: What the controller gets from the proxy in place of what the caller sent.
_REPLACED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"expect", REQUEST_ID})


class Forwarder:
    """An ASGI application."""

    def __init__(
        self,
        socket: Path,
        connected: Callable[[], bool],
        context: ExchangeContext,
        streamed_calls: Iterable[tuple[str, str]] = (),
    ) -> None:
        """
        Args:
            socket: where the controller's API listens.
            connected: whether a controller is there.
            context: counts the bytes of bodies, which the controller holds until it has answered.
            streamed_calls: methods, and regular expressions of the paths, of calls whose bodies the
                controller writes to its disk as they come, and times.

        Raises:
            OSError: the folder of the socket cannot be opened.
        """
        self._connected = connected
        self._context = context
        self._streamed = [(method, re.compile(path)) for method, path in streamed_calls]
        # The address of a Unix socket has room for 108 bytes.
        self._folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(f"/proc/self/fd/{self._folder}/{socket.name}", limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        await self._session.close()
        os.close(self._folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/health" and scope["method"] in ("GET", "HEAD"):
            await self._answer_health(send)
            return
        forwarding = _Forwarding(scope, receive, send, self._context, streamed=self._streams(scope))
        try:
            if not can_be_forwarded(scope):
                raise NonCanonicalPath(NON_CANONICAL)
            await forwarding.run(self._session)
        except _CallerGone as error:
            _forget_frames(error)
        except (aiohttp.ClientError, OSError) as error:
            _forget_frames(error)
            # Too late for another status: without its end the caller sees that the answer is incomplete.
            if not forwarding.answering:
                await forwarding.refuse(_away(error))
        except ModelDeploymentError as error:
            _forget_frames(error)
            await forwarding.refuse(error)

    def _streams(self, scope: Scope) -> bool:
        return any(
            method == scope["method"] and path.fullmatch(scope["path"])
            for method, path in self._streamed
        )

    async def _answer_health(self, send: Send) -> None:
        away = {} if self._connected() else {"controller": "away"}
        content = orjson.dumps({"status": "ok", **away})
        raw = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": content})


class _CallerGone(Exception):
    """The caller hung up."""


class _Forwarding:
    """One request, from its head to the last byte of its answer."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        context: ExchangeContext,
        *,
        streamed: bool,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._has_body = announces_body(dict(scope["headers"]))
        self._body_read = asyncio.Event()
        self.answering = False
        self._context = context
        self._streamed = streamed
        self._holding = context.hold(HeldKind.CALL)
        #: Why the body is not read on.
        self._refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, session: aiohttp.ClientSession) -> None:
        """
        Raises:
            aiohttp.ClientError, OSError: the controller gave no answer, or not all of it.
            BodyTimeout: the rest of the body does not come.
            TooManyBodies: other bodies hold too many bytes.
            _CallerGone: nobody waits for the answer.
        """
        if not self._has_body:
            self._body_read.set()
        elif not self._streamed:
            declared = content_length(dict(self._scope["headers"]))
            self._context.held.ensure_room(HeldKind.CALL, declared)
        relay = asyncio.ensure_future(self._relay(session))
        watcher = asyncio.ensure_future(self._hung_up())
        try:
            ends = {relay, watcher, self._refused}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._refused.done() and not self.answering:
                self._refused.result()
            if not relay.done():
                raise _CallerGone
            relay.result()
        finally:
            for task in (relay, watcher, self._refused):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(relay, watcher, return_exceptions=True)
            self._holding.release()

    async def refuse(self, error: ModelDeploymentError) -> None:
        unread = self._has_body and not self._body_read.is_set()
        status, raw, content = document(error)
        raw += [CLOSE] * unread
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": content, "more_body": unread})
        if unread:
            await self._scope[SCOPE_DISCARD]()  # as problems.refuse() does it
            await self._send({"type": "http.response.body", "body": b""})

    async def _relay(self, session: aiohttp.ClientSession) -> None:
        async with session.request(
            self._scope["method"],
            _url(self._scope),
            headers=headers_for_controller(self._scope),
            data=self._body() if self._has_body else None,
            allow_redirects=False,
        ) as answer:
            raw = [(name.lower(), value) for name, value in answer.raw_headers]
            kept = without(raw, HOP_BY_HOP | _OURS)
            if not self._body_read.is_set():  # what comes of it now is no request
                kept.append(CLOSE)
            if answer.status == 426:  # it would not say to what (RFC 9110, section 15.5.22)
                kept += [one for one in raw if one[0] == b"upgrade"] + [(b"connection", b"upgrade")]
            self.answering = True
            await self._send(
                {"type": "http.response.start", "status": answer.status, "headers": kept}
            )
            async for piece in answer.content.iter_any():
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        if not self._body_read.is_set():
            await self._scope[SCOPE_DISCARD]()  # as problems.refuse() does it
        await self._send({"type": "http.response.body", "body": b""})

    async def _body(self) -> AsyncIterator[bytes]:
        more, message, piece = True, None, b""
        received = 0
        pace = self._context.pace(self._holding)
        try:
            while more:
                message = await self._next(pace, received)
                if message["type"] == "http.disconnect":
                    raise _CallerGone
                piece = message.get("body", b"")
                received += len(piece)
                more = message.get("more_body", False)
                if not self._streamed:
                    self._hold(len(piece))
                if not more:
                    self._body_read.set()
                if piece:
                    yield piece
        finally:
            # A refusal refers to this frame, and the other way round: the bytes need not wait for the
            # garbage collector.
            message, piece = None, b""

    async def _next(self, pace: Pace, received: int) -> Message:
        """The next piece of the body."""
        if self._streamed:
            return await self._receive()
        while True:
            try:
                async with asyncio.timeout_at(pace.next()):
                    message = await self._receive()
            except TimeoutError:
                if pace.too_slow():
                    self._give_up(BodyTimeout.of(received))
                continue
            pace.moved(len(message.get("body", b"")))
            if message.get("more_body", False) and pace.too_slow():
                self._give_up(BodyTimeout.of(received))
            return message

    def _hold(self, size: int) -> None:
        try:
            self._holding.add(size)
        except TooManyBodies as error:
            self._give_up(error)

    def _give_up(self, error: ModelDeploymentError) -> NoReturn:
        """End the request with an error, which the task that sends it to the controller cannot tell."""
        if not self._refused.done():
            self._refused.set_exception(error)
            self._refused.exception()  # it may be too late to tell anybody
        raise error

    async def _hung_up(self) -> None:
        """Return when the caller hangs up; the body before it is read by :meth:`_body`."""
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _forget_frames(error: BaseException | None) -> None:
    """Free the frames that an error came through, and the bytes of the request that they hold.

    They refer to tasks and futures that refer to the error: only the garbage collector would free them.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _away(error: Exception) -> Unavailable:
    kinds = aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    return controller_away(nothing_done=isinstance(error, kinds))


def controller_away(*, nothing_done: bool) -> Unavailable:
    """The controller gives no answer."""
    if nothing_done:
        done = "Nothing was done; try again in a moment"
    else:
        done = "It may have been done; look before you try again"
    return Unavailable(
        f"cannot answer: the controller is away. Predictions go on meanwhile. {done}",
        retry_after=_RETRY_AFTER,
    )


def can_be_forwarded(scope: Scope) -> bool:
    """Whether the target can be written as it came; the controller looks at it more closely."""
    path: bytes = scope["raw_path"]
    return path.startswith(b"/") and path.isascii() and scope["query_string"].isascii()


def _url(scope: Scope) -> URL:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    whole = path + b"?" + query if query else path
    return URL("http://controller" + whole.decode("ascii"), encoded=True)


def headers_for_controller(scope: Scope) -> CIMultiDict[str]:
    """Those that the caller sent and may send, and what the proxy says of the caller."""
    kept = without(list(scope["headers"]), HOP_BY_HOP | _REPLACED)
    headers = CIMultiDict((n.decode("latin-1"), v.decode("latin-1")) for n, v in kept)
    if client := scope.get("client"):
        headers.add("x-forwarded-for", client[0])
    headers.add("x-forwarded-proto", scope["scheme"])
    headers.add("x-request-id", scope[SCOPE_ID])
    return headers
