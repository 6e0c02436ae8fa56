"""The calls of devices: lists, states, groups and attributes, lost devices, and logs."""

from model_deployment.core.devices import MessageKind
from model_deployment.core.releases import ReleasePolicy
from tests.support.device_caller import DeviceCaller, P


async def test_devices_are_filtered_and_have_pages(caller: DeviceCaller) -> None:
    world = caller.world
    await world.devices.set_version("warehouse", None, 1, ReleasePolicy(), "")
    there = await world.registered("Camera-1", "canary")
    await world.registered("camera-2", "canary", "hall-3")
    await world.registered("gate-1")
    await world.devices.change_device("warehouse", "gate-1", "", attributes={"place": "Yard"})
    await world.connected(there, running=1)
    await world.devices.revoke("warehouse", "camera-2", "")

    async def names(query: str) -> list[str]:
        return [one["name"] for one in await caller.ask("GET", f"{P}/devices?{query}")]

    assert await names("") == ["Camera-1", "camera-2", "gate-1"]
    assert await names("group=canary") == ["Camera-1", "camera-2"]
    assert await names("group=can") == []
    assert await names("state=online") == ["Camera-1"]
    assert await names("state=revoked") == ["camera-2"]
    assert await names("state=never") == ["gate-1"]
    assert await names("release=1") == ["Camera-1"]
    assert await names("release=0") == ["camera-2", "gate-1"]
    assert await names("text=CAMERA") == ["Camera-1", "camera-2"]
    assert await names("text=yard") == ["gate-1"]
    assert await names("text=hall&group=canary&state=online") == ["Camera-1"]
    first = await caller.http.get(f"{P}/devices?limit=2&group=canary")
    assert "next" not in first.links
    first = await caller.http.get(f"{P}/devices?limit=2")
    assert "next" in first.links
    assert "state" in await caller.refusal("GET", f"{P}/devices?state=away", 422)
    assert "groups" in await caller.refusal("GET", f"{P}/devices?groups=canary", 422)


async def test_a_device_tells_what_it_should_run_and_how_far_it_is(caller: DeviceCaller) -> None:
    world = caller.world
    device = await world.registered("camera-7", "canary")
    await world.devices.set_version("warehouse", None, 2, ReleasePolicy(), "")
    release = await world.rolled(1, 0)
    await world.connected(device)
    await world.releases.offer(release, [device.id])
    loading = {"release": 1, "state": "downloading", "reason": "", "bytes": 5, "of": 10}
    await world.says(device, (MessageKind.PROGRESS, loading))
    found = await caller.ask("GET", f"{P}/devices/CAMERA-7")
    assert (found["name"], found["state"], found["agent"]) == ("camera-7", "online", "0.1.0")
    told = {name: found["release"][name] for name in ("wanted", "running", "state", "bytes", "of")}
    assert told == {"wanted": 1, "running": None, "state": "downloading", "bytes": 5, "of": 10}
    assert (await caller.ask("GET", P))["devices"]["online"] == 1


async def test_groups_and_attributes_change_alone(caller: DeviceCaller) -> None:
    await caller.world.registered("camera-7", "canary")
    path = f"{P}/devices/camera-7"
    changed = await caller.ask("PATCH", path, json={"groups": ["hall-3"]})
    assert (changed["groups"], changed["attributes"]) == (["hall-3"], {"place": "hall 3"})
    changed = await caller.ask("PATCH", path, json={"attributes": {}})
    assert (changed["groups"], changed["attributes"]) == (["hall-3"], {})
    for body, detail in (
        ({}, "it changes nothing"),
        ({"groups": None}, "it changes nothing"),
        ({"groups": ["a", "a"]}, "a stands there twice"),
        ({"groups": ["-"]}, "cannot use the group name '-'"),
        ({"name": "camera-8"}, "there is no such member"),
    ):
        assert detail in await caller.refusal("PATCH", path, 422, json=body)


async def test_a_lost_device_is_revoked_comes_back_and_is_forgotten(caller: DeviceCaller) -> None:
    device = await caller.world.registered("camera-7")
    path = f"{P}/devices/camera-7"
    rotated = await caller.ask("POST", f"{path}/rotate")
    assert rotated["token"].startswith("mdd_")
    revoked = await caller.ask("POST", f"{path}/revoke")
    assert (revoked["state"], revoked["revoked_at"] is None) == ("revoked", False)
    assert "revoked" in await caller.refusal("POST", f"{path}/rotate", 409)
    assert caller.world.connections.dropped[-2:] == [device.id] * 2
    body = {"code": await caller.code(device="camera-7"), "device": "camera-7"}
    back = await caller.ask("POST", f"{P}/registerDevice", 201, json=body)
    assert back["token"] != rotated["token"]
    assert (await caller.ask("GET", path))["state"] == "never"
    await caller.ask("DELETE", path, 204)
    assert "lists its devices" in await caller.refusal("GET", path, 404)


async def test_the_log_of_a_device_is_shown_from_its_end(caller: DeviceCaller) -> None:
    device = await caller.world.registered("camera-7")
    await caller.world.connected(device)
    lines = [{"at": 1_769_860_800_000 + n, "level": "info", "text": f"line {n}"} for n in range(5)]
    await caller.world.says(device, (MessageKind.LOG, {"lines": lines}))
    found = await caller.ask("GET", f"{P}/devices/camera-7/logs?lines=2")
    assert [one["text"] for one in found] == ["line 3", "line 4"]
    before = await caller.ask("GET", f"{P}/devices/camera-7/logs?lines=2&before={found[0]['id']}")
    assert [one["text"] for one in before] == ["line 1", "line 2"]
    await caller.refusal("GET", f"{P}/devices/camera-7/logs?lines=1001", 422)
