"""A proxy with tunnels, and the controller's API behind it on its Unix socket, in the event loop of a test.

The API is checked and served as the controller's is; behind that there is a WebSocket that echoes.
"""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from model_deployment.api.access import OPEN_CALLS, authorise
from model_deployment.api.forwarded import Forwarded
from model_deployment.api.guard import Guard
from model_deployment.app.server import api_config
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER, Access
from model_deployment.credentials.device_tokens import DeviceTokens, token_hash
from model_deployment.credentials.verify import Credentials
from model_deployment.http.asgi import App, Receive, Scope, Send
from model_deployment.http.unix_sockets import bind_in
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.forwarder import Forwarder
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.server import ProxyServer
from model_deployment.proxy.tunnel import Tunnels
from model_deployment.proxy.upstream import UpstreamLimits
from tests.support.raw_http import HOST, Message, Wire

NAME = "api.sock"
TOKEN = "mdd_" + "A" * 43
CAMERA = User("camera-7", Role.DEVICE, "halls", 7)


def handshake(path: str = "/ws/camera-7", **changes: str | None) -> bytes:
    """The handshake of a device; ``changes`` of its headers, None leaves one out."""
    named: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Authorization": f"Bearer {TOKEN}",
    }
    named |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}\r\n" for name, value in named.items() if value is not None]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")


class Api:
    """The controller's API, with one device and a WebSocket at each path that echoes texts."""

    def __init__(self, folder: Path, users: Path | None = None) -> None:
        """``users``: a folder with passwords; None: nobody needs one."""
        self._folder = folder
        self.good = {token_hash(TOKEN.encode()): CAMERA}
        self.tokens = DeviceTokens(self._lookup)
        credentials = _credentials(users)
        credentials.look_devices_up(self.tokens)
        #: What the application has been asked for, and what came of it.
        self.scopes: list[Scope] = []
        self.heard: list[str] = []
        self.ends: list[int] = []
        #: Texts are read only while it is set.
        self.reads = asyncio.Event()
        self.reads.set()
        guard = Guard(self._app, max_body_bytes=10_000, authorise=authorise)
        self._served: App = Forwarded(guard, Access(credentials, (), OPEN_CALLS).admit)
        self._server: asyncio.Server | None = None
        self._uvicorn: uvicorn.Server | None = None

    async def start(self) -> None:
        config = api_config(self._served, drain=1)
        config.load()
        made = uvicorn.Server(config)
        made.lifespan = config.lifespan_class(config)

        def protocol() -> Any:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=made.server_state, app_state={}
            )

        loop = asyncio.get_running_loop()
        listener = bind_in(self._folder, NAME)
        self._server = await loop.create_unix_server(protocol, sock=listener, backlog=1024)
        self._uvicorn = made

    async def stop(self) -> None:
        """As a controller that is killed: all its connections end, and nobody listens."""
        server, self._server = self._server, None
        if server is None or self._uvicorn is None:
            return
        server.close()
        for one in [*self._uvicorn.server_state.connections]:
            one.transport.abort()
        tasks = [*self._uvicorn.server_state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    @property
    def connections(self) -> int:
        return len(self._uvicorn.server_state.connections) if self._uvicorn else 0

    async def _lookup(self, hashed: str) -> User | None:
        return self.good.get(hashed)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] != "websocket":
            raw = [(b"content-length", b"4")]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            await send({"type": "http.response.body", "body": b"here"})
            return
        assert scope[USER].role is Role.DEVICE
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await self.reads.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ends.append(message["code"])
                return
            text = message["text"]
            self.heard.append(text)
            if text.startswith("send "):
                for _ in range(int(text.removeprefix("send "))):
                    await send({"type": "websocket.send", "text": "x" * 65536})
            elif text == "end":
                await send({"type": "websocket.close", "code": 4400, "reason": "ended"})
            else:
                await send({"type": "websocket.send", "text": text})


class SocketFront:
    """The proxy in front of it."""

    def __init__(
        self,
        folder: Path,
        most: int = 100,
        users: Path | None = None,
        trusted_proxies: str = HOST,
        keep_alive: float = 75,
    ) -> None:
        self.api = Api(folder, users)
        self.tunnels = Tunnels(folder / NAME, most, trusted_proxies)
        self.port = 0
        self.context = ExchangeContext(100_000, 30)
        self._forwarder = Forwarder(folder / NAME, lambda: True, self.context)
        self._users = users
        self._trusted = trusted_proxies
        self._keep_alive = keep_alive
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.api.start()
        self._stack.push_async_callback(self.api.stop)
        self._stack.push_async_callback(self._forwarder.close)
        routes = Routes(
            UpstreamLimits(),
            gates=lambda route: None,
            kinds=lambda route: None,
            on_failure=lambda: None,
            add_event=lambda key, text: None,
            wake=lambda key: None,
        )
        self._stack.push_async_callback(routes.close)
        access = Access(_credentials(self._users), (), OPEN_CALLS)
        self.server = ProxyServer(
            self._forwarder,
            routes,
            self.context,
            access.admit,
            tunnels=self.tunnels,
            trusted_proxies=self._trusted,
            keep_alive=self._keep_alive,
        )
        listener = self._stack.enter_context(socket.create_server((HOST, 0), backlog=512))
        self.port = listener.getsockname()[1]
        await self.server.start(listener)
        self._stack.push_async_callback(self.stop)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    async def stop(self) -> None:
        await self.server.stop(last=True, patience=5)

    async def call(self) -> Wire:
        """A connection of its own."""
        wire = await Wire.connect(self.port)
        self._stack.push_async_callback(wire.close)
        return wire

    async def ask(self, *data: bytes) -> Message:
        """What is answered on a connection of its own."""
        wire = await self.call()
        try:
            return await wire.ask(*data)
        finally:
            await wire.close()

    @asynccontextmanager
    async def device(self, token: str = TOKEN, **options: Any) -> AsyncIterator[ClientConnection]:
        """The socket of a device, as its library opens it."""
        async with connect(
            f"ws://{HOST}:{self.port}/ws/camera-7",
            additional_headers={"Authorization": f"Bearer {token}"},
            ping_interval=None,
            proxy=None,
            close_timeout=5,
            max_size=None,
            **options,
        ) as opened:
            yield opened


def _credentials(users: Path | None) -> Credentials:
    made = Credentials(users or Path("/nonexistent"))
    made.open()
    return made
