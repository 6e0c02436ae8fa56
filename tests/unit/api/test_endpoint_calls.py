"""The calls of endpoints: which answer, with which status, and what is refused in which words."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from model_deployment.api import model_info
from model_deployment.api.model_info import ModelInfo
from model_deployment.core.domain import Deployment
from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import Canary, Checks, RolloutPolicy, ShadowPolicy
from model_deployment.endpoints.views import EndpointView
from model_deployment.registry.values import RegisteredVersion
from tests.support.launched import deployed
from tests.support.memory_endpoints import NAME, NOW, MemoryEndpoints, application, view_of

ONE = "/endpoints/diabetes@champion"


@dataclass
class Caller:
    """Asks an application that has only the calls of endpoints."""

    endpoints: MemoryEndpoints
    http: httpx.AsyncClient
    #: What the registry knows; None: it is away.
    registered: list[RegisteredVersion] | None = field(default_factory=list)

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def version(self, key: ModelKey) -> RegisteredVersion | None:
        if self.registered is None:
            raise RegistryUnavailable("cannot list the versions: the registry is away")
        return next((one for one in self.registered if one.key == key), None)


async def deployment(key: ModelKey) -> Deployment:
    return deployed(str(key))


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    endpoints = MemoryEndpoints()
    app = application(endpoints)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/") as http:
        found = Caller(endpoints, http)
        described: Any = ({"inputs": []}, None, None)
        info = ModelInfo(endpoints, found.version, deployment, lambda row: described)
        app.include_router(model_info.router(info))
        yield found


def have(caller: Caller, **endpoint: Any) -> EndpointView:
    caller.endpoints.views[NAME] = view_of(**endpoint)
    return caller.endpoints.views[NAME]


async def test_put_makes_an_endpoint_with_the_defaults_and_then_changes_it(caller: Caller) -> None:
    made = await caller.ask("PUT", ONE, 201)
    assert made["name"] == "diabetes@champion"
    assert made["url"] == "http://test/diabetes@champion"
    assert made["policy"] == RolloutPolicy().as_dict()
    body = {
        "options": {"workers": 2, "idle_timeout": "30m"},
        "checks": {"replay": 0, "shadow": {"minutes": "1h"}},
        "canary": {"steps": [1, 10.5], "minutes": "30s"},
        "keep_previous": "2h",
    }
    changed = await caller.ask("PUT", ONE, json=body)
    policy = caller.endpoints.views[NAME].endpoint.policy
    assert policy == RolloutPolicy(
        options={"workers": 2, "idle_timeout": 1800.0},
        checks=Checks(replay=0, shadow=ShadowPolicy(minutes=60.0)),
        canary=Canary(steps=(1, 10.5), minutes=0.5),
        keep_previous=7200.0,
    )
    assert changed["policy"] == policy.as_dict()
    # What an answer shows can be sent again.
    await caller.ask("PUT", ONE, json=changed["policy"])
    assert caller.endpoints.views[NAME].endpoint.policy == policy


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"canary": {"steps": [25, 5]}}, "cannot use canary.steps in the body: each step must be larger "
         "than the one before, got 5 after 25"),
        ({"canary": {"steps": [5, 5]}}, "got 5 after 5"),
        ({"canary": {"steps": [5, 100]}}, "canary.steps[1] in the body: it must be less than 100"),
        ({"canary": {"steps": [0]}}, "canary.steps[0] in the body: it must be greater than 0"),
        ({"canary": {"steps": ["5"]}}, "canary.steps[0] in the body: it must be a valid number"),
        ({"canary": {"requests": 0}}, "canary.requests in the body: it must be greater than or equal to 1"),
        ({"canary": {"minutes": "soon"}}, "write a number of minutes, or a duration like 30s"),
        ({"canary": {"minutes": -1}}, "canary.minutes in the body"),
        ({"canary": None}, "canary in the body"),
        ({"checks": {"shadow": {"share": 101}}}, "it must be less than or equal to 100, got 101"),
        ({"checks": {"shadow": {"share": 0}}}, "it must be greater than 0, got 0"),
        ({"checks": {"replays": 5}}, "checks.replays in the body: there is no such member; did you mean "
         "replay?"),
        ({"guard": {"latency": 0.9}}, "it must be 0 (off) or a factor of at least 1, got 0.9"),
        ({"guard": {"errors": "yes"}}, "guard.errors in the body: it must be a valid boolean"),
        ({"options": {"worker": 2}}, "did you mean workers?"),
        ({"options": {"workers": 0}}, "options.workers in the body"),
        ({"keep_previous": "1y"}, "write a number of seconds"),
        ({"steps": [5]}, "there is no such member"),
    ],
)  # fmt: skip
async def test_put_refuses_what_is_no_policy(
    caller: Caller, body: dict[str, Any], detail: str
) -> None:
    refused = await caller.ask("PUT", ONE, 422, json=body)
    assert detail in refused["detail"]
    assert not caller.endpoints.views


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/endpoints/diabetes", 404, "addressed as <model>@<alias>"),
        ("/endpoints/diabetes@", 422, "cannot use the alias"),
        ("/endpoints/diabetes@a%20b", 422, "cannot use the alias"),
        ("/endpoints/deploy@champion", 422, "reserved"),
        ("/endpoints/other@champion", 404, "no model other"),
    ],
)
async def test_put_refuses_names(caller: Caller, path: str, status: int, detail: str) -> None:
    assert detail in (await caller.ask("PUT", path, status))["detail"]


async def test_an_endpoint_is_shown_with_its_rollout_guards_and_history(caller: Caller) -> None:
    assert await caller.ask("GET", "/endpoints") == []
    view = have(caller)
    (listed,) = await caller.ask("GET", "/endpoints")
    shown = await caller.ask("GET", ONE)
    assert {name: shown[name] for name in listed} == listed
    assert shown["status"] == view.status
    assert [(one["version"], one["role"], one["share"]) for one in shown["versions"]] == [
        (1, "champion", 0.95), (2, "candidate", 0.05)
    ]  # fmt: skip
    assert (shown["rollout"]["state"], shown["rollout"]["active"]) == ("canary", True)
    assert shown["guards"]["readings"][0]["guard"] == "errors"
    assert shown["check"]["outcome"] == "passed"
    assert shown["replay"] is None
    assert (shown["default"], shown["short_url"]) == (False, None)
    assert shown["rollouts"] == await caller.ask("GET", f"{ONE}/rollouts") == [shown["rollout"]]
    assert shown["events"] == await caller.ask("GET", f"{ONE}/events")
    assert shown["events"][0]["previous"] == "replaying"


async def test_orders_reach_the_rollout_of_the_endpoint(caller: Caller) -> None:
    view = have(caller)
    for order in ("promote", "pause", "resume", "rollback"):
        assert (await caller.ask("POST", f"{ONE}/{order}"))["name"] == "diabetes@champion"
    assert [order for order, *_ in caller.endpoints.orders] == [
        "promote", "pause", "resume", "rollback"
    ]  # fmt: skip
    caller.endpoints.views[NAME] = replace(view, rollout=None)
    refused = await caller.ask("POST", f"{ONE}/promote", 409)
    assert "there is no candidate" in refused["detail"]
    assert (await caller.ask("POST", f"{ONE}/pause?now=1", 422))["title"] == "Invalid request"


async def test_a_comparison_is_a_page_or_json(caller: Caller) -> None:
    have(caller)
    found = await caller.ask("GET", f"{ONE}/comparison?format=json&rollout=7")
    assert found["verdict"] == "rolled_back"
    page = await caller.http.get(f"{ONE}/comparison")
    assert page.text == "<p>rolled_back"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    await caller.ask("GET", f"{ONE}/comparison?rollout=8", 404)
    await caller.ask("GET", f"{ONE}/comparison?rollout=x", 422)


async def test_delete_waits_and_leaves_nothing(caller: Caller) -> None:
    have(caller)
    assert await caller.ask("DELETE", f"{ONE}?wait=3", 204) is None
    assert (caller.endpoints.waits, caller.endpoints.users) == ([3], [""])
    await caller.ask("DELETE", ONE, 404)


async def test_set_model_tells_which_version_serves(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    have(caller)
    body = {"model": "diabetes", "alias": "champion"}
    with caplog.at_level(logging.INFO):
        waiting = await caller.ask("POST", "/set_model?wait=0", 202, json=body)
    assert (waiting["version"], waiting["alias_version"], waiting["serves"]) == (1, 2, False)
    (event,) = (one for one in caplog.records if hasattr(one, "action"))
    assert (event.action, vars(event)["model"]) == ("set_model", "diabetes@champion")
    have(caller, champion=2)
    done = await caller.ask("POST", "/set_model", json=body)
    assert (done["version"], done["serves"]) == (2, True)
    assert caller.endpoints.waits == [0, 60]
    shown = await caller.ask("GET", ONE)
    assert (shown["default"], shown["short_url"]) == (True, "http://test/diabetes")
    # The default endpoint's model.
    assert (await caller.ask("POST", "/set_model", json={"alias": "champion"}))["version"] == 2
    await caller.ask("POST", "/set_model", 422, json={"model": "diabetes"})


async def test_model_info_tells_what_serves_with_and_without_the_registry(caller: Caller) -> None:
    have(caller)
    path = "/model_info?model=diabetes&alias=champion"
    caller.registered = [
        RegisteredVersion(
            ModelKey("diabetes", 1), "READY", NOW, [], "run", {"rmse": 53.4, "r2": float("nan")}
        )
    ]
    found = await caller.ask("GET", path)
    assert (found["endpoint"], found["version"], found["run_id"]) == ("diabetes@champion", 1, "run")
    assert found["metrics"] == {"rmse": 53.4, "r2": None}
    assert found["signature"] == {"inputs": []}
    assert (found["registry"], found["since"]) == ("", "2026-01-31T12:00:00Z")
    caller.registered = None
    found = await caller.ask("GET", path)
    assert (found["version"], found["run_id"], found["metrics"]) == (1, None, {})
    assert found["registry"] == "cannot list the versions: the registry is away"
    have(caller, champion=None)
    assert (await caller.ask("GET", path))["signature"] is None
    await caller.ask("GET", "/model_info", 404)
