"""Runs a controller on an address until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from signal import SIGHUP, SIGINT, SIGTERM

import uvicorn

from model_deployment.app.build import Running, running
from model_deployment.app.components import StandIn
from model_deployment.control.controller import Controller
from model_deployment.http.connection import Connection
from model_deployment.http.listener import admit_no_more, listen
from model_deployment.settings import Settings

_log = logging.getLogger(__name__)


#: Seconds that callers on open connections are given to hear that they are to leave.
_GOODBYE = 0.3


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which end the program before it has cleaned up.

    It cancels the calls that outstay its patience, which their callers see as a bare 500. So ours ends
    first, and they get a proper answer. And it closes connections that lie idle, on which a request may be
    coming in: so callers are told first not to use them again.
    """

    def __init__(self, config: uvicorn.Config, it: Running, *, patience: float) -> None:
        super().__init__(config)
        self._it = it
        self._patience = patience

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        late = asyncio.get_running_loop().call_later(self._patience, self._it.drop_calls)
        try:
            await self._say_goodbye(sockets or [])
            await super().shutdown(sockets)
        finally:
            late.cancel()

    async def _say_goodbye(self, sockets: list[socket.socket]) -> None:
        """Take no new connections, and let those there are ask once more, with an answer that closes."""
        self._it.app.close_connections()
        kept = [listener.dup() for listener in sockets]
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + _GOODBYE
        with contextlib.ExitStack() as stack:
            for listener in kept:
                stack.enter_context(listener)
                admit_no_more(listener)
            while True:
                for listener in kept:  # again and again: some are in the middle of connecting
                    await self._take_in(listener)
                if not self.server_state.connections or loop.time() >= end:
                    return
                await asyncio.sleep(0.01)

    async def _take_in(self, listener: socket.socket) -> None:
        """Take in who stands in the queue already: closing it resets their connections."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        end = loop.time() + _GOODBYE
        with contextlib.suppress(BlockingIOError):
            while loop.time() < end:
                accepted, _ = listener.accept()
                await loop.connect_accepted_socket(self._protocol, accepted)

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes one for each connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


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
    # Two descriptors for each call under way: the usual soft limit of 1024 is soon reached.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _collect_less()
    listener = listen(settings.host, settings.port)
    with contextlib.closing(listener):
        async with running(settings, stand_in) as it:
            config = uvicorn.Config(
                it.app,
                http=Connection,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=round(settings.drain_timeout) + 5,
            )
            server = _Server(config, it, patience=settings.drain_timeout)
            _on_signals(server, it)
            beside = [asyncio.ensure_future(start(it.controller)) for start in started]
            for task in beside:
                task.add_done_callback(_report)
            try:
                await server.serve(sockets=[listener])
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)


def _report(task: asyncio.Future[None]) -> None:
    """At once, and not when the controller ends: nobody else waits for what runs beside it."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("a background task of the controller failed", exc_info=error)


def _collect_less() -> None:
    """Have the cyclic garbage collector run seldom.

    Its default is to run after each 700 new objects, some ten requests: a twelfth of the processor time,
    and pauses of several milliseconds, for cycles that requests do not leave.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _on_signals(server: uvicorn.Server, it: Running) -> None:
    def stop() -> None:
        _log.info("stopping")
        if server.should_exit:
            it.drop_calls()
        server.should_exit = True
        it.controller.stop_waiting()
        it.dismiss()

    loop = asyncio.get_running_loop()
    for number in (SIGTERM, SIGINT, SIGHUP):
        loop.add_signal_handler(number, stop)
