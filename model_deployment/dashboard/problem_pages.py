"""Shows errors of any path as pages to people who came with a browser; programs get them as they are."""

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.datastructures import MutableHeaders

from model_deployment.http.asgi import App, Message, Receive, Scope, Send
from model_deployment.http.navigation import is_navigation

#: An error as a page: of a request, with status, title and text.
ErrorPage = Callable[[Request, int, str, str], Response]
#: Headers of an error that do not belong to its page.
_OF_BODY = ("content-length", "content-type", "content-encoding", "content-security-policy")


class ProblemPages:
    """ASGI middleware."""

    def __init__(self, app: App, page: ErrorPage) -> None:
        self.app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_navigation(scope["method"], dict(scope["headers"])):
            send = _Shown(Request(scope), self._page, send)
        await self.app(scope, receive, send)


class _Shown:
    """A ``send`` that replaces a problem document by a page."""

    def __init__(self, request: Request, page: ErrorPage, send: Send) -> None:
        self._request = request
        self._page = page
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=[*message["headers"]])
            if headers.get("content-type", "").startswith("application/problem+json"):
                self._start = message
                return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._send_page(self._start)

    async def _send_page(self, start: Message) -> None:
        problem: dict[str, Any] = orjson.loads(self._body)
        answer = self._page(self._request, start["status"], problem["title"], problem["detail"])
        kept = MutableHeaders(raw=[*start["headers"]])
        for name in _OF_BODY:
            if name in kept:
                del kept[name]
        for name, value in answer.headers.items():
            kept[name] = value
        await self._send({**start, "headers": kept.raw})
        await self._send({"type": "http.response.body", "body": answer.body})
