"""The calls of runs: which answer, with which status, and who may read what."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from model_deployment.api import flows, problems
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.flows.base import FlowState
from tests.support.flow_runs import SHA, Scene, flow_runs, record


class Caller:
    """Asks an application that has only these calls, as a user of a role."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.role = Role.OPERATOR
        app = FastAPI()
        problems.install(app)
        app.include_router(flows.router(scene.runs))

        @app.middleware("http")
        async def sign_in(request: Request, call_next: Any) -> Any:
            request.scope[USER] = User("ann", self.role)
            return await call_next(request)

        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://controller")

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with flow_runs(tmp_path, None) as scene:
        yield Caller(scene)


async def test_a_run_is_answered_with_its_place(caller: Caller) -> None:
    body = {"experiment": "income", "data": SHA, "trials": 3}
    answer = await caller.http.post("/api/run_flow/full_flow", json=body)
    assert answer.status_code == 202
    made = answer.json()
    assert answer.headers["location"] == made["place"]
    assert made["parameters"] == body
    assert (made["state"], made["requested_by"]) == ("requested", "ann")
    found = await caller.ask("GET", made["place"])
    assert found["links"]["data"] == f"/datasets/{SHA}"
    cancelled = await caller.ask("POST", made["place"] + "/cancel")
    assert cancelled["state"] == "cancelled"
    await caller.ask("POST", made["place"] + "/cancel", 409)
    again = await caller.ask("POST", made["place"] + "/retry", 202)
    assert (again["again"], again["parameters"]) == (made["id"], body)


@pytest.mark.parametrize(
    ("flow", "body", "message"),
    [
        ("full_flow", {"experiment": "none"}, "experiments are income, sales"),
        ("no_flow", {"experiment": "income"}, "the flows are data_flow"),
        ("data_flow", {"experiment": "income", "wait": 3}, "it takes data, force"),
        ("full_flow", {"experiment": "income", "model_typ": "auto"}, "model_typ"),
        ("full_flow", {"experiment": "income", "trials": "3"}, "trials"),
        ("full_flow", {"experiment": "income", "data": "cd" * 32}, "no such version"),
        ("full_flow", {}, "experiment"),
    ],
)
async def test_what_cannot_be_run_is_refused(
    caller: Caller, flow: str, body: dict[str, Any], message: str
) -> None:
    refused = await caller.ask("POST", f"/api/run_flow/{flow}", 422, json=body)
    assert message in str(refused)


async def test_everything_that_is_wrong_is_named_at_once(caller: Caller) -> None:
    body = {"experiment": "income", "model_typ": "auto", "trials": "3", "epochs": 2, "data": "ab"}
    refused = await caller.ask("POST", "/api/run_flow/full_flow", 422, json=body)
    wrong = ["model_typ", "trials", "epochs", "data"]
    assert sorted(one["field"] for one in refused["errors"]) == sorted(wrong)
    assert all(name in refused["detail"] for name in wrong)
    body = {"experiment": "none", "odd": 1}
    refused = await caller.ask("POST", "/api/run_flow/no_flow", 422, json=body)
    assert [one["field"] for one in refused["errors"]] == ["flow_type", "experiment", "odd"]


async def test_runs_are_paged_and_chosen(caller: Caller) -> None:
    for number, state in enumerate((FlowState.COMPLETED, FlowState.FAILED, FlowState.COMPLETED)):
        caller.scene.records.write(record(f"r{number}", state))
    first = await caller.http.get("/api/flow-runs", params={"limit": 2})
    assert [one["id"] for one in first.json()] == ["r2", "r1"]
    more = first.headers["link"].partition(">")[0].removeprefix("<")
    assert [one["id"] for one in await caller.ask("GET", more)] == ["r0"]
    [failed] = await caller.ask("GET", "/api/flow-runs?state=failed")
    assert failed["id"] == "r1"
    assert await caller.ask("GET", "/api/flow-runs?experiment=sales") == []
    await caller.ask("GET", "/api/flow-runs?after=gone", 422)
    await caller.ask("GET", "/api/flow-runs/gone", 404)


async def test_messages_which_may_repeat_values_are_for_operators(caller: Caller) -> None:
    caller.scene.switch.problem = "cannot start the service of flows: a secret"
    await caller.ask("POST", "/api/run_flow/data_flow", 202, json={"experiment": "income"})
    paths = ("/api/flow-runs", "/api/flow-monitoring-data")
    for role, told in ((Role.OPERATOR, True), (Role.CALLER, False)):
        caller.role = role
        assert ["secret" in str(await caller.ask("GET", path)) for path in paths] == [told, told]


async def test_monitoring_data_are_for_plotly(caller: Caller) -> None:
    caller.scene.records.write(record())
    found = await caller.ask("GET", "/api/flow-monitoring-data?limit=1")
    assert found["graph"][0]["type"] == "bar"
    assert found["layout"]["xaxis"]["type"] == "date"
    assert found["service"] == {"state": "away", "problem": ""}
