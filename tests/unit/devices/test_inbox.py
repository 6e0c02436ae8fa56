"""The inbox: one transaction for many devices, in order, with turns, and with limits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from model_deployment.core.device_messages import BrokenMessage, ReceivedBatch
from model_deployment.core.devices import DeviceMessage, MessageKind
from model_deployment.core.errors import Unavailable
from model_deployment.devices import inbox as module
from model_deployment.devices.document_backlog import DocumentBacklog
from model_deployment.devices.inbox import Inbox, Message, Origin
from model_deployment.state.database import DatabaseError
from tests.support.memory_documents import START
from tests.support.waiting import until


def log(seq: int) -> DeviceMessage:
    return DeviceMessage(seq, MessageKind.LOG, START, {"lines": []})


def captures(seq: int) -> DeviceMessage:
    return DeviceMessage(seq, MessageKind.CAPTURES, START, {"captures": []})


class RowsInMemory:
    """Stores as the state database does; fails as it is told."""

    def __init__(self) -> None:
        self.stored: dict[int, list[int]] = {}
        self.calls: list[list[ReceivedBatch]] = []
        self.fails: Exception | None = None
        #: Devices whose messages raise what is no error of the database.
        self.poison: set[int] = set()
        self.unknown: set[int] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self, batches: Sequence[ReceivedBatch]) -> dict[int, int]:
        self.calls.append([*batches])
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        if self.poison & {one.device_id for one in batches}:
            raise ValueError("poison")
        found = {}
        for batch in batches:
            if batch.device_id in self.unknown:
                continue
            stored = self.stored.setdefault(batch.device_id, [])
            for message in batch.messages:
                if message.seq == len(stored) + 1:
                    stored.append(message.seq)
            found[batch.device_id] = len(stored)
        return found


@asynccontextmanager
async def running(inbox: Inbox) -> AsyncIterator[Inbox]:
    task = asyncio.create_task(inbox.run())
    yield inbox
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def rows() -> RowsInMemory:
    return RowsInMemory()


@pytest.fixture
async def inbox(rows: RowsInMemory) -> AsyncIterator[Inbox]:
    async with running(Inbox(rows, DocumentBacklog(1000), capacity=1000)) as one:
        yield one


def origin(device: int, generation: int | None = 1) -> Origin:
    return Origin(device, generation, "s")


async def test_messages_of_many_devices_share_a_transaction(
    inbox: Inbox, rows: RowsInMemory
) -> None:
    acknowledged: dict[int, int | None] = {}
    for device in range(5):
        for seq in (1, 2, 3):
            inbox.add(origin(device), log(seq), 1, lambda n, d=device: acknowledged.update({d: n}))  # type: ignore[misc]
    await until(lambda: acknowledged == dict.fromkeys(range(5), 3))
    assert len(rows.calls) == 1
    assert [[m.seq for m in one.messages] for one in rows.calls[0]] == [[1, 2, 3]] * 5


async def test_devices_take_turns(inbox: Inbox, rows: RowsInMemory) -> None:
    for seq in range(1, 201):
        inbox.add(origin(1), log(seq), 1, None)
    inbox.add(origin(2), log(1), 1, None)
    await until(lambda: len(rows.stored.get(1, ())) == 200)
    assert [len(one.messages) for one in rows.calls[0]] == [64, 1]
    assert rows.stored[1] == [*range(1, 201)]


async def test_a_transaction_has_limits(
    inbox: Inbox, rows: RowsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MESSAGES", 3)
    monkeypatch.setattr(module, "_BYTES", 50)
    for device in (1, 2, 3):
        for seq in (1, 2):
            inbox.add(origin(device), log(seq), 1, None)
    await until(lambda: len(rows.stored) == 3 and all(map(len, rows.stored.values())))
    await until(lambda: rows.stored == {1: [1, 2], 2: [1, 2], 3: [1, 2]})
    assert [sum(len(b.messages) for b in call) for call in rows.calls] == [3, 3]
    rows.calls.clear()
    for seq in (3, 4, 5):
        inbox.add(origin(1), log(seq), 40, None)
    await until(lambda: len(rows.stored[1]) == 5)
    assert [sum(len(b.messages) for b in call) for call in rows.calls] == [2, 1]


async def test_what_cannot_be_written_is_tried_again_in_order(
    inbox: Inbox, rows: RowsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    rows.fails = DatabaseError("disk I/O error")
    rows.gate.clear()
    told: list[int | None] = []
    inbox.add(origin(1), log(1), 1, told.append)
    await until(lambda: rows.calls)
    for seq in (2, 3):  # while the first one is being written
        inbox.add(origin(1), log(seq), 1, told.append)
    rows.gate.set()
    await until(lambda: inbox.failing)
    assert not inbox.has_room()
    rows.fails = None
    await until(lambda: told)
    assert (told, rows.stored) == ([3], {1: [1, 2, 3]})
    assert inbox.has_room()
    assert not inbox.failing


async def test_what_no_transaction_takes_harms_its_own_device_only(
    inbox: Inbox, rows: RowsInMemory
) -> None:
    rows.poison = {2}
    told: dict[int, int | None] = {}
    for device in (1, 2, 3):
        inbox.add(origin(device), log(1), 1, lambda n, d=device: told.update({d: n}))  # type: ignore[misc]
    await until(lambda: told == {1: 1, 2: None, 3: 1})
    inbox.add(origin(1), log(2), 1, lambda n: told.update({1: n}))
    await until(lambda: told[1] == 2)


async def test_a_device_that_may_not_write_is_told_nothing_was_stored(
    inbox: Inbox, rows: RowsInMemory
) -> None:
    rows.unknown = {1}
    told: list[int | None] = []
    inbox.add(origin(1), log(1), 1, told.append)
    await until(lambda: told)
    assert told == [None]
    with pytest.raises(Unavailable):
        await inbox.put(origin(1), [log(1)], 1)


async def test_memory_is_limited_and_waits_for_room(inbox: Inbox, rows: RowsInMemory) -> None:
    rows.gate.clear()
    inbox.add(origin(1), log(1), 1000, None)
    assert not await inbox.room(0.05)
    waiting = asyncio.create_task(inbox.room(5))
    rows.gate.set()
    assert await waiting


async def test_what_waits_of_an_older_connection_is_dropped(
    inbox: Inbox, rows: RowsInMemory
) -> None:
    rows.gate.clear()
    inbox.add(origin(9), log(1), 1, None)
    await until(lambda: rows.calls)
    inbox.add(origin(1), log(1), 999, None)
    assert not await inbox.room(0.01)
    inbox.forget(origin(1))
    assert await inbox.room(0.01)
    rows.gate.set()
    await inbox.put(origin(2), [log(1)], 1)
    assert 1 not in rows.stored


async def test_put_returns_the_number_that_is_stored(inbox: Inbox, rows: RowsInMemory) -> None:
    messages: list[Message] = [log(1), BrokenMessage(2, "odd"), log(3)]
    assert await inbox.put(origin(1, None), messages, 30) == 3
    assert await inbox.put(origin(1, None), messages, 30) == 3
    assert await inbox.put(origin(1, None), [log(9)], 10) == 3
    many: list[Message] = [log(seq) for seq in range(4, 204)]
    assert await inbox.put(origin(1, None), many, 200) == 203


async def test_put_takes_what_comes_before_what_it_cannot_take(rows: RowsInMemory) -> None:
    backlog = DocumentBacklog(10)
    async with running(Inbox(rows, backlog, capacity=1000)) as inbox:
        backlog.grew(10)
        assert await inbox.put(origin(1), [log(1), captures(2), log(3)], 3) == 1
        with pytest.raises(Unavailable, match="send them again later"):
            await inbox.put(origin(1), [captures(2), log(3)], 2)
        backlog.shrank(10)
        assert await inbox.put(origin(1), [captures(2), log(3)], 2) == 3
        assert backlog.bytes == 1
        assert inbox.carried.is_set()


async def test_put_says_when_nothing_can_be_stored(
    inbox: Inbox, rows: RowsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)
    rows.fails = DatabaseError("database is locked")
    with pytest.raises(Unavailable):
        await inbox.put(origin(1), [log(1)], 1)
    rows.fails = None
    assert await inbox.put(origin(1), [log(1)], 1) == 1  # sent again, stored once
    assert rows.stored == {1: [1]}


async def test_closing_stores_what_is_there(rows: RowsInMemory) -> None:
    inbox = Inbox(rows, DocumentBacklog())
    task = asyncio.create_task(inbox.run())
    for seq in range(1, 101):
        inbox.add(origin(1), log(seq), 1, None)
    inbox.close()
    await asyncio.wait_for(task, 5)
    assert len(rows.stored[1]) == 100


async def test_closing_does_not_wait_for_a_state_that_cannot_be_written(
    rows: RowsInMemory,
) -> None:
    inbox = Inbox(rows, DocumentBacklog())
    rows.fails = DatabaseError("disk full")
    task = asyncio.create_task(inbox.run())
    inbox.add(origin(1), log(1), 1, None)
    await until(lambda: inbox.failing)
    inbox.close()
    await asyncio.wait_for(task, 5)
    assert rows.stored == {}
