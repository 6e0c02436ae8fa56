"""Something to stand behind the gateway: it tells what reached it. HTTP is read as the controller reads it.

A request's header ``X-Do`` asks for more: ``hold`` (answer when released), ``stream`` (one piece, the rest
when released; with ``X-Accel-Buffering`` after it, that header too), or a JSON object of headers for the
answer, of which ``status`` is the status.
"""

import asyncio
import json
import threading
from dataclasses import dataclass
from typing import Any

import uvicorn

from tests.support.ports import free_port
from tests.support.stubs import HOST
from tests.support.waiting import until_sync


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]


class Echo:
    """A server on a thread."""

    def __init__(self, host: str = HOST, port: int = 0) -> None:
        self.host, self.port = host, port or free_port()
        self.seen: list[Seen] = []
        self._released = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Serve, after a stop as well."""
        config = uvicorn.Config(
            self._app,
            host=self.host,
            port=self.port,
            http="httptools",
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        server = self._server
        until_sync(lambda: server.started, what="the echo server")

    def stop(self) -> None:
        """Serve no more; nobody listens on the port."""
        if self._server is not None and self._thread is not None:
            self._released.set()
            self._server.should_exit = True
            self._thread.join(10)
            assert not self._thread.is_alive()

    def drop(self) -> None:
        """Break off every connection."""
        server = self._server
        assert server is not None
        for connection in list(server.server_state.connections):
            loop = connection.loop
            loop.call_soon_threadsafe(connection.transport.abort)

    def release(self) -> None:
        """Let those go on that wait."""
        self._released.set()

    def fresh(self) -> None:
        """Forget what was seen, and make requests wait again."""
        self.seen.clear()
        self._released.clear()

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [
            (key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]
        ]
        seen = Seen(
            scope["method"], scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1"),
            headers, body,
        )  # fmt: skip
        self.seen.append(seen)
        await self._answer(seen, dict(headers).get("x-do", ""), send)

    async def _answer(self, seen: Seen, do: str, send: Any) -> None:
        if do == "hold":
            await self._wait()
        wanted = json.loads(do) if do.startswith("{") else {}
        status = int(wanted.pop("status", 200))
        wanted = {"content-type": "application/json", **wanted}
        if "X-Accel-Buffering" in do:
            wanted["x-accel-buffering"] = "no"
        raw = [(key.lower().encode(), value.encode()) for key, value in wanted.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if do.startswith("stream"):
            await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
            await self._wait()
        told = {"method": seen.method, "path": seen.path, "length": len(seen.body)}
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})

    async def _wait(self) -> None:
        await asyncio.to_thread(self._released.wait, 20)
