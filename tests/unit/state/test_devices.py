"""Devices: a code is good once, a token is good until it is revoked, and the newest connection counts."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.devices import Device, Presence, presence
from model_deployment.core.errors import (
    Conflict,
    Forbidden,
    ModelDeploymentError,
    UnknownDevice,
    UnknownProject,
)
from tests.support.stored_devices import SHORT, WHEN, DeviceStores, metrics, opened, progress


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DeviceStores]:
    async with opened(tmp_path) as it:
        yield it


async def register(
    store: DeviceStores, code: str, name: str, token: str, project: str = "hall"
) -> Device:
    found = await store.project(project)
    return await store.devices.register(found, code, name, token, {"place": project})


async def test_a_code_lets_one_device_in(store: DeviceStores) -> None:
    code = await store.devices.enrol(await store.project(), "c", ["a", "b", "a"], None, SHORT)
    assert (code.groups, code.device, code.expires_at - code.created_at >= SHORT) == (
        ("a", "b"), None, True,
    )  # fmt: skip
    device = await register(store, "c", "camera", "t")
    assert (device.name, device.groups, device.attributes) == (
        "camera", ("a", "b"), {"place": "hall"},
    )  # fmt: skip
    assert (device.received, device.generation, device.running) == (0, 0, None)
    assert presence(device, WHEN) is Presence.NEVER
    assert await store.devices.by_token("t") == device
    assert await store.devices.by_token("c") is None
    with pytest.raises(Forbidden):
        await register(store, "c", "other", "t2")
    assert await store.devices.all() == [device]


async def test_no_word_tells_why_a_code_is_not_good(store: DeviceStores) -> None:
    hall, other = await store.project(), await store.project("other")
    await store.devices.enrol(hall, "used", [], None, SHORT)
    await register(store, "used", "first", "t0")
    await store.devices.enrol(hall, "expired", [], None, timedelta(0))
    await store.devices.enrol(other, "of another project", [], None, SHORT)
    before, said = await store.dump(), set()
    for code in ("used", "expired", "of another project", "unknown", ""):
        with pytest.raises(Forbidden) as caught:
            await register(store, code, "camera", "t")
        said.add(caught.value.detail)
    assert len(said) == 1
    assert await store.dump() == before


async def test_two_devices_with_one_code(store: DeviceStores) -> None:
    await store.devices.enrol(await store.project(), "c", [], None, SHORT)
    tries = (register(store, "c", f"camera-{n}", f"t{n}") for n in range(8))
    found = await asyncio.gather(*tries, return_exceptions=True)
    devices = [one for one in found if isinstance(one, Device)]
    assert len(devices) == 1
    assert sum(isinstance(one, Forbidden) for one in found) == 7
    assert await store.devices.all() == devices


async def test_two_devices_with_one_name(store: DeviceStores) -> None:
    for code in ("a", "b"):
        await store.devices.enrol(await store.project(), code, [], None, SHORT)
    tries = (register(store, code, name, code) for code, name in (("a", "camera"), ("b", "Camera")))
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(one) for one in found} == {Conflict, Device}
    # The code of the one that came late is still good.
    (unused,) = await store.execute("SELECT code_hash FROM enrolments WHERE used_at IS NULL")
    assert (await register(store, unused["code_hash"], "free", "t")).name == "free"


@pytest.mark.parametrize("name", ["camera", "Camera"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("revoked", [True, False])
async def test_a_name_is_taken_over_by_a_code_for_it_or_after_it_was_revoked(
    store: DeviceStores, name: str, named: bool, revoked: bool
) -> None:
    hall = await store.project()
    release = await store.release()
    device = await store.device("camera", groups=["canary"])
    device = await store.devices.connect(device, stream="s", agent="1", running=None)
    await store.receive(device, progress(1, release.number, "running"), metrics(2))
    if revoked:
        await store.devices.revoke(device)
    await store.devices.enrol(hall, "again", [], "CAMERA" if named else None, SHORT)
    if not (named or revoked):
        before = await store.dump()
        with pytest.raises(Conflict, match="the project has a device camera"):
            await register(store, "again", name, "new")
        assert await store.dump() == before
        return
    again = await register(store, "again", name, "new")
    assert (again.id, again.name, again.revoked_at) == (device.id, name, None)
    assert (again.stream, again.received, again.running) == ("", 0, None)
    assert again.groups == (() if revoked else ("canary",))
    assert await store.devices.by_token("token of camera") is None
    assert await store.devices.by_token("new") == again
    # What it sent before stays; what its old connection sends does not count.
    assert await store.receive(device, metrics(3)) is None
    assert len(await store.execute("SELECT * FROM device_messages")) == 1
    assert await store.releases.updates(release) == []
    assert again.generation > device.generation


async def test_a_code_for_a_name_is_good_for_no_other(store: DeviceStores) -> None:
    await store.devices.enrol(await store.project(), "c", [], "camera", SHORT)
    with pytest.raises(Forbidden, match="for another name"):
        await register(store, "c", "gateway", "t")
    assert (await register(store, "c", "camera", "t")).name == "camera"


async def test_old_codes_are_removed(store: DeviceStores) -> None:
    hall = await store.project()
    for code, lifetime in (("old", -1.1), ("kept", -0.9)):
        await store.devices.enrol(hall, code, [], None, timedelta(days=lifetime))
    await store.devices.enrol(hall, "new", [], None, SHORT)
    rows = await store.execute("SELECT code_hash FROM enrolments ORDER BY id")
    assert [row["code_hash"] for row in rows] == ["kept", "new"]
    await store.projects.remove(hall)
    with pytest.raises(UnknownProject):
        await store.devices.enrol(hall, "late", [], None, SHORT)


async def test_a_revoked_token_is_no_longer_good(store: DeviceStores) -> None:
    device = await store.connected()
    revoked = await store.devices.revoke(device)
    assert presence(revoked, WHEN) is Presence.REVOKED
    assert await store.devices.by_token("token of camera") is None
    assert await store.devices.revoke(device) == revoked  # nothing more happens
    before = await store.dump()
    with pytest.raises(Forbidden, match="was revoked"):
        await store.devices.connect(device, stream="s", agent="1", running=None)
    with pytest.raises(Conflict, match="is revoked"):
        await store.devices.rotate(device, "new")
    for one in (device, revoked):
        assert await store.receive(one, metrics(1)) is None
    assert await store.receive_polled(device, metrics(1)) is None
    await store.devices.seen({device.id: (WHEN, {"memory": 1})})
    assert await store.dump() == before


async def test_another_token_ends_the_connection_of_the_one_before(store: DeviceStores) -> None:
    device = await store.connected()
    rotated = await store.devices.rotate(device, "new")
    assert await store.devices.by_token("token of camera") is None
    assert await store.devices.by_token("new") == rotated
    assert await store.receive(device, metrics(1)) is None
    again = await store.devices.connect(rotated, stream="s", agent="1", running=None)
    assert await store.receive(again, metrics(1)) == 1


async def test_each_connection_takes_the_place_of_the_one_before(store: DeviceStores) -> None:
    first = await store.connected()
    assert (first.generation, first.stream, first.agent) == (1, "s", "1.0.0")
    assert await store.receive(first, metrics(1), metrics(2)) == 2
    second = await store.devices.connect(first, stream="s", agent="1.1.0", running=7)
    assert (second.generation, second.received, second.running) == (2, 2, 7)
    assert await store.receive(first, metrics(3)) is None
    assert await store.receive(second, metrics(3)) == 3
    # A new store of messages begins at 1.
    third = await store.devices.connect(second, stream="new", agent="1.1.0", running=None)
    assert (third.generation, third.received, third.running) == (3, 0, None)
    assert await store.receive(third, metrics(1), stream="new") == 1
    assert await store.receive(third, metrics(4), stream="s") is None


async def test_a_device_that_runs_a_release_without_a_report_has_reached_it(
    store: DeviceStores,
) -> None:
    release, device = await store.release(), await store.device()
    await store.devices.connect(device, stream="s", agent="1", running=release.number)
    (update,) = await store.releases.updates(release)
    assert (update.device_id, update.state) == (device.id, "running")
    other = await store.device("other")
    await store.devices.poll(other, agent="1", running=release.number, health={"memory": 1})
    assert len(await store.releases.updates(release)) == 2
    polled = await store.reread(other)
    assert (polled.running, polled.health, polled.generation) == (1, {"memory": 1}, 0)
    assert presence(polled, datetime.now(UTC)) is Presence.ONLINE
    await store.devices.poll(other, agent="2", running=99)
    polled = await store.reread(other)
    assert (polled.agent, polled.running, polled.health) == ("2", 99, {"memory": 1})


async def test_signs_of_life_never_go_back(store: DeviceStores) -> None:
    devices = [await store.device(name) for name in ("a", "b", "c")]
    later = WHEN + timedelta(seconds=20)
    await store.devices.seen({one.id: (later, {"memory": 5}) for one in devices[:2]})
    await store.devices.seen({devices[0].id: (WHEN, None), devices[1].id: (WHEN, {"memory": 6})})
    a, b, c = [await store.reread(one) for one in devices]
    assert (a.last_seen_at, a.health) == (later, {"memory": 5})
    assert (b.last_seen_at, b.health) == (later, {"memory": 6})
    assert (c.last_seen_at, c.health) == (None, {})
    await store.devices.seen({})
    await store.devices.seen({999: (WHEN, None)})  # removed meanwhile


async def test_operators_change_groups_and_attributes(store: DeviceStores) -> None:
    device = await store.device(groups=["a"])
    changed = await store.devices.change(device, groups=["b", "c", "b"])
    assert (changed.groups, changed.attributes) == (("b", "c"), {})
    changed = await store.devices.change(device, attributes={"x": [1, None]})
    assert (changed.groups, changed.attributes) == (("b", "c"), {"x": [1, None]})
    assert await store.devices.change(device) == changed
    assert (await store.devices.change(device, groups=[], attributes={})).groups == ()


async def test_devices_are_found_in_their_project(store: DeviceStores) -> None:
    for name in ("b", "A", "c"):
        await store.device(name)
    elsewhere = await store.device("b", "other")
    hall, other = await store.project(), await store.project("other")
    assert [one.name for one in await store.devices.all(hall)] == ["A", "b", "c"]
    assert len(await store.devices.all()) == 4
    assert await store.devices.find(other, "B") == elsewhere
    assert await store.devices.find(other, "c") is None


@pytest.mark.parametrize("call", ["change", "revoke", "rotate", "connect", "poll"])
async def test_a_device_that_was_removed_is_not_found(store: DeviceStores, call: str) -> None:
    device = await store.connected()
    await store.devices.remove(device)
    before = await store.dump()
    arguments: dict[str, dict[str, Any]] = {
        "change": {"groups": ["a"]},
        "rotate": {"token_hash": "t"},
        "connect": {"stream": "s", "agent": "1", "running": 1},
        "poll": {"agent": "1", "running": 1},
    }
    with pytest.raises(UnknownDevice, match="camera: it was removed") as caught:
        await getattr(store.devices, call)(device, **arguments.get(call, {}))
    assert isinstance(caught.value, ModelDeploymentError)
    assert await store.receive(device, metrics(1)) is None
    assert await store.dump() == before
