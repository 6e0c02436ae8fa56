"""A connection to the controller: it takes handshakes of WebSockets, and no other offer."""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from model_deployment.http.connection import Connection
from model_deployment.http.handshake import is_handshake

_log = logging.getLogger(f"{__name__}.websockets")
_log.setLevel(logging.WARNING)

#: Bytes of incomplete messages that all sockets may hold; the next one is closed with code 1013.
MOST_HELD = 64 * 1024 * 1024
#: Bytes of a message that do not count, and those below which two of its pieces become one.
_SMALL, _TINY = 16 * 1024, 1024


class SocketConnection(Connection):
    """The ``http`` argument of :class:`uvicorn.Config`; it takes handshakes at any path."""

    def takes_offer(self) -> bool:
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # an answer is under way, into which no frame may come
        return is_handshake(self.parser.get_method(), self.parser.get_http_version(), self.headers)

    def take_offer(self, rest: bytes) -> None:
        self.handle_websocket_upgrade()
        if rest and not self.transport.is_closing():
            protocol: Any = self.transport.get_protocol()
            protocol.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.cycle is not None:
            # It and the connection refer to each other, so only the garbage collector frees it.
            self.cycle.body = bytearray()

    def _should_upgrade(self) -> bool:
        return self._taken


class QuietWebSocket(WebSocketsSansIOProtocol):
    """The ``ws`` argument of :class:`uvicorn.Config`: thousands of handshakes are no lines of the log.

    Messages that are not complete are held, for all sockets together up to :data:`MOST_HELD`.
    """

    #: Bytes that all sockets hold.
    held = 0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = _log
        self._held = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        size = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        self._hold(size if size > _SMALL else 0)
        if self._held and QuietWebSocket.held > MOST_HELD and not self.transport.is_closing():
            self.conn.send_close(1013, "too many messages are under way; connect again")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        # Each piece takes memory beside its own bytes: a message may come byte by byte.
        if self.frames and len(self.frames[-1]) < _TINY:
            event.data = self.frames.pop() + event.data
        super().handle_cont(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hold(0)
        self.frames = []
        super().connection_lost(exc)

    def _hold(self, size: int) -> None:
        QuietWebSocket.held += size - self._held
        self._held = size

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # Else uvicorn takes the handshake that was refused for one without an answer, and logs an error
            # for each: whoever guesses tokens would fill the log.
            self.handshake_complete = True
