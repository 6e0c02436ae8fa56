"""The rest of a body that nobody wants is read for a while, and not of any number of callers."""

import asyncio
from typing import cast

import pytest

from model_deployment.proxy import unwanted_body
from model_deployment.proxy.fair_reading import FairFlow, Turns
from model_deployment.proxy.unwanted_body import UnwantedBodies, UnwantedBody
from tests.support.waiting import until


class Connection(asyncio.Protocol):
    """The protocol before; notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.heard.append("lost")


class Transport:
    def __init__(self) -> None:
        self.protocol: asyncio.BaseProtocol = Connection()
        self.reads = True

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return False


class Caller:
    """One who is answered, and goes on sending."""

    def __init__(self, bodies: UnwantedBodies, size: int | None) -> None:
        self.transport = Transport()
        self.connection = cast(Connection, self.transport.protocol)
        self.ends = 0
        transport = cast(asyncio.Transport, self.transport)
        bodies.begin(transport, FairFlow(transport, Turns()), size, self._ended)
        self.protocol = cast(UnwantedBody, self.transport.protocol)

    def _ended(self) -> None:
        self.ends += 1

    async def send(self, size: int, end: bytes = b"x") -> None:
        await until(lambda: self.transport.reads, what="the caller's turn")
        buffer = self.protocol.get_buffer(size)
        assert len(buffer) >= size
        buffer[size - len(end) : size] = end
        self.protocol.buffer_updated(size)


async def test_it_ends_with_its_last_byte() -> None:
    caller = Caller(UnwantedBodies(), 100_000)
    await caller.send(60_000)
    assert caller.ends == 0
    await caller.send(50_000)  # and what follows it is no request
    await caller.send(10)
    assert caller.ends == 1


@pytest.mark.parametrize("size", [5, 60_000])
async def test_chunked_body_ends_with_its_last_chunk(size: int) -> None:
    caller = Caller(UnwantedBodies(), None)
    for end in (b"\r\n", b"0\r\n", b"1\r\n\r\n"):
        await caller.send(size, end)
    assert caller.ends == 0
    await caller.send(size, b"0\r\n\r\n")
    assert caller.ends == 1


async def test_it_ends_with_its_connection() -> None:
    caller = Caller(UnwantedBodies(), None)
    await caller.send(60_000)
    caller.protocol.pause_writing()
    caller.protocol.resume_writing()
    caller.protocol.connection_lost(None)
    assert caller.ends == 1
    assert caller.connection.heard == ["pause", "resume", "lost"]


async def test_nobody_waits_long_for_a_caller_who_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unwanted_body, "_IDLE", 0.02)
    silent, sends = (Caller(UnwantedBodies(), size) for size in (None, 10_000_000))
    while not silent.ends:
        await sends.send(1)
    assert sends.ends == 0
    await until(lambda: sends.ends == 1, what="the end of who sends no more")


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwanted_body, "_IDLE", 0.02)
    monkeypatch.setattr(unwanted_body, "_LONGEST", 0.1)
    caller = Caller(UnwantedBodies(), None)
    while not caller.ends:
        await caller.send(1)


async def test_of_too_many_the_first_is_left() -> None:
    bodies = UnwantedBodies()
    callers = [Caller(bodies, None) for _ in range(200)]
    left = [caller for caller in callers if caller.ends]
    assert 0 < len(left) < 100
    assert left == callers[: len(left)]
    for caller in callers:
        caller.protocol.connection_lost(None)
        assert caller.ends == 1
    Caller(bodies, None)


async def test_many_share_what_one_may_send() -> None:
    bodies = UnwantedBodies()
    callers = [Caller(bodies, None) for _ in range(20)]
    for caller in callers:
        caller.protocol.buffer_updated(1)
    seen: list[Caller] = []
    while len(seen) < 20:
        await asyncio.sleep(0)
        went = [caller for caller in callers if caller.transport.reads and caller not in seen]
        assert len(went) <= 1
        seen += went
    assert seen == callers
