"""The connections of controllers: lines in, lines out, and nobody who is slow keeps others waiting."""

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
    """All that are connected."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        answer: Callable[[bytes], dict[str, Any]],
    ) -> None:
        """Those of a listening socket; ``answer`` says what to say to a line."""
        self._listener = listener
        self._selector = selector
        self._answer = answer
        self._callers: dict[int, _Connection] = {}
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, self._on_connect)

    def __len__(self) -> int:
        return len(self._callers)

    def tell(self, event: dict[str, Any]) -> None:
        """Tell everybody."""
        for caller in [*self._callers.values()]:
            self._send(caller, event)

    def detach(self) -> None:
        """In a fork: forget them, without closing descriptors that are not its own."""
        self._listener.detach()
        for caller in self._callers.values():
            caller.socket.detach()

    def _on_connect(self, listener: socket.socket, _: int) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            self._callers[connection.fileno()] = _Connection(connection)
            self._selector.register(connection, selectors.EVENT_READ, self._on_caller)

    def _on_caller(self, connection: socket.socket, events: int) -> None:
        caller = self._callers.get(connection.fileno())
        if caller is None:  # hung up by something else that was selected at the same time
            return
        if events & selectors.EVENT_WRITE:
            self._flush(caller)
        if events & selectors.EVENT_READ and connection.fileno() >= 0:
            try:
                data = connection.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            caller.read += data
            if not data or len(caller.read) > protocol.LONGEST:
                self._hang_up(caller)
                return
            *lines, rest = caller.read.split(b"\n")
            caller.read = bytearray(rest)
            for line in lines:
                self._send(caller, self._answer(bytes(line)))

    def _send(self, caller: _Connection, message: dict[str, Any]) -> None:
        caller.unsent += protocol.encode(message)
        self._flush(caller)

    def _flush(self, caller: _Connection) -> None:
        if caller.socket.fileno() < 0:
            return
        try:
            sent = caller.socket.send(caller.unsent) if caller.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._hang_up(caller)
            return
        del caller.unsent[:sent]
        if len(caller.unsent) > protocol.LONGEST:
            self._hang_up(caller)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if caller.unsent else 0)
        self._selector.modify(caller.socket, events, self._on_caller)

    def _hang_up(self, caller: _Connection) -> None:
        if self._callers.pop(caller.socket.fileno(), None) is None:
            return
        self._selector.unregister(caller.socket)
        caller.socket.close()
