"""Runs a controller until it is told to stop."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from signal import SIGHUP, SIGINT, SIGTERM

import uvicorn

from model_deployment.app.build import Running, running
from model_deployment.app.components import StandIn
from model_deployment.control.controller import Controller
from model_deployment.http.api_connection import QuietWebSocket, SocketConnection
from model_deployment.http.asgi import App
from model_deployment.http.process import prepare_for_connections
from model_deployment.settings import Settings

_log = logging.getLogger(__name__)

#: Seconds in which devices are told that the controller ends.
_FAREWELL = 2.0
#: Connections of proxies that may wait to be accepted.
_WAITING = 1024
#: Bytes that a message of a device may have; a larger one ends its connection with code 1009.
_LARGEST_FRAME = 1024 * 1024


class _ApiServer(uvicorn.Server):
    """Serves the API to the proxies, on a Unix socket.

    It goes on until the proxies have answered what they have, unless they outlive the controller.
    """

    def __init__(self, config: uvicorn.Config, it: Running, settings: Settings) -> None:
        super().__init__(config)
        self._it = it
        self._settings = settings

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Without uvicorn's handlers, which end the program before it has cleaned up."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        [listener] = sockets or []
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._protocol, sock=listener, backlog=_WAITING)
        self.servers = [server]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes one for each connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def _end_sockets(self) -> None:
        """Wait a moment until devices have heard why: proxies that retire only cut their connections."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _FAREWELL
        while left := [
            one for one in self.server_state.connections if isinstance(one, QuietWebSocket)
        ]:
            if loop.time() >= end:
                for one in left:
                    one.shutdown()
                return
            await asyncio.sleep(0.02)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._end_sockets()
        if not self._settings.keep_proxies:
            await self._it.data_plane.retire(self._settings.drain_timeout)
        await super().shutdown(sockets)


def api_config(app: App, *, drain: float) -> uvicorn.Config:
    """How the API is served.

    Args:
        drain: seconds that requests under way may take at the end.
    """
    return uvicorn.Config(
        app,
        http=SocketConnection,
        loop="uvloop",
        ws=QuietWebSocket,
        ws_max_size=_LARGEST_FRAME,
        # Devices send something often enough by themselves, and what comes of them is what counts.
        ws_ping_interval=None,
        # It would take memory for each of thousands of connections.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Only proxies can reach the socket; they have checked what they say of their callers.
        forwarded_allow_ips="*",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=round(drain) + 5,
    )


async def serve(
    settings: Settings,
    *,
    stand_in: StandIn | None = None,
    started: Sequence[Callable[[Controller], Awaitable[None]]] = (),
) -> None:
    """Run a controller until SIGTERM or SIGINT; a second one hurries.

    Args:
        started: coroutine functions to run beside, each given the controller.

    Raises:
        StateError: the data directory or the address cannot be used.
    """
    prepare_for_connections()
    told = asyncio.Event()
    _on_signals(told.set)
    async with running(settings, stand_in) as it:
        config = api_config(it.app, drain=settings.drain_timeout)
        server = _ApiServer(config, it, settings)
        _on_signals(partial(_stop, server, it))
        if told.is_set():  # while it started
            _stop(server, it)
        beside = [asyncio.ensure_future(start(it.controller)) for start in started]
        for task in beside:
            task.add_done_callback(_report)
        try:
            await server.serve(sockets=[it.api_socket])
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


def _report(task: asyncio.Future[None]) -> None:
    """At once, and not when the controller ends: nobody else waits for what runs beside it."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("a background task of the controller failed", exc_info=error)


def _stop(server: uvicorn.Server, it: Running) -> None:
    _log.info("stopping")
    if server.should_exit:
        it.data_plane.drop()
    server.should_exit = True
    it.controller.stop_waiting()
    it.endpoints.stop_waiting()
    it.devices.stop()
    it.data_plane.dismiss()


def _on_signals(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (SIGTERM, SIGINT, SIGHUP):
        loop.add_signal_handler(number, stop)
