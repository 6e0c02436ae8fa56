"""Devices without a socket: the same wish, the same inbox, and a tag that changes when the answer does."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.devices import Device, Presence, presence
from model_deployment.core.errors import (
    InvalidRequest,
    Unavailable,
    UnknownDevice,
    UnknownProject,
)
from model_deployment.devices import inbox as inbox_module
from model_deployment.devices.document_backlog import DocumentBacklog
from model_deployment.devices.inbox import Inbox
from model_deployment.devices.limits import DeviceLimits
from model_deployment.devices.polling import DevicePolling
from tests.support.device_rows import KEY_ID, DeviceBase, device_base


class PollingBench:
    """A device, and what it polls."""

    def __init__(self, base: DeviceBase, device: Device) -> None:
        self.base, self.device = base, device
        self.inbox = Inbox(base.rows.devices, DocumentBacklog())
        self.polling = DevicePolling(
            base.rows, self.inbox, DeviceLimits(bytes=2000, bytes_at_once=20_000)
        )

    async def tag(self) -> str:
        device = await self.base.now(self.device)
        return (await self.polling.active(device, told=False)).etag

    async def send(self, *seqs: int, **more: Any) -> int:
        lines = [{"at": 0, "level": "info", "text": "x"}]
        messages = [{"seq": one, "kind": "log", "at": 0, "data": {"lines": lines}} for one in seqs]
        body = {"agent": "1.1", "stream": "s", "running": 3, "messages": messages, **more}
        return await self.polling.receive(self.device, json.dumps(body).encode())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[PollingBench]:
    async with device_base(tmp_path) as base:
        it = PollingBench(base, await base.enrol("camera-7"))
        work = asyncio.create_task(it.inbox.run())
        yield it
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_the_tag_changes_with_the_release_its_signature_and_the_commands(
    bench: PollingBench,
) -> None:
    base, tags = bench.base, [await bench.tag()]
    release = await base.release(3)
    tags.append(await bench.tag())
    await base.rows.releases.sign(release, '{"expires":2}', "signature 1b")
    tags.append(await bench.tag())
    await base.rows.commands.order([bench.device.id], "dark", True, "ada")
    tags.append(await bench.tag())
    await base.rows.commands.order([bench.device.id], "dark", False, "ada")
    tags.append(await bench.tag())
    assert len(set(tags)) == 5
    assert await bench.tag() == tags[-1]
    assert all(one.startswith('"') and one.endswith('"') for one in tags)


async def test_a_device_that_asks_is_there_and_was_told(bench: PollingBench) -> None:
    base, device = bench.base, bench.device
    release = await base.release(3)
    await base.rows.commands.order([device.id], "dark", True, "ada")
    found = await bench.polling.active(device, told=False)
    assert (found.release, found.key) == (release, KEY_ID)
    assert [one.name for one in found.commands] == ["dark"]
    # Somebody else asked.
    assert await base.rows.releases.updates(release) == []
    assert presence(await base.now(device), datetime.now(UTC)) is Presence.NEVER
    await bench.polling.active(device, told=True)
    assert [one.device_id for one in await base.rows.releases.updates(release)] == [device.id]
    assert presence(await base.now(device), datetime.now(UTC)) is Presence.ONLINE
    (command,) = await base.rows.commands.open(device)
    assert command.delivered_at is not None


async def test_messages_are_stored_once(bench: PollingBench) -> None:
    assert await bench.send() == 0
    assert await bench.send(1, 2, health={"memory": 3}) == 2
    assert await bench.send(1, 2, 3) == 3
    assert await bench.send(9) == 3
    assert await bench.send() == 3
    row = await bench.base.now(bench.device)
    assert (row.agent, row.running, row.health, row.received) == ("1.1", 3, {"memory": 3}, 3)
    assert len(await bench.base.messages.log(bench.device, 10)) == 3
    assert await bench.send(stream="other") == 0
    assert await bench.send(1, stream="other") == 1


async def test_a_body_that_is_no_protocol_stores_nothing(bench: PollingBench) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"agent": ""}, {"stream": "/"}, {"messages": {}}, {"messages": [{"seq": 0}]},
    )  # fmt: skip
    for one in wrong:
        with pytest.raises(InvalidRequest, match="cannot take the messages: "):
            await bench.send(1, **one)
    assert (await bench.base.now(bench.device)).received == 0


async def test_while_nothing_can_be_stored_the_device_keeps_its_messages(
    bench: PollingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "_LONGEST_PAUSE", 0.05)

    class Full(DocumentBacklog):
        full = True

    bench.inbox._backlog = Full()
    captures = [{"seq": 1, "kind": "captures", "at": 0, "data": {"captures": []}}]
    with pytest.raises(Unavailable):
        await bench.send(messages=captures)
    bench.inbox._backlog = DocumentBacklog()
    assert await bench.send(messages=captures) == 1


async def test_devices_and_projects_that_are_not_there(bench: PollingBench) -> None:
    assert await bench.polling.named("HALL", "Camera-7") == bench.device
    with pytest.raises(UnknownProject):
        await bench.polling.named("none", "camera-7")
    with pytest.raises(UnknownDevice):
        await bench.polling.named("hall", "none")
    await bench.base.rows.devices.remove(bench.device)
    with pytest.raises(UnknownDevice):
        await bench.polling.device(bench.device.id)
    with pytest.raises(UnknownDevice):
        await bench.send(1)


async def test_calls_of_a_device_come_one_after_the_other(bench: PollingBench) -> None:
    first = asyncio.create_task(bench.send(1))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="another call of this device is under way"):
        await bench.send(2)
    assert await first == 1
    assert await bench.send(2) == 2


async def test_a_device_sends_no_faster_than_over_a_socket(bench: PollingBench) -> None:
    begun = time.monotonic()
    assert await bench.send(1, padding="x" * 19_000) == 1
    assert time.monotonic() - begun < 0.4  # what it may send at once
    assert await bench.send(2, padding="x" * 2000) == 2
    assert time.monotonic() - begun >= 0.5
