"""What the connections of one server have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.fair_reading import Turns
from model_deployment.proxy.unwanted_body import UnwantedBodies

if TYPE_CHECKING:
    from model_deployment.proxy.caller_connection import CallerConnection


#: Bytes that are read at once. The C library keeps such pieces in its heap (``http/process.py``): to get
#: larger ones from the kernel takes longer than to read them.
_PIECE = 96 * 1024


class Callers:
    """The connections of one server, and what they have in common."""

    def __init__(
        self,
        answer: Callable[[CallerRequest], Awaitable[None]],
        sockets: bytes | None = None,
        patience: float = 30.0,
    ) -> None:
        """
        Args:
            answer: answers one request.
            sockets: beginning of the paths at which handshakes of WebSockets are taken; None: nowhere.
            patience: seconds that a caller may accept nothing of its answers.
        """
        self.answer = answer
        self.sockets = sockets
        self.patience = patience
        self.open: set[CallerConnection] = set()
        #: Connections end with the next answer.
        self.closing = False
        #: Tasks of ASGI applications, which may go on after their answers.
        self.tasks: set[asyncio.Task[Any]] = set()
        self.loop = asyncio.get_running_loop()
        self.turns = Turns()
        #: Of those who send what nobody wants.
        self.unwanted = UnwantedBodies()
        #: What has just come of any connection; it is copied at once.
        self.came = memoryview(bytearray(_PIECE))
