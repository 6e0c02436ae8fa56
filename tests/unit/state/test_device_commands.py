"""Commands: the newest one of a name counts, until it is answered."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model_deployment.state.device_commands import COMMANDS_KEPT
from tests.support.stored_devices import WHEN, DeviceStores, answer, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DeviceStores]:
    async with opened(tmp_path) as it:
        yield it


@pytest.mark.parametrize("value", [True, None, 0, 1.5, "", "on", [1, {"a": None}], {"é": "\ud800"}])
async def test_a_value_comes_back_as_it_was_given(store: DeviceStores, value: Any) -> None:
    device = await store.connected()
    (command,) = await store.commands.order([device.id], "dark", value, "ann")
    assert (command.device_id, command.name, command.created_by) == (device.id, "dark", "ann")
    assert command.value == value
    assert type(command.value) is type(value)
    assert (command.delivered_at, command.answered_at, command.ok) == (None, None, None)
    assert await store.commands.open(device) == [command]


async def test_a_newer_command_takes_the_place_of_one_without_an_answer(
    store: DeviceStores,
) -> None:
    device, other = await store.connected(), await store.connected("other")
    ids = [device.id, other.id, device.id]
    first, second = await store.commands.order(ids, "dark", 1, "ann")
    assert [one.device_id for one in (first, second)] == [device.id, other.id]
    await store.commands.deliver([first.id])
    assert await store.receive(other, answer(1, second.id)) == 1
    (newer,) = await store.commands.order([device.id], "dark", 2, "bob")
    (older,) = await store.commands.order([device.id], "rate", 3, "bob")
    assert [one.value for one in await store.commands.open(device)] == [2, 3]
    assert [one.id for one in await store.commands.of(device, 9)] == [older.id, newer.id]
    (answered, another) = (
        await store.commands.order([other.id], "dark", 2, "ann"),
        await store.commands.of(other, 9),
    )
    assert [one.id for one in another] == [answered[0].id, second.id]
    found = await store.commands.of_project(await store.project(), 3)
    assert [one.id for one in found] == [answered[0].id, older.id, newer.id]
    assert await store.commands.of_project(await store.project("none"), 9) == []


async def test_only_devices_that_may_get_commands_get_them(store: DeviceStores) -> None:
    device, revoked, gone = [await store.connected(name) for name in ("a", "b", "c")]
    await store.devices.revoke(revoked)
    await store.devices.remove(gone)
    found = await store.commands.order([revoked.id, gone.id, device.id, 999], "dark", 1, "ann")
    assert [one.device_id for one in found] == [device.id]


async def test_a_command_is_delivered_and_answered_once(store: DeviceStores) -> None:
    device, other = await store.connected(), await store.connected("other")
    (command,) = await store.commands.order([device.id], "dark", True, "ann")
    await store.commands.deliver([command.id, 999])
    (delivered,) = await store.commands.open(device)
    assert delivered.delivered_at is not None
    await store.commands.deliver([command.id])
    assert await store.commands.open(device) == [delivered]
    # Another device cannot answer it.
    assert await store.receive(other, answer(1, command.id)) == 1
    assert await store.commands.open(device) == [delivered]
    assert await store.receive(device, answer(1, command.id, False, "no lamp")) == 1
    assert await store.receive(device, answer(2, command.id, True, "after all")) == 2
    assert await store.commands.open(device) == []
    (answered,) = await store.commands.of(device, 9)
    assert (answered.ok, answered.answer, answered.answered_at) == (False, "no lamp", WHEN)
    assert answered.delivered_at == delivered.delivered_at
    for one in (device, other):
        (line,) = await store.messages.log(one, 9)
        assert f"command {command.id}: there is no such command" in line.text


async def test_an_answer_shows_that_a_command_was_delivered(store: DeviceStores) -> None:
    device = await store.connected()
    (command,) = await store.commands.order([device.id], "dark", True, "ann")
    await store.receive(device, answer(1, command.id))
    (answered,) = await store.commands.of(device, 9)
    assert (answered.ok, answered.delivered_at) == (True, WHEN)


async def test_the_newest_commands_of_a_device_are_kept(store: DeviceStores) -> None:
    device, other = await store.connected(), await store.connected("other")
    await store.commands.order([other.id], "first", 0, "ann")
    for name in range(COMMANDS_KEPT + 2):
        await store.commands.order([device.id], f"name-{name}", 0, "ann")
    found = await store.commands.of(device, 1000)
    assert len(found) == COMMANDS_KEPT
    assert (found[0].name, found[-1].name) == (f"name-{COMMANDS_KEPT + 1}", "name-2")
    assert len(await store.commands.of(other, 9)) == 1


async def test_open_commands_of_many_devices(store: DeviceStores) -> None:
    devices = [await store.connected(name) for name in ("a", "b", "c")]
    ids = [one.id for one in devices]
    for name in ("dark", "rate"):
        await store.commands.order(ids[:2], name, 1, "ann")
    answered, *_ = await store.commands.open(devices[1])
    await store.receive(devices[1], answer(1, answered.id))
    found = await store.commands.open_of([*ids, 999])
    assert {id: [one.name for one in commands] for id, commands in found.items() if commands} == {
        ids[0]: ["dark", "rate"], ids[1]: ["rate"],
    }  # fmt: skip
