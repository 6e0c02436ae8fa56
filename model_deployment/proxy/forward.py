"""Forwards ``POST /<model>-<version>`` to the model: plain ASGI in front, aiohttp behind.

Every request of every model passes here, so there is no framework between, and a request that is not
for a model goes straight on to the application inside.
"""

import asyncio
import logging
from collections.abc import Callable

import aiohttp
from yarl import URL

from model_deployment.errors import (
    ModelBroke,
    ModelDeploymentError,
    NotReady,
    PayloadTooLarge,
    UpstreamTimeout,
)
from model_deployment.proxy import headers, problems
from model_deployment.proxy.asgi import App, Message, Receive, Scope, Send
from model_deployment.proxy.body import Body, CallerGone, TooSlow
from model_deployment.proxy.routes import Entry, Routes
from model_deployment.proxy.upstream import Call, Dropped, Upstream

_log = logging.getLogger(__name__)

#: Answers up to this many bytes are read whole before the first byte is passed on, so that one that
#: breaks off half way is still a clean 502.
_WHOLE = 1024 * 1024


class Proxy:
    """The outermost ASGI application."""

    def __init__(
        self,
        app: App,
        routes: Routes,
        *,
        max_body_bytes: int,
        broke: Callable[[], None] = lambda: None,
        patience: float = 30.0,
    ) -> None:
        """Put the models of a route table in front of an application.

        Args:
            broke: told when a model did not answer as a living server does: worth a look at its
                process.
            patience: seconds a caller may send or take nothing while it keeps a model's connection.
        """
        self._app = app
        self._routes = routes
        self._max_body = max_body_bytes
        self._broke = broke
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io/en/latest/specs/main.html#applications."""
        if scope["type"] == "http":
            entry = self._routes.lookup(scope["raw_path"])
            if entry is not None:
                await self._serve(entry, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _serve(self, entry: Entry, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                await problems.respond(send, problems.NOT_POST, (b"allow", b"POST"))
                return
            if entry.upstream is None:
                raise problems.not_ready(entry)
            body = Body(
                receive,
                declared=headers.content_length(scope["headers"]),
                limit=self._max_body,
                patience=self._patience,
            )
            await body.begin()
            await self._predict(entry, entry.upstream, body, scope, send)
        except CallerGone:
            return
        except (PayloadTooLarge, TooSlow) as error:
            await problems.refuse(receive, send, error)
        except ModelDeploymentError as error:
            await problems.respond(send, error)

    async def _predict(
        self, entry: Entry, upstream: Upstream, body: Body, scope: Scope, send: Send
    ) -> None:
        """Call the model, for as long as there are a caller and a launch."""
        call = Call(upstream)
        try:
            with call:
                body.watch(call)
                async with upstream.slots:
                    call.start_clock()
                    await self._forward(entry, upstream, call, body, scope, send)
        except (ModelDeploymentError, Dropped) as error:
            problem = _dropped(entry, call) if isinstance(error, Dropped) else error
            if not call.answering:
                raise problem from None
            # Too late for another status. Ending without the last piece makes the server cut the
            # connection, and the caller sees that the answer is not whole.
            _log.warning("an answer was cut off, launch %s: %s", entry.route.launch_id, problem)
        finally:
            body.unwatch()

    async def _forward(
        self, entry: Entry, upstream: Upstream, call: Call, body: Body, scope: Scope, send: Send
    ) -> None:
        try:
            async with upstream.session.post(
                _url(upstream, scope["query_string"]),
                data=body.content,
                headers=_headers(scope, body),
                allow_redirects=False,
            ) as answer:
                if not 200 <= answer.status <= 599:
                    raise aiohttp.ClientError(f"{answer.status} is no status of an answer")
                await self._pass_back(answer, call, send)
                upstream.count(answer.status)
        except TimeoutError:
            upstream.count(504)
            self._broke()
            raise UpstreamTimeout(
                f"cannot get a prediction from {entry.route.key}: it did not answer in time"
            ) from None
        except aiohttp.ClientConnectorError:
            self._broke()
            # Nothing was sent, so the caller may simply try again.
            raise NotReady(
                f"cannot predict with {entry.route.key}: its process does not accept connections",
                retry_after=1,
            ) from None
        except (aiohttp.ClientError, OSError):
            self._broke()
            raise _broken(entry) from None

    async def _pass_back(self, answer: aiohttp.ClientResponse, call: Call, send: Send) -> None:
        """Send a model's answer to the caller, byte for byte."""
        start = {
            "type": "http.response.start",
            "status": answer.status,
            "headers": headers.to_caller(answer.raw_headers),
        }
        length = answer.content_length
        if length is not None and length <= _WHOLE:
            content = await answer.read()
            call.stop_clock()
            call.answering = True
            await self._send_in_time(send, start)
            await self._send_in_time(send, {"type": "http.response.body", "body": content})
            return
        call.stop_clock()
        call.answering = True
        await send(start)
        async for piece in answer.content.iter_any():
            message = {"type": "http.response.body", "body": piece, "more_body": True}
            await self._send_in_time(send, message)
        await send({"type": "http.response.body", "body": b""})

    async def _send_in_time(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await send(message)
        except TimeoutError:
            raise CallerGone from None


def _url(upstream: Upstream, query: bytes) -> URL:
    if not query:
        return upstream.url
    return URL(f"{upstream.url}?{query.decode('ascii')}", encoded=True)


def _headers(scope: Scope, body: Body) -> list[tuple[str, str]]:
    kept = headers.to_model(scope["headers"])
    if body.declared is not None and not isinstance(body.content, bytes):
        kept.append(("content-length", str(body.declared)))
    return kept


def _dropped(entry: Entry, call: Call) -> ModelDeploymentError:
    key = entry.route.key
    if call.sent:
        return ModelBroke(f"cannot get a prediction from {key}: its process was stopped")
    return NotReady(f"cannot predict with {key}: its process was stopped", retry_after=1)


def _broken(entry: Entry) -> ModelBroke:
    return ModelBroke(
        f"cannot get a prediction from {entry.route.key}: its process broke off the connection"
    )
