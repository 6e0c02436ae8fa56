"""What devices have measured and captured: from the state database to every document store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from model_deployment.core.device_messages import ReceivedBatch
from model_deployment.core.devices import Device, DeviceMessage, MessageKind
from model_deployment.core.names import ModelKey
from model_deployment.devices.delivery import DeviceDelivery
from model_deployment.devices.document_backlog import CARRIED, DocumentBacklog
from model_deployment.devices.frames import read_frame
from model_deployment.documents.base import Collection, Document, Documents, Query, Written
from model_deployment.documents.opening import OpenedStore
from model_deployment.gate import dumps
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.windows import TrafficWindow
from tests.support.device_rows import DeviceBase, device_base
from tests.support.document_store_bench import Bench
from tests.support.waiting import until

pytest_plugins = ["tests.support.document_store_fixtures"]

KEY = ModelKey("diabetes", 2)
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = int(NOW.timestamp()) // 60


def capture(id: str, rows: Sequence[Any] = ([1.5, None],), **more: Any) -> dict[str, Any]:
    return {
        "id": id, "at": int(NOW.timestamp() * 1000), "release": 4, "model": "diabetes", "version": 2,
        "columns": ["bmi", "age"], "rows": [*rows], "predictions": [151.2] * len(rows),
        "latency_ms": 0.8, **more,
    }  # fmt: skip


def message(seq: int, kind: MessageKind, data: Any) -> DeviceMessage:
    """As it comes over a socket."""
    sent = {"type": "message", "seq": seq, "kind": kind, "at": 0, "data": data}
    found = read_frame(dumps(sent).decode(), NOW)
    assert isinstance(found, DeviceMessage), found
    return found


def captures(seq: int, *some: dict[str, Any]) -> DeviceMessage:
    return message(seq, MessageKind.CAPTURES, {"captures": [*some]})


class Carried:
    """A device, its messages, and a delivery into a real store."""

    def __init__(self, base: DeviceBase, device: Device, store: Documents) -> None:
        self.base, self.device, self.store = base, device, store
        self.backlog = DocumentBacklog()
        self.arrived = asyncio.Event()
        self.delivery = DeviceDelivery(
            base.messages, cast(Any, OpenedStore(store)), self.backlog, self.arrived, instance="i"
        )

    async def store_messages(self, *messages: DeviceMessage) -> None:
        batch = ReceivedBatch(self.device.id, None, "s", messages, NOW)
        await self.base.rows.devices.receive([batch])

    async def waiting(self) -> int:
        return len(await self.base.messages.pending(CARRIED, 1000))

    async def found(self, collection: Collection) -> list[dict[str, Any]]:
        query = Query.of(collection, KEY)
        return sorted([one async for one in self.store.find(query)], key=lambda one: one["_id"])


@pytest.fixture
async def carried(tmp_path: Path, store: Documents) -> AsyncIterator[Carried]:
    folder = tmp_path / "state"  # the embedded store is in the folder itself
    folder.mkdir()
    async with device_base(folder) as base:
        yield Carried(base, await base.enrol("camera-7"), store)


async def test_captures_have_the_form_of_those_of_servers(carried: Carried) -> None:
    await carried.store_messages(captures(1, capture("a"), capture("b", at=0)))
    assert not await carried.delivery.step()
    first, second = await carried.found(Collection.DEVICE_CAPTURES)
    assert first == {
        "_id": f"i/{carried.device.id}/s/1/0", "model": "diabetes", "version": 2, "ts": NOW,
        "request_id": "a", "project": "hall", "device": "camera-7", "release": 4, "typed": False,
        "latency_ms": 0.8, "columns": ["bmi", "age"], "data": [[1.5, None]], "predictions": [151.2],
        "rows": 1, "truncated": False, "left_out": "", "hidden": [], "params": False, "note": "",
        "received_at": first["received_at"],
    }  # fmt: skip
    assert datetime.fromisoformat(first["received_at"]) == NOW
    assert second["note"] == "the clock of the device was wrong"
    assert second["ts"] == NOW


async def test_minutes_have_the_form_of_those_of_servers(carried: Carried) -> None:
    data = {
        "release": 4, "model": "diabetes", "version": 2, "minute": MINUTE, "requests": 3, "rows": 5,
        "errors": {"model": 1}, "latencies": [[3, 2], [7, 1]],
    }  # fmt: skip
    await carried.store_messages(message(1, MessageKind.METRICS, data))
    await carried.delivery.step()
    (found,) = await carried.found(Collection.DEVICE_TRAFFIC)
    assert (found["device"], found["ts"]) == ("camera-7", NOW.replace(second=0))
    window = TrafficWindow.from_dict(found)
    assert (window.requests, window.rows, window.latencies.total()) == (3, 5, 3)
    assert window.errors == {"model": 1}


async def test_all_are_carried_once_and_logs_stay(carried: Carried) -> None:
    log = {"lines": [{"at": 0, "level": "info", "text": "up"}]}
    some = [captures(seq, capture(f"r{seq}")) for seq in range(1, 101)]
    await carried.store_messages(*some, message(101, MessageKind.LOG, log))
    written = 0
    insert = carried.store.insert

    async def cut_off(collection: Collection, documents: Sequence[Document]) -> Written:
        """The controller is killed after the second write, before the messages are removed."""
        nonlocal written
        found = await insert(collection, documents)
        written += 1
        if written == 2:
            raise asyncio.CancelledError
        return found

    carried.store.insert = cut_off  # type: ignore[method-assign]
    await carried.delivery.step()
    with pytest.raises(asyncio.CancelledError):
        await carried.delivery.step()
    carried.store.insert = insert  # type: ignore[method-assign]
    again = Carried(carried.base, carried.device, carried.store)
    while await again.delivery.step():
        pass
    found = await carried.found(Collection.DEVICE_CAPTURES)
    assert sorted(one["request_id"] for one in found) == sorted(f"r{n}" for n in range(1, 101))
    assert await carried.waiting() == 0
    assert len(await carried.base.messages.log(carried.device, 9)) == 1


async def test_while_the_store_is_away_all_of_it_waits(
    carried: Carried, depot: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_deployment.devices.delivery._PAUSE", 0.05)
    monkeypatch.setattr("model_deployment.devices.delivery._LONGEST_PAUSE", 0.2)
    await carried.store_messages(captures(1, capture("a")))
    with depot.away():
        working = asyncio.create_task(carried.delivery.run())
        await until(lambda: carried.delivery.error, timeout=20)
        assert await carried.waiting() == 1
        assert carried.backlog.bytes > 100
    await until(lambda: not carried.delivery.error, timeout=20)
    assert len(await carried.found(Collection.DEVICE_CAPTURES)) == 1
    assert carried.backlog.bytes == 0
    await carried.store_messages(captures(2, capture("b")))
    carried.arrived.set()

    async def both() -> bool:
        return len(await carried.found(Collection.DEVICE_CAPTURES)) == 2

    await until(both)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def test_what_the_store_refuses_becomes_a_dead_letter(carried: Carried) -> None:
    # MongoDB takes no integer of more than 64 bits; the embedded store takes any.
    wide, long = [10**30, 1], "x" * 1000
    data = {"captures": [capture("bad", [wide], predictions=long), capture("good")]}
    broken = DeviceMessage(2, MessageKind.CAPTURES, NOW, {"captures": [{"id": "old"}]})
    await carried.store_messages(DeviceMessage(1, MessageKind.CAPTURES, NOW, data), broken)
    assert not await carried.delivery.step()
    kept = [one["request_id"] for one in await carried.found(Collection.DEVICE_CAPTURES)]
    letters = [one async for one in carried.store.find(Query(Collection.DEAD_LETTERS))]
    reasons = {one["_id"]: one for one in letters}
    unread = reasons.pop(f"i/{carried.device.id}/s/2")
    assert "KeyError" in unread["reason"]
    assert unread["device"] == "camera-7"
    if "bad" in kept:
        assert not reasons
    else:
        ((_, letter),) = reasons.items()
        assert (letter["request_id"], letter["model"], letter["device"]) == (
            "bad", "diabetes", "camera-7",
        )  # fmt: skip
    assert "good" in kept
    assert await carried.waiting() == 0


async def test_erasing_a_request_erases_captures_of_devices_also_those_on_their_way(
    carried: Carried,
) -> None:
    monitoring = Monitoring(
        cast(Any, OpenedStore(carried.store)),
        ReportedCounts(),
        baseline=cast(Any, None),
        write_back=None,
    )
    early = int((NOW - timedelta(minutes=1)).timestamp() * 1000)
    some = [capture(name, at=early) for name in ("a", "b", "c")]
    await carried.store_messages(captures(1, *some))
    await carried.delivery.step()
    assert await monitoring.erase(KEY, "a") == 1
    await carried.store_messages(captures(2, capture("a", at=early), capture("d", at=early)))
    await carried.delivery.step()
    found = [one["request_id"] for one in await carried.found(Collection.DEVICE_CAPTURES)]
    assert found == ["b", "c", "d"]
