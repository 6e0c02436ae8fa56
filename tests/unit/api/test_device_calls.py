"""The calls of projects, devices and releases: what they answer, and what is refused in which words."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_deployment.core.devices import MessageKind
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import AbortRule, ReleasePolicy
from tests.support.device_calls import DeviceWorld, device_world

P = "/projects/warehouse"


@dataclass
class Caller:
    """Asks an application that has only the calls of devices."""

    world: DeviceWorld
    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def refusal(self, method: str, path: str, status: int, **more: Any) -> str:
        answer = await self.ask(method, path, status, **more)
        assert answer["detail"].startswith("cannot ")
        return str(answer["detail"])


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    """A controller with the project ``warehouse`` of the model ``diabetes``."""
    async with device_world(tmp_path) as world:
        transport = httpx.ASGITransport(world.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://test/") as http:
            await world.devices.create_project("warehouse", ["diabetes"], "ann")
            yield Caller(world, http)


# Projects.


async def test_projects_are_made_listed_changed_and_deleted(caller: Caller) -> None:
    made = await caller.ask("POST", "/projects", 201, json={"name": "halls", "models": ["heart"]})
    assert (made["name"], made["models"], made["release"], made["follows"]) == (
        "halls", ["heart"], None, None
    )  # fmt: skip
    assert made["devices"] == {"never": 0, "online": 0, "offline": 0, "revoked": 0}
    assert [one["name"] for one in await caller.ask("GET", "/projects")] == ["halls", "warehouse"]
    by_id = await caller.ask("GET", f"/projects/{made['id']}")
    assert by_id == made == await caller.ask("GET", "/projects/HALLS")
    changed = await caller.ask("PATCH", "/projects/halls", json={"models": ["diabetes", "heart"]})
    assert changed["models"] == ["diabetes", "heart"]
    await caller.ask("DELETE", "/projects/halls", 204)
    assert "there are: warehouse" in await caller.refusal("GET", "/projects/halls", 404)


async def test_lists_have_pages(caller: Caller) -> None:
    for name in ("a", "b", "c"):
        await caller.world.devices.create_project(name, ["diabetes"], "")
    first = await caller.http.get("/projects?limit=3")
    assert [one["name"] for one in first.json()] == ["a", "b", "c"]
    rest = await caller.http.get(first.links["next"]["url"])
    assert [one["name"] for one in rest.json()] == ["warehouse"]
    assert "next" not in rest.links


NO_PROJECTS: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "warehouse", "models": ["diabetes"]}, 409, "warehouse"),
    ({"name": "Warehouse", "models": ["diabetes"]}, 409, "arehouse"),
    ({"name": "a b", "models": ["diabetes"]}, 422, "cannot use the project name 'a b'"),
    ({"name": "", "models": ["diabetes"]}, 422, "cannot use the project name ''"),
    ({"name": "x" * 65, "models": ["diabetes"]}, 422, "it has 1 to 64 letters"),
    ({"name": "models", "models": ["diabetes"]}, 422, "it is reserved"),
    ({"name": "\u00e4", "models": ["diabetes"]}, 422, "'\\xe4'"),
    ({"name": "halls", "models": []}, 422, "models in the body"),
    ({"name": "halls", "models": ["nothing"]}, 404, "the registry has none"),
    ({"name": "halls", "models": ["diabete"]}, 404, "did you mean diabetes?"),
    ({"name": "halls", "models": ["heart", "heart"]}, 422, "heart stands there twice"),
    ({"name": "halls", "models": ["$(id)"]}, 422, "cannot use the model name '$(id)'"),
    ({"name": "halls", "models": "heart"}, 422, "models in the body: it must be a list"),
    ({"name": "halls", "models": [f"m{n}" for n in range(101)]}, 422, "models in the body"),
    ({"name": "halls"}, 422, "models in the body: it is missing"),
    ({"name": "halls", "models": ["heart"], "group": "x"}, 422, "there is no such member"),
    ({"name": 7, "models": ["heart"]}, 422, "name in the body"),
]  # fmt: skip


async def test_what_is_no_project_is_refused(caller: Caller) -> None:
    for body, status, detail in NO_PROJECTS:
        assert detail in await caller.refusal("POST", "/projects", status, json=body), body
    assert [one["name"] for one in await caller.ask("GET", "/projects")] == ["warehouse"]


async def test_a_project_with_devices_is_deleted_by_force_only(caller: Caller) -> None:
    device = await caller.world.registered("camera-7")
    refused = await caller.refusal("DELETE", P, 409)
    assert "1 of its devices are registered" in refused
    assert "force=true" in refused
    await caller.ask("DELETE", f"{P}?force=true", 204)
    assert caller.world.connections.dropped[-1] == device.id
    await caller.ask("GET", f"{P}/devices", 404)


async def test_models_say_where_their_versions_run(caller: Caller) -> None:
    await caller.world.devices.set_version("warehouse", None, 1, ReleasePolicy(), "")
    await caller.world.connected(await caller.world.registered("camera-7"), running=1)
    newest, older = await caller.ask("GET", f"{P}/models")
    assert (newest["version"], newest["state"], newest["devices"], newest["releases"]) == (
        2, None, 0, []
    )  # fmt: skip
    assert (older["version"], older["state"], older["devices"], older["releases"]) == (
        1, "ready", 1, [1]
    )  # fmt: skip
    assert older["metrics"] == {"rmse": 51.0}


async def test_stats_are_side_by_side_and_take_times(caller: Caller) -> None:
    found = await caller.ask("GET", f"{P}/getStats?since=2026-01-01&until=2026-01-02T00:00Z")
    assert (found["since"], found["until"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    (version,) = found["versions"]
    assert (version["devices"]["errors"], version["server"]["p95_ms"], version["drift"]) == (
        {"invalid": 1}, 2.0, 0.25
    )  # fmt: skip
    assert "a duration before now" in await caller.refusal("GET", f"{P}/getStats?since=soon", 422)
    backwards = f"{P}/getStats?since=2026-01-02&until=2026-01-01"
    assert "no end after its beginning" in await caller.refusal("GET", backwards, 422)


# Releases.


async def test_a_release_is_set_shown_and_steered(caller: Caller) -> None:
    body = {
        "version": 2,
        "policy": {
            "groups": ["canary", "hall-3"], "percent": [10, 50.5], "success": 95, "soak": "10m",
            "abort": {"failed": 1, "of": 4},
        },
    }  # fmt: skip
    begun = await caller.ask("POST", f"{P}/setModel", 202, json=body)
    assert begun["follows"] is None
    release = begun["release"]
    assert (release["number"], release["model"], release["version"], release["state"]) == (
        1, "diabetes", 2, "preparing"
    )  # fmt: skip
    row = (await caller.world.devices.release("warehouse", 1)).release
    assert row.policy == ReleasePolicy(
        groups=("canary", "hall-3"), percent=(10, 50.5), success=95, soak=600,
        abort=AbortRule(failed=1, of=4),
    )  # fmt: skip
    # What an answer shows can be sent again.
    again = {"version": 2, "policy": release["policy"]}
    second = await caller.ask("POST", f"{P}/setModel", 202, json=again)
    assert second["release"]["policy"] == release["policy"]
    assert [one["state"] for one in await caller.ask("GET", f"{P}/releases")] == [
        "preparing", "superseded"
    ]  # fmt: skip
    await caller.world.rolled(2, 0)
    paused = await caller.ask("POST", f"{P}/releases/2/pause")
    assert (paused["state"], paused["active"], paused["offered"]) == ("paused", True, True)
    assert "it is paused" in await caller.refusal("POST", f"{P}/releases/2/pause", 409)
    assert (await caller.ask("POST", f"{P}/releases/2/resume"))["state"] == "rolling"
    stopped = await caller.ask("POST", f"{P}/releases/2/stop")
    assert (stopped["state"], stopped["active"], stopped["offered"]) == ("stopped", False, False)
    assert stopped["manifest"] == {"format": 1, "number": 2}
    assert caller.world.key.verifies('{"format":1,"number":2}', stopped["signature"])
    assert [one["state"] for one in stopped["events"]][:3] == ["stopped", "rolling", "paused"]
    assert stopped["events"] == await caller.ask("GET", f"{P}/events?release=2")
    assert {one["number"] for one in await caller.ask("GET", f"{P}/events")} == {1, 2, None}
    (first, *_, begun) = await caller.ask("GET", f"{P}/events?release=1")
    assert (first["state"], begun["previous"], begun["number"]) == ("superseded", None, 1)


async def test_a_release_tells_how_far_the_devices_of_each_stage_are(caller: Caller) -> None:
    world = caller.world
    good, bad = await world.registered("good", "canary"), await world.registered("bad", "canary")
    await world.registered("other")
    await world.devices.set_version("warehouse", None, 2, ReleasePolicy(percent=()), "ann")
    release = await world.rolled(1, 0)
    await world.releases.offer(release, [good.id, bad.id])
    for device in (good, bad):
        await world.connected(device)
    loading = {"release": 1, "state": "downloading", "reason": "", "bytes": 5, "of": 10}
    await world.says(good, (MessageKind.PROGRESS, loading))
    failed = {"release": 1, "state": "failed", "reason": "\x1b[2J no memory", "bytes": 0, "of": 0}
    await world.says(bad, (MessageKind.PROGRESS, failed))
    found = await caller.ask("GET", f"{P}/releases/1")
    canary, rest = found["stages"]
    assert (canary["name"], canary["open"], canary["devices"]) == ("group canary", True, 2)
    assert (rest["open"], rest["devices"], rest["updates"]) == (False, 1, [])
    assert canary["counts"] == {
        "offered": 0, "downloading": 1, "verifying": 0, "trying": 0, "running": 0, "failed": 1,
        "refused": 0,
    }  # fmt: skip
    assert [(one["device"], one["state"], one["bytes"], one["of"]) for one in canary["updates"]] == [
        ("bad", "failed", 0, 0), ("good", "downloading", 5, 10)
    ]  # fmt: skip
    assert (await caller.ask("GET", f"{P}/devices/good/updates"))[0]["state"] == "downloading"


async def test_releases_have_pages_from_the_newest_on(caller: Caller) -> None:
    for _ in range(3):
        await caller.world.devices.set_version("warehouse", None, 1, ReleasePolicy(), "")
    first = await caller.http.get(f"{P}/releases?limit=2")
    assert [one["number"] for one in first.json()] == [3, 2]
    rest = await caller.http.get(first.links["next"]["url"])
    assert [one["number"] for one in rest.json()] == [1]
    assert "next" not in rest.links


async def test_an_endpoint_is_followed_and_no_longer(caller: Caller) -> None:
    name = EndpointName("diabetes", "champion")
    refused = await caller.refusal("POST", f"{P}/setModel", 404, json={"endpoint": str(name)})
    assert "there is no such endpoint" in refused
    caller.world.champions[name] = None
    waits = await caller.ask("POST", f"{P}/setModel", 202, json={"endpoint": str(name)})
    assert (waits["release"], waits["follows"]["endpoint"]) == (None, "diabetes@champion")
    caller.world.champions[name] = ModelKey("diabetes", 2)
    body = {"endpoint": str(name), "policy": {"groups": [], "percent": []}}
    follows = await caller.ask("POST", f"{P}/setModel", 202, json=body)
    assert (follows["release"]["version"], follows["release"]["endpoint"]) == (2, str(name))
    assert follows["follows"]["policy"]["groups"] == []
    assert (await caller.ask("GET", P))["follows"]["endpoint"] == str(name)
    ended = await caller.ask("POST", f"{P}/setModel", 202, json={"endpoint": None})
    assert (ended["release"], ended["follows"]) == (None, None)


NO_RELEASES: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "cannot use the body: it says neither which version to release"),
    ({"model": "diabetes"}, 422, "it says neither"),
    ({"version": None}, 422, "it says neither"),
    ({"version": 0}, 422, "version in the body: it must be greater than or equal to 1"),
    ({"version": "2"}, 422, "version in the body: it must be a valid integer"),
    ({"version": 2.0}, 422, "version in the body"),
    ({"version": True}, 422, "version in the body"),
    ({"version": 10**9}, 422, "version in the body"),
    ({"version": 9}, 404, "cannot find diabetes-9"),
    ({"version": 1, "model": "heart"}, 422, "its models are diabetes"),
    ({"version": 1, "model": "--host"}, 422, "cannot use the model name"),
    ({"version": 1, "endpoint": "diabetes@champion"}, 422, "both a version and an endpoint"),
    ({"version": 1, "endpoint": None}, 422, "both a version and an endpoint"),
    ({"endpoint": None, "policy": {}}, 422, "leave out policy"),
    ({"endpoint": "diabetes"}, 404, "addressed as <model>@<alias>"),
    ({"endpoint": "diabetes@a b"}, 422, "cannot use the alias"),
    ({"endpoint": "heart@champion"}, 422, "its models are diabetes"),
    ({"version": 1, "policy": {"group": []}}, 422, "did you mean groups?"),
    ({"version": 1, "policy": {"groups": ["a b"]}}, 422, "cannot use the group name 'a b'"),
    ({"version": 1, "policy": {"groups": ["a", "a"]}}, 422, "a stands there twice"),
    ({"version": 1, "policy": {"groups": [f"g{n}" for n in range(21)]}}, 422, "policy.groups"),
    ({"version": 1, "policy": {"groups": "a"}}, 422, "it must be a list"),
    ({"version": 1, "policy": {"percent": [50, 10]}}, 422, "each share must be larger than the one "
     "before, got 10 after 50"),
    ({"version": 1, "policy": {"percent": [0]}}, 422, "it must be greater than 0"),
    ({"version": 1, "policy": {"percent": [100]}}, 422, "it must be less than 100"),
    ({"version": 1, "policy": {"percent": ["10"]}}, 422, "it must be a valid number"),
    ({"version": 1, "policy": {"success": 0}}, 422, "it must be greater than 0"),
    ({"version": 1, "policy": {"success": 101}}, 422, "it must be less than or equal to 100"),
    ({"version": 1, "policy": {"soak": "soon"}}, 422, "write a number of seconds"),
    ({"version": 1, "policy": {"soak": -1}}, 422, "policy.soak"),
    ({"version": 1, "policy": {"abort": {"failed": 3, "of": 2}}}, 422, "got 3 of 2"),
    ({"version": 1, "policy": {"abort": {"failed": 0}}}, 422, "policy.abort.failed"),
    ({"version": 1, "policy": {"abort": None}}, 422, "policy.abort"),
    ({"version": 1, "wait": 5}, 422, "there is no such member"),
]  # fmt: skip


async def test_what_is_no_release_is_refused(caller: Caller) -> None:
    for body, status, detail in NO_RELEASES:
        assert detail in await caller.refusal("POST", f"{P}/setModel", status, json=body), body
    assert await caller.ask("GET", f"{P}/releases") == []


async def test_a_model_has_to_be_named_where_there_are_several(caller: Caller) -> None:
    await caller.ask("PATCH", P, json={"models": ["diabetes", "heart"]})
    await caller.refusal("POST", f"{P}/setModel", 422, json={"version": 1})
    body = {"model": "heart", "version": 1}
    assert (await caller.ask("POST", f"{P}/setModel", 202, json=body))["release"][
        "model"
    ] == "heart"


async def test_numbers_of_releases_are_whole(caller: Caller) -> None:
    for number in ("0", "-1", "x", "1.5", "99999999999"):
        assert "number in the path" in await caller.refusal("GET", f"{P}/releases/{number}", 422)
    assert "it has none yet" in await caller.refusal("GET", f"{P}/releases/1", 404)


# Devices.


async def enrolled(caller: Caller, **body: Any) -> str:
    return str((await caller.ask("POST", f"{P}/enrolments", 201, json=body))["code"])


async def test_a_device_registers_with_a_code_once(caller: Caller) -> None:
    made = await caller.ask("POST", f"{P}/enrolments", 201, json={"groups": ["canary"]})
    assert made["code"].endswith(f".{caller.world.key.id}")
    assert made["project"] == "warehouse"
    assert made["command"] == "model-deployment-agent enrol http://test warehouse -"
    assert made["code"] not in made["command"]
    body = {"code": made["code"], "device": "camera-7", "attributes": {"place": "hall 3", "x": 1.5}}
    found = await caller.ask("POST", "/warehouse/registerDevice", 201, json=body)
    assert found["token"].startswith("mdd_")
    assert found["key"] == {"id": caller.world.key.id, "public": caller.world.key.public}
    device = await caller.ask("GET", f"{P}/devices/camera-7")
    assert (device["state"], device["groups"], device["attributes"]) == (
        "never", ["canary"], {"place": "hall 3", "x": 1.5}
    )  # fmt: skip
    assert found["token"] not in str(device)
    used = await caller.refusal("POST", f"{P}/registerDevice", 403, json=body)
    body["code"] = "mdc_" + "x" * 43 + ".0123456789abcdef"
    assert await caller.refusal("POST", f"{P}/registerDevice", 403, json=body) == used
    taken = {"code": await enrolled(caller), "device": "camera-7"}
    assert "camera-7" in await caller.refusal("POST", f"{P}/registerDevice", 409, json=taken)


async def test_a_code_may_be_for_one_name(caller: Caller) -> None:
    body = {"code": await enrolled(caller, device="camera-7"), "device": "camera-8"}
    await caller.refusal("POST", f"{P}/registerDevice", 403, json=body)
    body["device"] = "camera-7"
    await caller.ask("POST", f"{P}/registerDevice", 201, json=body)


NO_REGISTRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"device": "a b"}, "cannot use the device name 'a b'"),
    ({"device": "../x"}, "cannot use the device name"),
    ({"device": ""}, "cannot use the device name"),
    ({"device": "x" * 301}, "device in the body"),
    ({"code": "x" * 201}, "code in the body"),
    ({"code": 7}, "code in the body"),
    ({"attributes": []}, "attributes in the body: it must be a JSON object"),
    ({"attributes": {"a": [1]}}, "a must be a text, a number, true, false or null"),
    ({"attributes": {"a": {"b": 1}}}, "a must be a text"),
    ({"attributes": {"a": "x" * 201}}, "a has 201 characters; a text has 200 at most"),
    ({"attributes": {"": 1}}, "cannot be the name of an attribute"),
    ({"attributes": {"a\x1b": 1}}, "cannot be the name of an attribute"),
    ({"attributes": {f"a{n}": n for n in range(51)}}, "a device has 50 at most"),
    ({"attributes": {f"a{n}": "x" * 200 for n in range(50)}}, "the limit is 4096"),
    ({"groups": ["canary"]}, "there is no such member"),
]  # fmt: skip


async def test_what_is_no_registration_is_refused(caller: Caller) -> None:
    code = await enrolled(caller)
    for body, detail in NO_REGISTRATIONS:
        given = {"code": code, "device": "camera-7"} | body
        assert detail in await caller.refusal("POST", f"{P}/registerDevice", 422, json=given), body
    # The code was not used up.
    await caller.ask("POST", f"{P}/registerDevice", 201, json={"code": code, "device": "camera-7"})


async def test_values_that_json_cannot_carry_are_refused(caller: Caller) -> None:
    headers = {"Content-Type": "application/json"}

    async def refused(path: str, body: bytes) -> None:
        await caller.refusal("POST", path, 422, content=body, headers=headers)

    for text in (
        b"NaN",
        b"Infinity",
        b'"\\ud800"',
        b"1e999",
        b"9007199254740992",
        b"-" + b"9" * 30,
    ):
        before = b'{"code": "x", "device": "d", "attributes": {"a": '
        await refused(f"{P}/registerDevice", before + text + b"}}")
        await refused(f"{P}/commands", b'{"name": "dark", "value": ' + text + b"}")
    for name in ("name", "models"):
        body = b'{"name": "halls", "models": ["heart"]}'.replace(
            {"name": b"halls", "models": b"heart"}[name], b"\\ud800"
        )
        await refused("/projects", body)


async def test_who_guesses_codes_has_to_wait(caller: Caller) -> None:
    guess = {"code": "mdc_guess", "device": "d"}
    for place in range(10):
        project, status = ("warehouse", 403) if place % 2 else ("guessed", 404)
        await caller.refusal("POST", f"/projects/{project}/registerDevice", status, json=guess)
    good = {"code": await enrolled(caller), "device": "camera-7"}
    answer = await caller.http.post(f"{P}/registerDevice", json=good)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.json()["type"] == "urn:model-deployment:problem:too-many-attempts"
    caller.world.clock = 60
    await caller.ask("POST", f"{P}/registerDevice", 201, json=good)


async def test_devices_are_filtered_and_have_pages(caller: Caller) -> None:
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


async def test_a_device_tells_what_it_should_run_and_how_far_it_is(caller: Caller) -> None:
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


async def test_groups_and_attributes_change_alone(caller: Caller) -> None:
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


async def test_a_lost_device_is_revoked_comes_back_and_is_forgotten(caller: Caller) -> None:
    device = await caller.world.registered("camera-7")
    path = f"{P}/devices/camera-7"
    rotated = await caller.ask("POST", f"{path}/rotate")
    assert rotated["token"].startswith("mdd_")
    revoked = await caller.ask("POST", f"{path}/revoke")
    assert (revoked["state"], revoked["revoked_at"] is None) == ("revoked", False)
    assert "revoked" in await caller.refusal("POST", f"{path}/rotate", 409)
    assert caller.world.connections.dropped[-2:] == [device.id] * 2
    body = {"code": await enrolled(caller, device="camera-7"), "device": "camera-7"}
    back = await caller.ask("POST", f"{P}/registerDevice", 201, json=body)
    assert back["token"] != rotated["token"]
    assert (await caller.ask("GET", path))["state"] == "never"
    await caller.ask("DELETE", path, 204)
    assert "lists its devices" in await caller.refusal("GET", path, 404)


async def test_the_log_of_a_device_is_shown_from_its_end(caller: Caller) -> None:
    device = await caller.world.registered("camera-7")
    await caller.world.connected(device)
    lines = [{"at": 1_769_860_800_000 + n, "level": "info", "text": f"line {n}"} for n in range(5)]
    await caller.world.says(device, (MessageKind.LOG, {"lines": lines}))
    found = await caller.ask("GET", f"{P}/devices/camera-7/logs?lines=2")
    assert [one["text"] for one in found] == ["line 3", "line 4"]
    before = await caller.ask("GET", f"{P}/devices/camera-7/logs?lines=2&before={found[0]['id']}")
    assert [one["text"] for one in before] == ["line 1", "line 2"]
    await caller.refusal("GET", f"{P}/devices/camera-7/logs?lines=1001", 422)


# Commands.


async def test_commands_go_to_devices_groups_or_all(caller: Caller) -> None:
    world = caller.world
    one, two = await world.registered("one", "canary"), await world.registered("two")
    await world.registered("three", "canary")
    await world.devices.revoke("warehouse", "three", "")
    dark = await caller.ask("POST", "/warehouse/setDark", 202, json={"value": True})
    assert dark == {"name": "dark", "value": True, "devices": ["one", "two"]}
    assert sorted(caller.world.connections.told[-1] or []) == [one.id, two.id]
    body: dict[str, Any] = {"name": "interval", "value": {"s": 30}, "groups": ["canary"]}
    ordered = await caller.ask("POST", f"{P}/commands", 202, json=body)
    assert ordered["devices"] == ["one"]
    body = {"name": "interval", "value": None, "devices": ["two"]}
    await caller.ask("POST", f"{P}/commands", 202, json=body)
    await world.connected(one)
    (interval, first) = await caller.ask("GET", f"{P}/commands?device=one")
    assert (interval["value"], first["name"], first["ok"]) == ({"s": 30}, "dark", None)
    answer = {"id": first["id"], "ok": False, "detail": "no such lamp"}
    await world.says(one, (MessageKind.ANSWER, answer))
    answered = (await caller.ask("GET", f"{P}/commands?device=one"))[1]
    assert (answered["ok"], answered["answer"]) == (False, "no such lamp")
    assert len(await caller.ask("GET", f"{P}/commands?limit=3")) == 3


NO_COMMANDS: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "dark"}, 422, "value in the body: it is missing"),
    ({"name": "a b", "value": 1}, 422, "cannot use the command name 'a b'"),
    ({"name": "x", "value": "y" * 4100}, 422, "the limit is 4096"),
    ({"name": "x", "value": 1, "devices": []}, 422, "devices in the body"),
    ({"name": "x", "value": 1, "groups": []}, 422, "groups in the body"),
    ({"name": "x", "value": 1, "devices": ["none"]}, 404, "cannot find the device none"),
    ({"name": "x", "value": 1, "devices": ["a", "a"]}, 422, "a stands there twice"),
    (
        {"name": "x", "value": 1, "groups": ["none"]},
        422,
        "no device of warehouse belongs to it",
    ),
    ({"name": "x", "value": 1, "all": True}, 422, "there is no such member"),
]  # fmt: skip


async def test_what_is_no_command_is_refused(caller: Caller) -> None:
    await caller.world.registered("camera-7")
    for body, status, detail in NO_COMMANDS:
        assert detail in await caller.refusal("POST", f"{P}/commands", status, json=body), body
    assert await caller.ask("GET", f"{P}/commands") == []


async def test_dark_is_true_or_false(caller: Caller) -> None:
    for value in ("true", 1, None):
        await caller.refusal("POST", f"{P}/setDark", 422, json={"value": value})


# All of them.


CALLS = (
    ("GET", "models"), ("GET", "getStats"), ("GET", "releases"), ("GET", "releases/1"),
    ("POST", "releases/1/pause"), ("POST", "releases/1/resume"), ("POST", "releases/1/stop"),
    ("GET", "events"), ("GET", "devices"), ("GET", "devices/d"), ("DELETE", "devices/d"),
    ("POST", "devices/d/revoke"), ("POST", "devices/d/rotate"), ("GET", "devices/d/logs"),
    ("GET", "devices/d/updates"), ("GET", "commands"), ("POST", "enrolments"),
)  # fmt: skip


async def test_both_addresses_are_one_call_and_name_what_is_missing(caller: Caller) -> None:
    for method, path in CALLS:
        long = await caller.ask(method, f"/projects/none/{path}", 404)
        assert long == await caller.ask(method, f"/none/{path}", 404)
        assert long["type"] == "urn:model-deployment:problem:unknown-project"
        assert "no such" not in (await caller.refusal(method, f"/none/{path}?x=1", 422))


async def test_changes_are_in_the_audit_trail(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    await caller.world.registered("camera-7")
    with caplog.at_level(logging.INFO):
        await caller.ask("POST", "/projects", 201, json={"name": "halls", "models": ["heart"]})
        await caller.ask("POST", "/warehouse/setModel", 202, json={"version": 2})
        await caller.ask("POST", f"{P}/releases/1/stop")
        await caller.ask("POST", f"{P}/devices/camera-7/revoke")
        await caller.ask("POST", f"{P}/registerDevice", 403, json={"code": "c", "device": "d"})
        await caller.ask("GET", f"{P}/devices")
    told = [
        tuple(vars(one).get(name) for name in ("action", "status", "project", "device", "release"))
        for one in caplog.records
        if hasattr(one, "action")
    ]
    assert told == [
        ("create_project", 201, "halls", None, None),
        ("set_release", 202, "warehouse", None, None),
        ("stop_release", 200, "warehouse", None, "1"),
        ("revoke_device", 200, "warehouse", "camera-7", None),
        ("register_device", 403, "warehouse", "d", None),
    ]
    (released,) = (one for one in caplog.records if vars(one).get("action") == "set_release")
    assert vars(released)["model"] == "diabetes-2"
    events = await caller.ask("GET", f"{P}/events?limit=2")
    assert [one["reason"] for one in events] == ["revoked", "stopped"]
