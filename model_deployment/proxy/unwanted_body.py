"""Throws the rest of a body away whose request is answered already, as nginx's ``lingering_close`` does.

If a connection is closed with bytes unread, TCP resets it, and the caller may lose the answer (RFC 9112,
section 9.6). So they are read, and nothing else is done with them. Hundreds of callers who are refused send
more than all others together: they share what one may send, and who came first among too many is left.
"""

import asyncio
from collections.abc import Callable

from model_deployment.proxy.fair_reading import FairFlow, Turns

#: Connections of one server at once.
_MOST = 128
#: Seconds that a caller may take to send the rest, and to send any of it.
_LONGEST, _IDLE = 10.0, 2.0
#: What has been read; nobody looks at it.
_READ = memoryview(bytearray(128 * 1024))
#: How a body of unknown size ends. If a piece of one happens to end so, its caller is left too soon; one
#: who sends trailers is left late.
_LAST_CHUNK = b"0\r\n\r\n"
#: Seconds between two reads of several connections: 64 MB a second in all.
_PAUSE = 0.002


class UnwantedBodies:
    """Those of one server."""

    def __init__(self) -> None:
        self._turns = Turns(at_once=1, pause=_PAUSE)
        self._open: dict[UnwantedBody, None] = {}

    def begin(
        self,
        transport: asyncio.Transport,
        flow: FairFlow,
        size: int | None,
        ended: Callable[[], None],
    ) -> None:
        """Read what comes of a connection from now on.

        Args:
            size: bytes of the body that are still to come; None if nobody knows.
            ended: called when they have come, or nobody waits for them any more.
        """

        def leave(one: UnwantedBody) -> None:
            del self._open[one]
            ended()

        one = UnwantedBody(transport.get_protocol(), flow, size, leave)
        self._open[one] = None
        transport.set_protocol(one)
        flow.move(self._turns)
        flow.resume_reading()
        if len(self._open) > _MOST:
            next(iter(self._open)).finish()


class UnwantedBody(asyncio.BufferedProtocol):
    """The protocol of one connection. What is no body goes to the protocol before."""

    def __init__(
        self,
        connection: asyncio.BaseProtocol,
        flow: FairFlow,
        size: int | None,
        ended: Callable[["UnwantedBody"], None],
    ) -> None:
        """``ended`` is called once, with this."""
        self._connection = connection
        self._flow = flow
        self._left = size
        self._ended: Callable[[UnwantedBody], None] | None = ended
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + _LONGEST
        self._came = True
        self._look()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        self._came = True
        self._flow.wait_turn()
        if self._left is None:
            ended = _READ[max(nbytes - len(_LAST_CHUNK), 0) : nbytes] == _LAST_CHUNK
        else:
            self._left -= nbytes
            ended = self._left <= 0
        if ended:
            self.finish()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self.finish()
        self._connection.connection_lost(error)

    def finish(self) -> None:
        """Wait for no more of it."""
        self._timer.cancel()
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended(self)

    def _look(self) -> None:
        """Wait no longer for a caller who sends nothing, or sends for ever."""
        if not (self._came or self._flow.waits) or self._loop.time() >= self._end:
            self.finish()
        else:
            self._came = False
            self._timer = self._loop.call_later(_IDLE, self._look)
