"""A transport of httpx that answers with an application of this process, for clients that do not await."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx


class InThisProcess(httpx.BaseTransport):
    """Answers with an application, without a server."""

    def __init__(self, app: Any, run: Callable[[Any], Any] = asyncio.run) -> None:
        """``run``: runs a coroutine, in the loop of the application."""
        self._asgi = httpx.ASGITransport(app)
        self._run = run

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            answer = await self._asgi.handle_async_request(request)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        found: httpx.Response = self._run(ask())
        return found
