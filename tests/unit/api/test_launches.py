"""Answers about deployments with launches: one as ever, several, containers, changes; logs of replicas."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from model_deployment.api import logs, problems
from model_deployment.api.launch_schemas import LaunchFigures
from model_deployment.api.logs import LogCalls
from model_deployment.api.schemas import DeploymentOut, EventOut, ModelOut
from model_deployment.core.domain import (
    Address,
    Deployment,
    Handle,
    LaunchRole,
    LaunchState,
    State,
    Step,
)
from model_deployment.core.errors import NotDeployed
from model_deployment.core.events import Event
from model_deployment.core.measures import Memory
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import Replacement, ReplacementState, Strategy
from model_deployment.runtime.log_lines import LogLine, MessageFilter
from tests.support.launched import deployed, launch

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
BASE = "http://test:8000/"
WORKERS = Options(workers=2)


def identify(handle: Handle) -> Mapping[str, str | int]:
    return {name: handle.ref[name] for name in ("pid", "container", "image") if name in handle.ref}


def shown(row: Deployment, figures: LaunchFigures | None = None) -> dict[str, Any]:
    """The answer, as JSON has it."""
    members = DeploymentOut.members(row, BASE, identify, None, *([figures] if figures else []))
    return DeploymentOut(**members).model_dump(mode="json")


def test_deployment_with_one_launch_has_the_members_that_it_always_had() -> None:
    found = shown(deployed(created_at=NOW, ready_at=NOW, starts=2, deployed_by="ann"))
    options = found.pop("options")
    assert (options["workers"], options["replicas"]) == (1, 1)
    launches, replicas = found.pop("launches"), found.pop("replicas")
    assert found == {
        "name": "a-1", "model": "a", "version": 1, "state": "ready", "desired": "running",
        "url": "http://test:8000/a-1", "port": 18500, "pid": 4000, "container": None,
        "threads": None, "environment": None,
        "reason": "healthy", "advice": "", "restarts": 1, "created_at": "2026-01-31T12:00:00Z",
        "ready_at": "2026-01-31T12:00:00Z", "deployed_by": "ann", "replacement": None,
    }  # fmt: skip
    assert replicas == {"wanted": 1, "ready": 1}
    (one,) = launches
    assert (one["replica"], one["role"], one["state"]) == (0, "serving", "ready")
    assert (one["launch_id"], one["pid"], one["address"]) == ("serving-0", 4000, "127.0.0.1:18500")
    assert (one["memory"], one["in_flight"], one["current"]) == (None, None, True)


@pytest.mark.parametrize("state", [State.STOPPED, State.PARKED, State.FAILED])
def test_deployment_at_rest_has_no_launch(state: State) -> None:
    found = shown(deployed(state=state, reason="KeyError: 'age'", replicas=3))
    assert (found["state"], found["reason"]) == (state, "KeyError: 'age'")
    assert (found["port"], found["pid"], found["ready_at"], found["launches"]) == (None,) * 3 + (
        [],
    )
    assert found["replicas"] == {"wanted": 3 if state is State.FAILED else 0, "ready": 0}


def test_launches_have_what_was_measured_of_them() -> None:
    stopping = launch(LaunchState.STOPPING, 1, LaunchRole.RETIRING, generation=0)
    row = deployed(
        launches=[
            launch(replica=0),
            launch(LaunchState.PENDING, 1, tries=2, reason="KeyError: 'age'"),
            launch(LaunchState.STARTING, 0, LaunchRole.COMING, generation=2),
            stopping,
        ]
    )
    memory = {"serving-0": Memory(1000, 900), "retiring-1": Memory(500, None)}
    figures = LaunchFigures(memory, {"serving-0": 3, "retiring-1": 1})
    ready, pending, coming, retiring = shown(row, figures)["launches"]
    assert [one["memory"] for one in (ready, pending, coming, retiring)] == [900, None, None, 500]
    assert [one["in_flight"] for one in (ready, pending, coming, retiring)] == [3, None, None, 1]
    assert [one["current"] for one in (ready, pending, coming, retiring)] == [
        True,
        True,
        False,
        False,
    ]
    assert (pending["launch_id"], pending["pid"], pending["port"]) == (None, None, None)
    assert (pending["tries"], pending["reason"]) == (2, "KeyError: 'age'")
    assert (retiring["step"], retiring["ready_at"]) == (Step.DRAIN, None)
    assert (figures.total("rss"), figures.total("pss")) == (1500, 900)
    assert LaunchFigures().total("rss") is None
    assert shown(row)["replicas"] == {"wanted": 2, "ready": 1}


def test_deployment_is_ready_while_one_of_its_replicas_is() -> None:
    starting = launch(LaunchState.STARTING, 0, reason="launch on port 1")
    found = shown(deployed(launches=[starting, launch(replica=1)]))
    assert (found["state"], found["reason"], found["pid"]) == ("ready", "healthy", 4001)


@pytest.mark.parametrize(
    ("address", "shown_as"),
    [
        (Address("10.0.0.7", 80), "10.0.0.7:80"),
        (Address("fe80::1", 80), "[fe80::1]:80"),
        (Address("model", 80, "/data/launches/x/socket"), None),
    ],
)
def test_address_is_that_of_the_handle_and_no_path(address: Address, shown_as: str | None) -> None:
    handle = Handle("serving-0", address, {"container": "c0ffee", "image": "md:1"})
    found = shown(deployed(launches=[launch(handle=handle, port=None)]))
    (one,) = found["launches"]
    assert (one["address"], one["port"]) == (shown_as, None)
    assert (one["pid"], one["container"], one["image"]) == (None, "c0ffee", "md:1")
    assert (found["pid"], found["container"]) == (None, "c0ffee")


def test_every_member_of_the_examples_is_one_of_the_answers() -> None:
    for model in (DeploymentOut, ModelOut):
        (example,) = cast(Any, model.model_config["json_schema_extra"])["examples"]
        assert {one for one in example if one not in model.model_fields} == set(), model
    launches = DeploymentOut.model_fields["launches"]
    assert launches.is_required()


def changing(state: ReplacementState, **row: Any) -> Any:
    it = Replacement(
        1, state, row.pop("strategy", Strategy.BESIDE), WORKERS, "asked for", "change by ann", NOW
    )
    return shown(deployed(replacement=it, **row))["replacement"]


@pytest.mark.parametrize("state", [LaunchState.PENDING, LaunchState.STARTING, LaunchState.STOPPING])
def test_change_under_way_has_the_state_of_its_launch(state: LaunchState) -> None:
    coming = launch(state, 0, LaunchRole.COMING, generation=2, reason="launch on port 2", since=NOW)
    found = changing(ReplacementState.COMING, launches=[launch(), coming])
    assert (found["state"], found["reason"]) == (state, "launch on port 2")
    assert (found["under_way"], found["purpose"]) == (True, "change by ann")
    assert (found["options"]["workers"], found["since"]) == (2, "2026-01-31T12:00:00Z")
    assert found["launches_before"] == 1


def test_change_that_waits_for_the_launches_to_stop_is_pending() -> None:
    found = changing(
        ReplacementState.COMING, strategy=Strategy.RECREATE, launches=[launch(LaunchState.STOPPING)]
    )
    assert (found["state"], found["reason"], found["launches_before"]) == (
        "pending",
        "asked for",
        1,
    )


def test_change_whose_launches_serve_is_retiring_until_those_before_have_ended() -> None:
    new = [launch(replica=0, generation=2), launch(LaunchState.PENDING, 2, generation=2)]
    old = [
        launch(replica=1),
        launch(
            LaunchState.STOPPING, 0, LaunchRole.RETIRING, reason="answers 2 requests", since=NOW
        ),
    ]
    found = changing(ReplacementState.ROLLING, launches=[*new, *old], generation=2)
    assert (found["state"], found["under_way"]) == ("retiring", False)
    assert (found["launches_before"], found["reason"]) == (2, "answers 2 requests")
    # Nothing retires at this moment: the next one is to be replaced.
    found = changing(ReplacementState.ROLLING, launches=[*new, old[0]], generation=2)
    assert (found["launches_before"], found["reason"]) == (1, "asked for")


def test_change_that_failed_names_no_launches() -> None:
    found = changing(ReplacementState.FAILED, launches=[launch()])
    assert (found["state"], found["under_way"], found["launches_before"]) == ("failed", False, 0)


def test_event_names_its_replica() -> None:
    event = Event(NOW, State.READY, "healthy", State.STARTING, "serving-1", 1)
    found = EventOut.of(event).model_dump(mode="json")
    assert (found["replica"], found["launch_id"]) == (1, "serving-1")
    assert EventOut.of(replace(event, replica=None)).replica is None


@dataclass
class Logged:
    """A controller with one deployment, and the logs of launches."""

    row: Deployment
    told: list[Event] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)

    async def get(self, key: ModelKey) -> Deployment:
        if key != self.row.key:
            raise NotDeployed(f"cannot find {key}: it is not deployed")
        return self.row

    async def events(self, key: ModelKey, limit: int) -> list[Event]:
        await self.get(key)
        return self.told

    async def last_launch(self, key: ModelKey) -> str | None:
        return self.row.launch_id

    def search(self, launch_id: str, lines: int, matches: MessageFilter) -> list[LogLine]:
        return [LogLine(None, f"log of {launch_id}")]

    async def update(self, launch_id: str) -> None:
        return None


@pytest.fixture
def logged() -> Logged:
    ended = [
        Event(NOW, State.STOPPED, "fewer are wanted", State.STOPPING, "gone", 5),
        Event(NOW, State.STARTING, "launch on port 1", State.PENDING, "gone", 5),
    ]
    pending = launch(LaunchState.PENDING, 1)
    retiring = launch(LaunchState.STOPPING, 0, LaunchRole.RETIRING, launch_id="r")
    coming = launch(LaunchState.STARTING, 3, LaunchRole.COMING)
    row = deployed(launches=[launch(), pending, coming, retiring])
    return Logged(row, ended, {"gone", "serving-0"})


async def no_build(row: Deployment) -> None:
    return None


@pytest.fixture
async def http(logged: Logged) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    calls = LogCalls(
        cast(Any, logged),
        logged.search,
        lambda id: id in logged.kept,
        logged.update,
        no_build,
    )
    app.include_router(logs.router(calls))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/") as client:
        yield client


@pytest.mark.parametrize(
    ("query", "launch_id"),
    [
        ("", "serving-0"),
        ("?replica=0", "serving-0"),
        ("?replica=3", "coming-3"),  # has to prove a change
        ("?replica=5", "gone"),  # ended, and its log is kept
        ("?launch=gone", "gone"),
    ],
)
async def test_log_is_that_of_the_replica(
    http: httpx.AsyncClient, query: str, launch_id: str
) -> None:
    answer = await http.get(f"/model/a-1/logs{query}")
    assert (answer.status_code, answer.text) == (200, f"log of {launch_id}\n"), answer.text
    assert answer.headers["x-launch-id"] == launch_id


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("?replica=1", 404, "of replica 1: a-1 has no log of it; its replicas are 0, 1"),
        ("?replica=7", 404, "its replicas are 0, 1"),
        ("?replica=0&launch=gone", 422, "name one of them"),
        ("?replica=-1", 422, ""),
        ("?replica=99999999999999999999", 422, ""),
        ("?replica=one", 422, ""),
        ("?replica=%00", 422, ""),
    ],
)  # fmt: skip
async def test_log_of_no_replica_is_refused(
    http: httpx.AsyncClient, query: str, status: int, told: str
) -> None:
    answer = await http.get(f"/model/a-1/logs{query}")
    assert answer.status_code == status, answer.text
    assert told in answer.json()["detail"]
    assert (await http.get("/model/b-1/logs?replica=0")).status_code == 404


async def test_launches_have_the_number_of_their_replica(http: httpx.AsyncClient) -> None:
    (one,) = (await http.get("/model/a-1/launches")).json()
    assert (one["launch_id"], one["replica"], one["ended_at"]) == (
        "gone",
        5,
        "2026-01-31T12:00:00Z",
    )
