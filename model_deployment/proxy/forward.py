"""Forwards ``POST /<model>-<version>`` to the model: plain ASGI in front, aiohttp behind.

Every request of every model passes here, so there is no framework between, and a request that is not
for a model goes straight on to the application inside.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import orjson
from yarl import URL

from model_deployment.domain import State
from model_deployment.errors import (
    ModelBroke,
    ModelDeploymentError,
    NotReady,
    PayloadTooLarge,
    UpstreamTimeout,
)
from model_deployment.proxy import headers
from model_deployment.proxy.routes import Entry, Routes, Upstream

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

#: Answers up to this many bytes are read whole before the first byte is passed on, so that one that
#: breaks off half way is still a clean 502.
_WHOLE = 1024 * 1024


class CallerGone(Exception):
    """The caller hung up; there is nobody to answer."""


class Proxy:
    """The outermost ASGI application."""

    def __init__(
        self,
        app: App,
        routes: Routes,
        *,
        max_body_bytes: int,
        broke: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._routes = routes
        self._max_body = max_body_bytes
        #: Told when a model did not answer as a living server does: worth a look at its process.
        self._broke = broke

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            entry = self._routes.lookup(scope["raw_path"])
            if entry is not None:
                await self._serve(entry, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _serve(self, entry: Entry, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                await _send_problem(send, _NOT_POST, [(b"allow", b"POST")])
                return
            upstream = entry.upstream
            if upstream is None:
                raise _not_ready(entry)
            body = Body(receive, scope["headers"], self._max_body)
            await body.begin()
            await self._exchange(entry, upstream, body, scope, send)
        except CallerGone:
            return
        except PayloadTooLarge as error:
            # The rest of the body is not read, so the connection cannot be used again.
            await _send_problem(send, error, [(b"connection", b"close")])
        except ModelDeploymentError as error:
            await _send_problem(send, error)

    async def _exchange(
        self, entry: Entry, upstream: Upstream, body: "Body", scope: Scope, send: Send
    ) -> None:
        """Send the request to the model and its answer to the caller, as long as the caller stays."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI call always runs in a task
        staying = True

        def hung_up(done: asyncio.Task[None]) -> None:
            # May run after the exchange is over: what the task does then must not be cancelled.
            if staying and not done.cancelled():
                task.cancel()

        watcher = asyncio.create_task(body.gone())
        watcher.add_done_callback(hung_up)
        upstream.open += 1
        try:
            async with upstream.slots:
                await self._forward(entry, upstream, body, scope, send)
        except asyncio.CancelledError:
            if watcher.done() and not watcher.cancelled() and task.uncancel() == 0:
                raise CallerGone from None
            raise
        finally:
            staying = False
            upstream.open -= 1
            watcher.cancel()

    async def _forward(
        self, entry: Entry, upstream: Upstream, body: "Body", scope: Scope, send: Send
    ) -> None:
        number = upstream.begin()
        status: int | None = None
        try:
            async with upstream.session.post(
                _url(upstream, scope["query_string"]),
                data=body.content,
                headers=headers.to_model(scope["headers"]),
                allow_redirects=False,
            ) as answer:
                await _pass_back(answer, send)
                status = answer.status
        except TimeoutError:
            status = 504
            self._broke()
            raise UpstreamTimeout(
                f"cannot get a prediction from {entry.route.key}: it did not answer in time"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            if body.error is not None:
                raise body.error from None
            self._broke()
            raise _broken(entry, error) from None
        finally:
            upstream.end(number, status)


class Body:
    """The body of a request, counted while it comes in."""

    def __init__(self, receive: Receive, raw_headers: list[headers.Raw], limit: int) -> None:
        self._receive = receive
        self._declared = headers.content_length(raw_headers)
        self._limit = limit
        self._seen = 0
        self._complete = asyncio.Event()
        #: Bytes if it came in one piece, else what is left of it, piece by piece.
        self.content: bytes | AsyncIterator[bytes] = b""
        #: Why it broke off; raised inside the client, which hides it.
        self.error: CallerGone | PayloadTooLarge | None = None

    async def begin(self) -> None:
        """Read the first piece.

        Raises:
            PayloadTooLarge: it is declared, or already is, over the limit.
            CallerGone: the caller hung up.
        """
        if self._declared is not None and self._declared > self._limit:
            raise self._too_large()
        piece, more = await self._next()
        if more:
            self.content = self._rest(piece)
        else:
            self.content = piece

    async def gone(self) -> None:
        """Return when the caller has hung up."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _rest(self, piece: bytes) -> AsyncIterator[bytes]:
        more = True
        try:
            while more:
                yield piece
                piece, more = await self._next()
            yield piece
        except (CallerGone, PayloadTooLarge) as error:
            self.error = error
            raise

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        piece: bytes = message.get("body", b"")
        self._seen += len(piece)
        if self._seen > self._limit:
            raise self._too_large()
        more = message.get("more_body", False)
        if not more:
            self._complete.set()
        return piece, more

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"cannot accept the body: it is larger than {self._limit} bytes; send fewer rows at a time"
        )


async def _pass_back(answer: aiohttp.ClientResponse, send: Send) -> None:
    """Send a model's answer to the caller, byte for byte."""
    start = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": headers.to_caller(answer.raw_headers),
    }
    length = answer.content_length
    if length is not None and length <= _WHOLE:
        content = await answer.read()
        await send(start)
        await send({"type": "http.response.body", "body": content})
        return
    await send(start)
    try:
        async for piece in answer.content.iter_any():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except (aiohttp.ClientError, OSError, TimeoutError):
        # Too late for another status. Ending without the last piece makes the server cut the
        # connection, and the caller sees that the answer is not whole.
        _log.warning("a model broke off in the middle of its answer")
        return
    await send({"type": "http.response.body", "body": b""})


def _url(upstream: Upstream, query: bytes) -> str | URL:
    if not query:
        return upstream.url
    return URL(f"{upstream.url}?{query.decode('latin-1')}", encoded=True)


_RETRY_AFTER = {State.PENDING: 2, State.STARTING: 2, State.STOPPING: 5}


def _not_ready(entry: Entry) -> NotReady:
    route = entry.route
    reason = f" ({route.reason})" if route.reason else ""
    return NotReady(
        f"cannot predict with {route.key}: it is {route.state}{reason}",
        retry_after=_RETRY_AFTER.get(route.state),
        extra={"state": str(route.state)},
    )


def _broken(entry: Entry, error: Exception) -> ModelDeploymentError:
    key = entry.route.key
    if isinstance(error, aiohttp.ClientConnectorError):
        # Nothing was sent, so the caller may simply try again.
        return NotReady(
            f"cannot predict with {key}: its process does not accept connections", retry_after=1
        )
    return ModelBroke(f"cannot get a prediction from {key}: its process broke off the connection")


class _NotPost(ModelDeploymentError):
    status = 405
    title = "Method not allowed"


_NOT_POST = _NotPost("cannot do this with a model: predictions are asked for with POST")


async def _send_problem(
    send: Send, error: ModelDeploymentError, more: list[headers.Raw] | None = None
) -> None:
    content = orjson.dumps(error.problem())
    raw = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(content)).encode()),
        *(more or []),
    ]
    if error.retry_after is not None:
        raw.append((b"retry-after", str(error.retry_after).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
