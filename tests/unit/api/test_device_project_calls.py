"""The calls of projects of devices: what they answer, and what is refused in which words."""

from typing import Any

from model_deployment.core.releases import ReleasePolicy
from tests.support.device_caller import DeviceCaller, P


async def test_projects_are_made_listed_changed_and_deleted(caller: DeviceCaller) -> None:
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


async def test_lists_have_pages(caller: DeviceCaller) -> None:
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


async def test_what_is_no_project_is_refused(caller: DeviceCaller) -> None:
    for body, status, detail in NO_PROJECTS:
        assert detail in await caller.refusal("POST", "/projects", status, json=body), body
    assert [one["name"] for one in await caller.ask("GET", "/projects")] == ["warehouse"]


async def test_a_project_with_devices_is_deleted_by_force_only(caller: DeviceCaller) -> None:
    device = await caller.world.registered("camera-7")
    refused = await caller.refusal("DELETE", P, 409)
    assert "1 of its devices are registered" in refused
    assert "force=true" in refused
    await caller.ask("DELETE", f"{P}?force=true", 204)
    assert caller.world.connections.dropped[-1] == device.id
    await caller.ask("GET", f"{P}/devices", 404)


async def test_models_say_where_their_versions_run(caller: DeviceCaller) -> None:
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


async def test_stats_are_side_by_side_and_take_times(caller: DeviceCaller) -> None:
    found = await caller.ask("GET", f"{P}/getStats?since=2026-01-01&until=2026-01-02T00:00Z")
    assert (found["since"], found["until"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    (version,) = found["versions"]
    assert (version["devices"]["errors"], version["server"]["p95_ms"], version["drift"]) == (
        {"invalid": 1}, 2.0, 0.25
    )  # fmt: skip
    assert "a duration before now" in await caller.refusal("GET", f"{P}/getStats?since=soon", 422)
    backwards = f"{P}/getStats?since=2026-01-02&until=2026-01-01"
    assert "no end after its beginning" in await caller.refusal("GET", backwards, 422)
