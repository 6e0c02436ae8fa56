"""The calls of Prefect's REST API that the service needs; see ``<API>/docs`` of a server."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from uuid import uuid4

import httpx

from model_deployment_flows.deployment_name import DEPLOYMENT_NAME
from model_deployment_flows.service.decide import Run, RunState

#: Seconds for one answer.
_TIMEOUT = 10.0
#: Rows of a page; Prefect's limit.
_PAGE = 200
_OVERLAP = 20
_UNFINISHED = [state.value for state in RunState if not state.final]

#: What is raised where the server is away, or answers something else than it should.
Unreachable = httpx.HTTPError
#: That part of it where the server did answer.
Refused = httpx.HTTPStatusError


class PrefectApi:
    """A client for one thread. Every method raises ``Unreachable``."""

    def __init__(self, api_url: str, auth: str) -> None:
        user, _, password = auth.partition(":")
        self._client = httpx.Client(
            base_url=api_url, auth=(user, password), timeout=_TIMEOUT, trust_env=False
        )
        #: The run in whose process a flow within a flow is; None where another program serves the flow.
        self._owners: dict[str, str | None] = {}
        #: Whether the service serves a deployment.
        self._ours: dict[str, bool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def healthy(self) -> bool:
        try:
            return self._client.get("/health", timeout=3).is_success
        except httpx.HTTPError:
            return False

    def served_flows(self) -> int:
        """How many flows are registered; 0 where the server does not answer."""
        body = {"deployments": {"name": {"any_": [DEPLOYMENT_NAME]}}}
        try:
            return int(self._post("/deployments/count", body))
        except httpx.HTTPError:
            return 0

    def unfinished(self) -> list[Run]:
        """All runs of the served flows that have not ended, flows within flows among them."""
        body = {
            "flow_runs": {"state": {"type": {"any_": _UNFINISHED}}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        rows = self._all("/flow_runs/filter", body)
        self._learn_owners(rows)
        return [
            Run(
                id=row["id"],
                state=RunState(row["state_type"]),
                since=_seconds(row["state"]["timestamp"]),
                due=_seconds(row["next_scheduled_start_time"] or row["expected_start_time"]),
                owner=owner,
            )
            for row in rows
            if (owner := self._owners[row["id"]]) is not None
        ]

    def state(self, run_id: str) -> tuple[RunState, str]:
        """The state of a run, and its message."""
        state = self._get(f"/flow_runs/{run_id}")["state"]
        return RunState(state["type"]), state.get("message") or ""

    def wait(self, run_id: str, message: str, due: float, *, name: str) -> None:
        """Say why a scheduled run does not begin. Its place among those that wait stays."""
        state = _state(RunState.SCHEDULED, message) | {"name": name}
        at = datetime.fromtimestamp(due, UTC).isoformat()
        body = {"state": state | {"state_details": {"scheduled_time": at}}, "force": True}
        self._post(f"/flow_runs/{run_id}/set_state", body)

    def set_state(self, run_id: str, state: RunState, message: str, *, force: bool = False) -> bool:
        """Propose a state; returns whether Prefect accepted it.

        Args:
            force: without the rules by which one state follows another.
        """
        answer = self._post(
            f"/flow_runs/{run_id}/set_state",
            {"state": _state(state, message), "force": force},
        )
        return bool(answer["status"] == "ACCEPT")

    def end_tasks(self, run_id: str, state: RunState, message: str) -> None:
        """End the tasks of a run that ended without ending them."""
        body = {
            "flow_runs": {"id": {"any_": [run_id]}},
            "task_runs": {"state": {"type": {"any_": _UNFINISHED}}},
        }
        for row in self._all("/task_runs/filter", body):
            change = {"state": _state(state, message), "force": True}
            self._post(f"/task_runs/{row['id']}/set_state", change)

    def log(self, run_id: str, level: int, message: str) -> None:
        """Write a line into the log of a run; ``level`` as in the module ``logging``."""
        line = {
            "name": "model_deployment.service",
            "level": level,
            "message": message,
            "timestamp": datetime.now(UTC).isoformat(),
            "flow_run_id": run_id,
        }
        self._post("/logs/", [line])

    def _learn_owners(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Go up from flows within flows, whose parents are tasks, until each has an outermost run."""
        self._owners = {
            row["id"]: self._owners[row["id"]] for row in rows if row["id"] in self._owners
        }
        for row in rows:
            if row["id"] not in self._owners:
                outermost = self._outermost(row)
                ours = self._is_served(outermost["deployment_id"])
                self._owners[row["id"]] = outermost["id"] if ours else None

    def _outermost(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        while (task := run["parent_task_run_id"]) is not None:
            rows = self._post(
                "/task_runs/filter", {"task_runs": {"id": {"any_": [task]}}, "limit": 1}
            )
            if not rows or not rows[0]["flow_run_id"]:
                break
            run = self._get(f"/flow_runs/{rows[0]['flow_run_id']}")
        return run

    def _is_served(self, deployment: str | None) -> bool:
        """Whether a deployment is one of the service: others may use the same server."""
        if deployment is None:
            return False
        if deployment not in self._ours:
            self._ours[deployment] = (
                self._get(f"/deployments/{deployment}")["name"] == DEPLOYMENT_NAME
            )
        return self._ours[deployment]

    def _all(self, path: str, body: Mapping[str, object]) -> Sequence[Mapping[str, Any]]:
        """All rows of a filter, page by page. Pages overlap: rows that end meanwhile move the others up."""
        found: dict[str, Mapping[str, Any]] = {}
        offset = 0
        while True:
            page = self._post(path, {**body, "limit": _PAGE, "offset": offset})
            found |= {row["id"]: row for row in page}
            if len(page) < _PAGE:
                return [*found.values()]
            offset += _PAGE - _OVERLAP

    def _get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    def _post(self, path: str, body: object) -> Any:
        answer = self._client.post(path, json=body).raise_for_status()
        return answer.json() if answer.content else None


def _state(state: RunState, message: str) -> dict[str, Any]:
    return {"type": state.value, "message": message}


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else time.time()


def random_auth() -> str:
    """User and a password that nobody has to know."""
    return f"flows:{uuid4().hex}{uuid4().hex}"
