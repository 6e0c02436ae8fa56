"""The calls of releases: what they answer, and what is refused in which words."""

from typing import Any

from model_deployment.core.devices import MessageKind
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import AbortRule, ReleasePolicy
from tests.support.device_caller import DeviceCaller, P


async def test_a_release_is_set_shown_and_steered(caller: DeviceCaller) -> None:
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


async def test_a_release_tells_how_far_the_devices_of_each_stage_are(caller: DeviceCaller) -> None:
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


async def test_releases_have_pages_from_the_newest_on(caller: DeviceCaller) -> None:
    for _ in range(3):
        await caller.world.devices.set_version("warehouse", None, 1, ReleasePolicy(), "")
    first = await caller.http.get(f"{P}/releases?limit=2")
    assert [one["number"] for one in first.json()] == [3, 2]
    rest = await caller.http.get(first.links["next"]["url"])
    assert [one["number"] for one in rest.json()] == [1]
    assert "next" not in rest.links


async def test_an_endpoint_is_followed_and_no_longer(caller: DeviceCaller) -> None:
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


async def test_what_is_no_release_is_refused(caller: DeviceCaller) -> None:
    for body, status, detail in NO_RELEASES:
        assert detail in await caller.refusal("POST", f"{P}/setModel", status, json=body), body
    assert await caller.ask("GET", f"{P}/releases") == []


async def test_a_model_has_to_be_named_where_there_are_several(caller: DeviceCaller) -> None:
    await caller.ask("PATCH", P, json={"models": ["diabetes", "heart"]})
    await caller.refusal("POST", f"{P}/setModel", 422, json={"version": 1})
    body = {"model": "heart", "version": 1}
    assert (await caller.ask("POST", f"{P}/setModel", 202, json=body))["release"][
        "model"
    ] == "heart"


async def test_numbers_of_releases_are_whole(caller: DeviceCaller) -> None:
    for number in ("0", "-1", "x", "1.5", "99999999999"):
        assert "number in the path" in await caller.refusal("GET", f"{P}/releases/{number}", 422)
    assert "it has none yet" in await caller.refusal("GET", f"{P}/releases/1", 404)
