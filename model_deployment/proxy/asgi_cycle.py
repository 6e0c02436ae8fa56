"""Has an ASGI application answer a request, by uvicorn's own cycle."""

import asyncio
import logging
from collections.abc import Callable
from time import time

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from model_deployment.proxy.answer_head import date
from model_deployment.proxy.caller_request import CallerRequest

_log = logging.getLogger(__name__)


def new_cycle(
    request: CallerRequest,
    transport: asyncio.Transport,
    flow: FlowControl,
    answered: Callable[[], None],
) -> RequestResponseCycle:
    """A cycle that has got what has come of the body.

    Args:
        answered: called when the answer is complete.
    """
    cycle = RequestResponseCycle(
        scope=request.scope,  # type: ignore[arg-type]
        transport=transport,
        flow=flow,
        logger=_log,
        access_logger=_log,
        access_log=False,
        default_headers=[date(int(time()))],
        message_event=asyncio.Event(),
        expect_100_continue=request.expects_continue,
        keep_alive=request.keep_alive,
        on_response=answered,
    )
    cycle.disconnected = request.gone
    cycle.more_body = not request.body_complete
    cycle.body = bytearray(request.take_body())
    if cycle.body or request.body_complete or request.gone:
        cycle.message_event.set()
    return cycle


def disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the application that its caller has gone, and forget what it has not read."""
    cycle.disconnected = True
    cycle.body = bytearray()
    cycle.message_event.set()
