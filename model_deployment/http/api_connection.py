"""A connection to the controller: it takes handshakes of WebSockets, and no other offer."""

import logging
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from model_deployment.http.connection import Connection
from model_deployment.http.handshake import is_handshake

_log = logging.getLogger(f"{__name__}.websockets")
_log.setLevel(logging.WARNING)


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

    def _should_upgrade(self) -> bool:
        return self._taken


class QuietWebSocket(WebSocketsSansIOProtocol):
    """The ``ws`` argument of :class:`uvicorn.Config`: thousands of handshakes are no lines of the log."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.logger = _log

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # Else uvicorn takes the handshake that was refused for one without an answer, and logs an error
            # for each: whoever guesses tokens would fill the log.
            self.handshake_complete = True
