"""Runs a controller on an address until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import resource
from collections.abc import Awaitable, Callable, Sequence
from signal import SIGHUP, SIGINT, SIGTERM

from model_deployment.app.build import Running, running
from model_deployment.app.components import StandIn
from model_deployment.control.controller import Controller
from model_deployment.http.listener import listen
from model_deployment.settings import Settings

_log = logging.getLogger(__name__)


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
            stopping = asyncio.Event()
            _on_signals(stopping, it)
            beside = [asyncio.ensure_future(start(it.controller)) for start in started]
            for task in beside:
                task.add_done_callback(_report)
            try:
                await it.server.start(listener)
                await stopping.wait()
                await it.server.stop(last=True, patience=settings.drain_timeout)
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


def _on_signals(stopping: asyncio.Event, it: Running) -> None:
    def stop() -> None:
        _log.info("stopping")
        if stopping.is_set():
            it.drop_calls()
        stopping.set()
        it.controller.stop_waiting()
        it.dismiss()

    loop = asyncio.get_running_loop()
    for number in (SIGTERM, SIGINT, SIGHUP):
        loop.add_signal_handler(number, stop)
