"""The proxy as ``server.serve`` serves it, in the event loop of a test."""

import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Protocol, Self

from model_deployment.core.domain import State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.merging import in_force
from model_deployment.core.model_kind import ModelKind
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route
from model_deployment.gate import Gate
from model_deployment.http.asgi import Receive, Scope, Send
from model_deployment.proxy.context import ExchangeContext, RequestRecorder
from model_deployment.proxy.forward import Admit, admit_all
from model_deployment.proxy.held_bytes import HeldBytes
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.server import ProxyServer
from model_deployment.proxy.services import Gates
from model_deployment.proxy.upstream import UpstreamLimits
from tests.support.raw_http import HOST, Message, Wire
from tests.support.routes import target
from tests.support.upstreams import Behave, Server

KEY = ModelKey("iris", 1)
LAUNCH = "launch-1"
LIMIT = 8 * 1024 * 1024


class Front:
    """A proxy with one deployment, served on a port of its own."""

    def __init__(
        self,
        upstream: Server,
        *,
        connections: float = 128,
        read_timeout: float = 30,
        limit: float = LIMIT,
        patience: float = 30,
        body_timeout: float = 60,
        held_bytes: float = 256 * 1024 * 1024,
        queue: float = 1024,
        queue_bytes: float = 256 * 1024 * 1024,
        gate: Gate | None = None,
        gates: Gates | None = None,
        kinds: Callable[[Route], ModelKind | None] = lambda route: None,
        options: Options | None = None,
        wake_timeout: float = 30,
        recovery_timeout: float = 30,
        recorder: RequestRecorder | None = None,
        admit: Admit = admit_all,
    ) -> None:
        self.upstream = upstream
        #: How often the proxy reported that a model did not answer.
        self.failures = 0
        self.port = 0
        #: What was said of inside a model, by launch.
        self.traces: list[tuple[str, str]] = []
        #: Events of deployments.
        self.events: list[tuple[ModelKey, str]] = []
        #: Parked deployments that were to be started.
        self.woken: list[ModelKey] = []
        self._limits = UpstreamLimits(
            connections=int(connections),
            queue=int(queue),
            queue_bytes=int(queue_bytes),
            read_timeout=read_timeout,
            wake_timeout=wake_timeout,
            recovery_timeout=recovery_timeout,
        )
        self.context = ExchangeContext(
            int(limit),
            patience,
            body_timeout=body_timeout,
            held=HeldBytes.unshared(int(held_bytes)),
            recorder=recorder,
            log_failure=lambda launch, text: self.traces.append((launch, text)),
        )
        self._gates = gates or (lambda route: gate)
        self._kinds = kinds
        self._options = options or Options()
        self._admit = admit
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.routes = Routes(
            self._limits,
            gates=self._gates,
            kinds=self._kinds,
            on_failure=self._on_failure,
            add_event=lambda key, text: self.events.append((key, text)),
            wake=self.woken.append,
        )
        self._stack.push_async_callback(self.routes.close)
        self.publish(self.route())
        await self._serve(ProxyServer(inside, self.routes, self.context, self._admit))
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
        """A route to the upstream; one without an address where the state is not ready."""
        return self.route_to(self.upstream, key=key, state=state, launch=launch, reason=reason)

    def route_to(
        self,
        *servers: Server,
        key: ModelKey = KEY,
        state: State = State.READY,
        launch: str = LAUNCH,
        reason: str = "",
    ) -> Route:
        """A route to several servers: to the launch that is named, and to those numbered after it."""
        name, _, number = launch.rpartition("-")
        numbered = [launch, *(f"{name}-{int(number) + n}" for n in range(1, len(servers)))]
        targets = [
            target(id, one.port if state is State.READY else None)
            for id, one in zip(numbered, servers, strict=True)
        ]
        rows = in_force(self._options.batch_max_rows, None).max_rows
        return Route(key, state, (*targets,), reason, self._options, max_batch_rows=rows)

    def publish(self, *routes: Route) -> bool:
        return self.routes.publish(routes)

    @property
    def traffic(self) -> LaunchTraffic:
        return self.routes.traffic(LAUNCH)

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return (self.traffic.in_flight, self.traffic.oldest) == (0, 0.0)

    def _on_failure(self) -> None:
        self.failures += 1

    async def _serve(self, server: ProxyServer) -> None:
        listener = self._stack.enter_context(socket.create_server((HOST, 0), backlog=2048))
        self.port = listener.getsockname()[1]
        await server.start(listener)

        async def stop() -> None:
            await server.stop(last=True, patience=5)

        self._stack.push_async_callback(stop)


class Serve(Protocol):
    """Starts an upstream that behaves like this, and a proxy in front of it."""

    async def __call__(self, behave: Behave, **options: Any) -> Front: ...


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """The application inside the proxy: tells which path it was asked for."""
    content = b"inside: " + scope["raw_path"]
    raw = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": content})
