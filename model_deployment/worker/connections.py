"""The connections of controllers: lines in, lines out; a slow controller does not delay others."""

import contextlib
import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from model_deployment.worker import protocol


@dataclass
class _Connection:
    socket: socket.socket
    read: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


class ControllerConnections:
    """The controllers that are connected."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        answer: Callable[[bytes], dict[str, Any]],
    ) -> None:
        """``answer`` returns the answer to a line."""
        self._listener = listener
        self._selector = selector
        self._answer = answer
        self._connections: dict[int, _Connection] = {}
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, self._on_connect)

    def __len__(self) -> int:
        return len(self._connections)

    def send_to_all(self, event: dict[str, Any]) -> None:
        for connection in [*self._connections.values()]:
            self._send(connection, event)

    def detach(self) -> None:
        """In a fork: forget the sockets without closing them, which are the parent's."""
        self._listener.detach()
        for connection in self._connections.values():
            connection.socket.detach()

    def _on_connect(self, listener: socket.socket, _: int) -> None:
        with contextlib.suppress(OSError):
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            self._connections[accepted.fileno()] = _Connection(accepted)
            self._selector.register(accepted, selectors.EVENT_READ, self._on_ready)

    def _on_ready(self, ready: socket.socket, events: int) -> None:
        connection = self._connections.get(ready.fileno())
        if connection is None:  # closed by another event of the same select()
            return
        if events & selectors.EVENT_WRITE:
            self._flush(connection)
        if events & selectors.EVENT_READ and ready.fileno() >= 0:
            try:
                data = ready.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            connection.read += data
            if not data or len(connection.read) > protocol.LONGEST:
                self._hang_up(connection)
                return
            *lines, rest = connection.read.split(b"\n")
            connection.read = bytearray(rest)
            for line in lines:
                self._send(connection, self._answer(bytes(line)))

    def _send(self, connection: _Connection, message: dict[str, Any]) -> None:
        connection.unsent += protocol.encode(message)
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if connection.socket.fileno() < 0:
            return
        try:
            sent = connection.socket.send(connection.unsent) if connection.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._hang_up(connection)
            return
        del connection.unsent[:sent]
        if len(connection.unsent) > protocol.LONGEST:
            self._hang_up(connection)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.socket, events, self._on_ready)

    def _hang_up(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is None:
            return
        self._selector.unregister(connection.socket)
        connection.socket.close()
