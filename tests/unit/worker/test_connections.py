"""The connections of controllers: those that hang up at any moment harm nobody else."""

import selectors
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from model_deployment.worker import protocol
from model_deployment.worker.connections import ControllerConnections


class Exchange:
    """ControllerConnections with a listening socket, and a loop that is turned by hand."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections = ControllerConnections(self.listener, self.selector, self.answer)
        self.heard: list[bytes] = []
        self.told: list[dict[str, Any]] = []

    def answer(self, line: bytes) -> dict[str, Any]:
        self.heard.append(line)
        for event in self.told:
            self.connections.send_to_all(event)
        return {"heard": line.decode()}

    def connect(self) -> socket.socket:
        caller = socket.create_connection(self.listener.getsockname(), timeout=10)
        number = len(self.connections)
        while len(self.connections) == number:
            self.turn()
        return caller

    def select(self) -> list[tuple[selectors.SelectorKey, int]]:
        return self.selector.select(1)

    def turn(self, batch: list[tuple[selectors.SelectorKey, int]] | None = None) -> None:
        for key, events in self.select() if batch is None else batch:
            key.data(key.fileobj, events)

    def close(self) -> None:
        for caller in self.connections._connections.values():
            caller.socket.close()
        self.selector.close()
        self.listener.close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    it = Exchange()
    yield it
    it.close()


def vanish(caller: socket.socket) -> None:
    """Hang up so that the next thing that is sent fails."""
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    caller.close()


def test_lines_are_answered_one_by_one(exchange: Exchange) -> None:
    with exchange.connect() as caller:
        caller.sendall(b"one\ntwo\nth")
        exchange.turn()
        answers = caller.makefile("rb")
        assert [answers.readline() for _ in range(2)] == [
            protocol.encode({"heard": text}) for text in ("one", "two")
        ]
        answers.close()
    exchange.turn()
    assert len(exchange.connections) == 0


@pytest.mark.parametrize("told_first", [True, False])
def test_controller_that_hangs_up_during_a_broadcast_is_dropped(
    exchange: Exchange, told_first: bool
) -> None:
    gone, stays = exchange.connect(), exchange.connect()
    with stays:
        vanish(gone)
        batch = exchange.select()
        assert len(batch) == 1
        if told_first:
            # What sending finds out, its own event finds again.
            exchange.connections.send_to_all({"event": "exit"})
        exchange.turn(batch)
        exchange.turn(batch)
        assert len(exchange.connections) == 1
        if not told_first:
            exchange.connections.send_to_all({"event": "exit"})
        with stays.makefile("rb") as heard:
            assert heard.readline() == protocol.encode({"event": "exit"})


def test_controller_that_is_gone_before_a_write_is_dropped(exchange: Exchange) -> None:
    caller = exchange.connect()
    vanish(caller)
    ((key, _),) = exchange.select()
    exchange.turn([(key, selectors.EVENT_WRITE | selectors.EVENT_READ)])
    assert len(exchange.connections) == 0


def test_requests_before_a_hang_up_are_still_executed(exchange: Exchange) -> None:
    exchange.told = [{"event": "exit"}] * 3
    caller = exchange.connect()
    caller.sendall(b"one\ntwo\n")
    caller.close()
    while len(exchange.connections):
        exchange.turn()
    assert exchange.heard == [b"one", b"two"]


def test_controller_that_never_reads_is_dropped(exchange: Exchange) -> None:
    with exchange.connect():
        event = {"event": "x" * 100_000}
        for _ in range(1000):
            exchange.connections.send_to_all(event)
        assert len(exchange.connections) == 0
        exchange.connections.send_to_all(event)
