"""The proxy as ``server.serve`` serves it, in the event loop of a test."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self

import uvicorn

from model_deployment.domain import Endpoint, ModelKey, Route, State, Traffic
from model_deployment.proxy.asgi import Receive, Scope, Send
from model_deployment.proxy.forward import Proxy
from model_deployment.proxy.routes import Routes
from tests.integration.proxy.upstreams import Behave, Server
from tests.integration.proxy.wire import HOST, Message, Wire

KEY = ModelKey("iris", 1)
LAUNCH = "launch-1"
LIMIT = 8 * 1024 * 1024


class _Uvicorn(uvicorn.Server):
    """Without its signal handlers, as in ``server.py``."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Front:
    """A proxy with one deployment, served by uvicorn on a port of its own."""

    def __init__(
        self,
        upstream: Server,
        *,
        connections: float = 128,
        read_timeout: float = 30,
        limit: float = LIMIT,
        patience: float = 30,
    ) -> None:
        self.upstream = upstream
        #: How often the proxy said that a model broke.
        self.broke = 0
        self.port = 0
        self._options = int(connections), read_timeout, int(limit), patience
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        connections, read_timeout, limit, patience = self._options
        self.routes = Routes(connections=connections, read_timeout=read_timeout)
        self._stack.push_async_callback(self.routes.close)
        self.publish(self.route())
        proxy = Proxy(
            _inside,
            self.routes,
            max_body_bytes=limit,
            broke=self._on_broke,
            patience=patience,
        )
        await self._serve(proxy)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def call(self) -> Wire:
        """A connection of a caller."""
        caller = await Wire.connect(self.port)
        self._stack.push_async_callback(caller.close)
        return caller

    async def ask(self, *data: bytes) -> Message:
        """Send, and read an answer, on a connection of its own."""
        caller = await self.call()
        try:
            return await caller.ask(*data)
        finally:
            await caller.close()

    def route(
        self,
        key: ModelKey = KEY,
        state: State = State.READY,
        launch: str = LAUNCH,
        reason: str = "",
    ) -> Route:
        """A route to the upstream; one without an endpoint where the state is not ready."""
        ready = state is State.READY
        endpoint = Endpoint(HOST, self.upstream.port) if ready else None
        return Route(key, state, launch, endpoint, reason)

    def publish(self, *routes: Route) -> None:
        self.routes.publish(routes)

    @property
    def traffic(self) -> Traffic:
        return self.routes.traffic(LAUNCH)

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return (self.traffic.in_flight, self.traffic.oldest) == (0, 0.0)

    def _on_broke(self) -> None:
        self.broke += 1

    async def _serve(self, proxy: Proxy) -> None:
        # Callers are accepted from here on, and wait until the server has started.
        listener = self._stack.enter_context(socket.create_server((HOST, 0), backlog=2048))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            proxy,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        server = _Uvicorn(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))

        async def stop() -> None:
            server.should_exit = True
            await serving

        self._stack.push_async_callback(stop)


class Serve(Protocol):
    """Starts an upstream that behaves like this, and a proxy in front of it."""

    async def __call__(self, behave: Behave, **options: float) -> Front: ...


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    """The application inside the proxy: tells which path it was asked for."""
    content = b"inside: " + scope["raw_path"]
    raw = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": content})
