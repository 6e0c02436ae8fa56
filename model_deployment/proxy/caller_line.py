"""What a request of a caller needs of the connection that it came by."""

import asyncio
import select
from typing import TYPE_CHECKING, Protocol

from model_deployment.http.asgi import App

if TYPE_CHECKING:
    from model_deployment.proxy.caller_request import CallerRequest


def has_hung_up(transport: asyncio.Transport) -> bool:
    """Whether a caller has hung up, also if nothing is read from the connection."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


class Line(Protocol):
    """What a request needs of its connection."""

    #: Whether the caller does not accept what is written as fast as it comes.
    backed_up: bool

    @property
    def closing(self) -> bool:
        """Whether the caller is to close the connection after this answer."""
        ...

    def write(self, data: bytes) -> None: ...

    def pause_body(self, request: "CallerRequest") -> None:
        """Read no more for now."""

    def resume_body(self, request: "CallerRequest") -> None:
        """Go on reading."""

    async def accepted(self) -> None:
        """Wait until the caller has accepted most of what was written."""

    def answered(self, request: "CallerRequest") -> None:
        """The answer is complete."""

    async def pass_on(self, request: "CallerRequest", app: App) -> None:
        """Have an ASGI application answer."""

    def hand_over(self, request: "CallerRequest") -> tuple[asyncio.Transport, bytes]:
        """Give the connection away: what comes next is no HTTP. Returns what has come of it already."""
        ...
