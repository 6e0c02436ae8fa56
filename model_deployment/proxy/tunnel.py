"""Passes the bytes of WebSockets on to the controller, both ways, over its Unix socket.

The proxy has checked ``Host``, and that no page of another site asks. The controller checks that again, and
who asks. Until it has answered 101 nothing of the caller is passed on: it would pass for another request.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from model_deployment.core.errors import ModelDeploymentError, NonCanonicalPath, Unavailable
from model_deployment.http.asgi import App, Message, Receive, Scope, Send
from model_deployment.http.paths import NON_CANONICAL
from model_deployment.http.unix_sockets import connected
from model_deployment.proxy import problems
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.forwarder import (
    can_be_forwarded,
    controller_away,
    headers_for_controller,
)

#: Beginning of the paths of WebSockets.
PATHS = b"/ws/"
#: Seconds within which the controller takes a connection, and within which it answers the handshake.
_CONNECT_TIMEOUT = 5.0
_HANDSHAKE_TIMEOUT = 10.0
#: Handshakes that the controller is asked at once, and seconds that one may wait for its turn: after a
#: restart all devices come together.
_AT_ONCE = 64
_TURN_TIMEOUT = 30.0
#: Seconds that a tunnel may go on once one direction has ended, and that its last bytes may take.
_LINGER = 10.0
#: Seconds that one side may accept hardly anything of what the other one sends. Nothing is read meanwhile,
#: so the end of the other side is not seen either.
_STUCK = 60.0
#: Seconds after which a device may find a free place.
_RETRY_AFTER = 10
_ACCEPTED = b"HTTP/1.1 101"


class Tunnels:
    """The tunnels of one proxy."""

    def __init__(self, socket: Path, most: int, trusted_proxies: str = "127.0.0.1") -> None:
        """
        Args:
            socket: where the controller's API listens.
            most: tunnels that there may be at the same time.
            trusted_proxies: as :class:`~model_deployment.proxy.server.ProxyServer` has it.
        """
        self._socket = socket
        self._most = most
        # Writes into the scope who the caller is.
        self._trusting: App = ProxyHeadersMiddleware(_nothing, trusted_proxies)  # type: ignore[arg-type, assignment]
        self._open: set[_Tunnel] = set()
        #: Handshakes that the controller has not answered yet.
        self._asking = 0
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    def __len__(self) -> int:
        """Tunnels that are open."""
        return len(self._open)

    async def open(self, request: CallerRequest) -> None:
        """Answer a handshake that was admitted: with a tunnel, or why there is none."""
        try:
            controller = await self._ask(request)
        except ModelDeploymentError as error:
            problems.respond(request, error)
            return
        if request.gone:
            controller.transport.close()
            return
        transport, behind = request.hand_over()
        tunnel = _Tunnel(transport, controller, self._open.discard)
        self._open.add(tunnel)
        tunnel.start(behind)

    def close(self) -> None:
        """End all tunnels, and open no more."""
        self._closed = True
        for tunnel in [*self._open]:
            tunnel.close()

    def abort(self) -> None:
        """End what :meth:`close` has left."""
        for tunnel in [*self._open]:
            tunnel.abort()

    async def _ask(self, request: CallerRequest) -> "_End":
        """Send the handshake to the controller, and wait for the beginning of its answer.

        Raises:
            Unavailable: there are too many tunnels, or the controller is away.
            NonCanonicalPath: the target cannot be written as it came.
        """
        if not can_be_forwarded(request.scope):
            raise NonCanonicalPath(NON_CANONICAL)
        if self._closed:
            raise Unavailable("cannot open a WebSocket: this proxy ends; try again", retry_after=1)
        if len(self._open) + self._asking >= self._most:
            raise Unavailable(
                f"cannot open another WebSocket now: there are {self._most}, the most that may be "
                "(MODEL_DEPLOYMENT_DEVICES, or descriptors); try again later",
                retry_after=_RETRY_AFTER,
            )
        await self._trusting(request.scope, _receive_nothing, _send_nothing)
        self._asking += 1
        try:
            async with asyncio.timeout(_TURN_TIMEOUT):
                await self._turns.acquire()
            try:
                return await self._answered(_head(request))
            finally:
                self._turns.release()
        except OSError as error:  # also a time-out
            raise controller_away(nothing_done=True) from error
        finally:
            self._asking -= 1

    async def _answered(self, head: bytes) -> "_End":
        end = await self._connect()
        end.transport.write(head)
        try:
            async with asyncio.timeout(_HANDSHAKE_TIMEOUT):
                await end.answered
        except BaseException:
            end.transport.abort()
            raise
        return end

    async def _connect(self) -> "_End":
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            made = await connected(self._socket)
        loop = asyncio.get_running_loop()
        _, end = await loop.create_unix_connection(_End, sock=made)
        return end


class _End(asyncio.Protocol):
    """One of the two connections of a tunnel."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.tunnel: _Tunnel | None = None
        self.other: _End | None = None
        #: What came before there was a tunnel: the beginning of the answer to the handshake.
        self.early = b""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: What comes of it is thrown away.
        self.muted = False
        #: Nothing more comes of it.
        self.ended = False
        #: Runs while it does not accept what is written as fast as it comes.
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
            if len(self.early) >= len(_ACCEPTED) and not self.answered.done():
                self.answered.set_result(None)
        elif not (self.muted or self.other.transport.is_closing()):
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        self._fail(ConnectionError("no answer"))
        if self.tunnel is not None:
            self.tunnel.end_half(self)
        return True  # the other direction may go on

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self._flows()
        self._fail(error or ConnectionError("no answer"))
        if self.tunnel is not None:
            self.tunnel.lose(self)

    @property
    def backed_up(self) -> bool:
        return self._stuck is not None

    def pause_writing(self) -> None:
        loop = asyncio.get_running_loop()
        self._stuck = loop.call_later(_STUCK, self.transport.abort)
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._flows()
        if self.other is not None:
            self.other.transport.resume_reading()

    def _flows(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # nobody may be waiting any more


class _Tunnel:
    """Two connections, each of which gets what the other one sends."""

    def __init__(
        self, transport: asyncio.Transport, controller: _End, on_end: Callable[["_Tunnel"], None]
    ) -> None:
        """
        Args:
            transport: of the caller; nothing is read from it at the moment.
            on_end: called when both connections have ended.
        """
        self._caller, self._controller = _End(), controller
        self._caller.transport = transport
        self._on_end = on_end
        self._lost: set[_End] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, behind: bytes) -> None:
        """Pass the beginning of the controller's answer on, and then all that comes.

        Args:
            behind: what the caller has sent behind the handshake.
        """
        caller, controller = self._caller, self._controller
        caller.answered.cancel()
        caller.tunnel = controller.tunnel = self
        caller.other, controller.other = controller, caller
        caller.transport.set_protocol(caller)
        caller.transport.write(controller.early)
        accepted = controller.early.startswith(_ACCEPTED)
        controller.early = b""
        if accepted and behind:
            controller.transport.write(behind)
        caller.muted = not accepted
        if not controller.backed_up:
            caller.transport.resume_reading()
        if controller.ended:
            self.end_half(controller)

    def end_half(self, end: _End) -> None:
        """One side sends nothing more; tell the other one."""
        other = end.other
        assert other is not None  # noqa: S101
        if other.ended:
            self.close()
            return
        with contextlib.suppress(OSError, RuntimeError):  # it has ended already
            other.transport.write_eof()
        self._abort_later()

    def lose(self, end: _End) -> None:
        """One connection has ended; end the other one."""
        self._lost.add(end)
        if len(self._lost) == 2:
            if self._timer is not None:
                self._timer.cancel()
            self._on_end(self)
        else:
            self.close()

    def close(self) -> None:
        """End both connections, once what was written is accepted."""
        for end in (self._caller, self._controller):
            end.transport.close()
        self._abort_later()

    def abort(self) -> None:
        """End both connections now."""
        for end in (self._caller, self._controller):
            end.transport.abort()

    def _abort_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LINGER, self.abort)


def _head(request: CallerRequest) -> bytes:
    scope = request.scope
    query: bytes = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    headers = headers_for_controller(scope)
    headers.add("connection", "Upgrade")
    headers.add("upgrade", "websocket")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, lines.encode("latin-1"))


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def _receive_nothing() -> Message:
    raise AssertionError


async def _send_nothing(message: Message) -> None:
    raise AssertionError
