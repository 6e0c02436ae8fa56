"""What a request of a caller needs of the connection that it came by."""

import asyncio
import select
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Protocol

from model_deployment.http.asgi import App
from model_deployment.proxy.fair_reading import FairFlow

if TYPE_CHECKING:
    from model_deployment.proxy.caller_request import CallerRequest

#: Seconds between looks whether a caller from whom nothing is read is still there.
_LOOK = 1.0


def has_hung_up(transport: asyncio.Transport) -> bool:
    """Whether a caller has hung up, also if nothing is read from the connection."""
    return _is(transport, select.POLLRDHUP)


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether something has come from a caller that is not read yet: bytes, or their end."""
    return _is(transport, select.POLLIN)


def _is(transport: asyncio.Transport, event: int) -> bool:
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), event)
    return bool(poll.poll(0))


def end_with_reset(transport: asyncio.Transport) -> None:
    """Have a connection end with RST instead of FIN when it is closed."""
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)


class HangUpWatch:
    """Ends the connection of a caller who hung up behind bytes that are not read."""

    __slots__ = ("_flow", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, flow: FairFlow) -> None:
        """``flow``: tells whether nothing is read, and whether more is read when it is its turn."""
        self._transport = transport
        self._flow = flow
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Nothing is read from now on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def end(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if not self._flow.read_paused or self._transport.is_closing():
            return
        # Who waits for its turn may have closed one way only, and is read to the end.
        if not self._flow.waits and has_hung_up(self._transport):
            self._transport.abort()
        else:
            self.begin()


class Line(Protocol):
    """What a request needs of its connection."""

    @property
    def backed_up(self) -> bool:
        """Whether the caller does not accept what is written as fast as it comes."""
        ...

    @property
    def closing(self) -> bool:
        """Whether the caller is to close the connection after this answer."""
        ...

    def write(self, data: bytes) -> None: ...

    def pause_body(self, request: "CallerRequest") -> None:
        """Read no more for now."""

    def resume_body(self, request: "CallerRequest") -> None:
        """Go on reading."""

    def discard(self, request: "CallerRequest", size: int | None) -> None:
        """Throw the rest of the body away, and say when it has ended. No other request can follow.

        Args:
            size: bytes of it that are still to come; None if nobody knows.
        """

    async def accepted(self) -> None:
        """Wait until the caller has accepted most of what was written."""

    def answered(self, request: "CallerRequest") -> None:
        """The answer is complete."""

    async def pass_on(self, request: "CallerRequest", app: App) -> None:
        """Have an ASGI application answer."""

    def hand_over(self, request: "CallerRequest") -> tuple[asyncio.Transport, bytes]:
        """Give the connection away: what comes next is no HTTP. Returns what has come of it already."""
        ...
