"""Serves callers on a listening socket, which may be shared with other processes."""

import asyncio
import contextlib
import logging
import socket

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from model_deployment.http.asgi import App
from model_deployment.http.listener import admit_no_more
from model_deployment.proxy.caller_connection import CallerConnection
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.callers import Callers
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.forward import Admit, Proxy, admit_all
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.tunnel import PATHS, Tunnels

_log = logging.getLogger(__name__)

#: Seconds that callers on open connections are given to hear that they are to leave.
_GOODBYE = 0.3
#: Connections accepted at once; after a wait, for each millisecond of it: a process with many connections
#: must not become slow to take others.
_ACCEPTED_AT_ONCE = 4
#: Where several processes share the socket, one waits a millisecond for each so many connections that it
#: has before it takes another: the kernel wakes the same one first each time, and it would get them all.
_CONNECTIONS_PER_MS = 4
_LONGEST_WAIT_MS = 8
#: Seconds without accepting when there are no more descriptors.
_EXHAUSTED = 1.0
#: Looks at the connections within the time that a connection may be idle.
_LOOKS = 8
#: Seconds that requests are given to end with an answer once their calls were dropped. The controller kills
#: a proxy that takes :data:`model_deployment.data_plane.decide.GRACE` seconds longer than its requests may.
_LAST_ANSWERS = 3.0
#: Seconds that applications are given to notice that their callers' connections were cut.
_CUT = 0.3


class ProxyServer:
    """Answers predictions itself, and hands all other requests to an ASGI application."""

    def __init__(
        self,
        app: App,
        routes: Routes,
        context: ExchangeContext,
        admit: Admit = admit_all,
        *,
        trusted_proxies: str = "127.0.0.1",
        keep_alive: float = 75,
        tunnels: Tunnels | None = None,
    ) -> None:
        """Prepare. Needs a running event loop.

        Args:
            app: gets all requests that are not for a model.
            admit: called with each request and its headers, before anything else is done.
            trusted_proxies: addresses and networks, separated by commas, whose ``X-Forwarded-For`` and
                ``X-Forwarded-Proto`` the application may believe.
            keep_alive: seconds that a connection may be idle.
            tunnels: get the handshakes of WebSockets; None: there are none.
        """
        self._app: App = ProxyHeadersMiddleware(app, trusted_proxies)  # type: ignore[arg-type, assignment]
        self._routes = routes
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._tunnels = tunnels
        open_tunnel = None if tunnels is None else tunnels.open
        self._proxy = Proxy(self._pass_on, routes, context, admit, open_tunnel)
        paths = None if tunnels is None else PATHS
        self._callers = Callers(self._proxy.answer, paths, context.caller_timeout)
        self._listener: socket.socket | None = None
        self._shared = False
        self._accepting: set[asyncio.Task[None]] = set()
        self._look_timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open connections of callers."""
        return len(self._callers.open)

    async def start(self, listener: socket.socket, *, shared: bool = False) -> None:
        """Accept connections. The server closes the socket when it stops.

        Args:
            shared: whether other processes accept connections from the socket as well.
        """
        listener.setblocking(False)
        self._listener, self._shared = listener, shared
        self._loop.add_reader(listener.fileno(), self._accept, listener)
        self._look()

    async def stop(self, *, last: bool, patience: float) -> None:
        """Take no new connections, let the requests under way end, and close all connections.

        Args:
            last: whether no other process accepts connections from the socket. Else it goes on listening.
            patience: seconds after which the calls of models are dropped, with an answer that says so.
        """
        # Their callers see calls that are cancelled as broken off. So ours are dropped first.
        late = self._loop.call_later(patience, self._routes.publish, ())
        try:
            await self._say_goodbye(last=last)
            if self._tunnels is not None:
                self._tunnels.close()  # they would have no end
            await self._wait_for_end(patience + _LAST_ANSWERS)
        finally:
            late.cancel()
            self._proxy.close()
            if self._look_timer is not None:
                self._look_timer.cancel()
            for connection in [*self._callers.open]:
                connection.transport.abort()
            if self._tunnels is not None:
                self._tunnels.abort()
            # They end by themselves. uvicorn logs the traceback of one that is cancelled.
            if self._callers.tasks:
                await asyncio.wait(self._callers.tasks, timeout=_CUT)
            for task in (*self._callers.tasks, *self._accepting):
                task.cancel()
            await asyncio.gather(*self._callers.tasks, *self._accepting, return_exceptions=True)

    async def _pass_on(self, request: CallerRequest) -> None:
        await request.pass_on(self._app)

    # ---- Accepting

    def _accept(self, listener: socket.socket) -> None:
        wait = min(len(self._callers.open) // _CONNECTIONS_PER_MS, _LONGEST_WAIT_MS)
        if self._shared and wait:
            self._pause(listener, wait / 1000, most=wait * _ACCEPTED_AT_ONCE)
        else:
            self._accept_some(listener, _ACCEPTED_AT_ONCE)

    def _accept_some(self, listener: socket.socket, most: int) -> None:
        for _ in range(most):
            try:
                accepted, _address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely there are no more descriptors: the connection stays in the queue.
                _log.error("cannot accept a connection: %s", error)
                self._pause(listener, _EXHAUSTED, most=_ACCEPTED_AT_ONCE)
                return
            self._take(accepted)

    def _pause(self, listener: socket.socket, seconds: float, most: int) -> None:
        """Let others accept connections for so long, and then accept up to ``most``."""
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(seconds, self._go_on, listener, most)

    def _go_on(self, listener: socket.socket, most: int) -> None:
        if listener is self._listener:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
            self._accept_some(listener, most)

    def _take(self, accepted: socket.socket) -> None:
        task = self._loop.create_task(self._connect(accepted))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            await self._loop.connect_accepted_socket(self._connection, accepted)

    def _connection(self) -> CallerConnection:
        return CallerConnection(self._callers)

    # ---- Ends

    async def _say_goodbye(self, *, last: bool) -> None:
        """Take no new connections, and let those there are ask once more, with an answer that closes."""
        self._callers.closing = True
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._loop.remove_reader(listener.fileno())
        end = self._loop.time() + _GOODBYE
        with listener:
            if last:
                admit_no_more(listener)
            else:
                listener.close()
            while True:
                if last:  # again and again: some are in the middle of connecting
                    self._take_in(listener)
                if not (self._callers.open or self._accepting) or self._loop.time() >= end:
                    return
                await asyncio.sleep(0.01)

    def _take_in(self, listener: socket.socket) -> None:
        """Take in who stands in the queue already: closing it resets their connections."""
        end = self._loop.time() + _GOODBYE
        with contextlib.suppress(BlockingIOError):
            while self._loop.time() < end:
                accepted, _ = listener.accept()
                self._take(accepted)

    async def _wait_for_end(self, seconds: float) -> None:
        end = self._loop.time() + seconds
        while self._callers.open or self._callers.tasks or self._accepting or self._tunnels:
            # Again and again: what a busy server has not read yet may be no whole request.
            for connection in [*self._callers.open]:
                connection.close_if_idle()
            if self._loop.time() >= end:
                return
            await asyncio.sleep(0.01)

    def _look(self) -> None:
        """Close connections that are idle for long. One timer serves all."""
        for connection in [*self._callers.open]:
            if connection.idle:
                connection.quiet += 1
                if connection.quiet > _LOOKS:
                    connection.transport.close()
        self._look_timer = self._loop.call_later(self._keep_alive / _LOOKS, self._look)
