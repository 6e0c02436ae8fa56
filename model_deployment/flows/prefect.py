"""Prefect as the engine, through its REST API (https://docs.prefect.io/v3/api-ref/rest-api, version 3.9).

Prefect lives in an environment of its own: its pins do not fit the controller's.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from model_deployment.flows.base import (
    DEPLOYMENT,
    Artifact,
    FlowRun,
    FlowState,
    FlowsUnavailable,
    FlowsUnreachable,
    FlowType,
    LogLine,
    NewRun,
    RunQuery,
    RunRefused,
    TaskRun,
    UnknownRun,
)

#: Seconds that an answer may take: SQLite makes Prefect's server wait for its own writers.
_TIMEOUT = 15.0
#: What Prefect answers at most at once.
_PAGE = 200
#: Tasks that are read of the runs of one call.
_MOST_TASKS = 2000
#: Prefect writes it before the error of a flow.
_BEFORE_ERRORS = "Flow run encountered an exception: "
_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where Prefect's server is."""

    #: With ``/api`` at its end.
    url: str
    #: ``user:password``; empty: none is needed.
    auth: str = field(default="", repr=False)

    @property
    def basic(self) -> tuple[str, str] | None:
        user, colon, password = self.auth.partition(":")
        return (user, password) if colon else None


class PrefectFlows:
    """Implements :class:`~model_deployment.flows.base.Flows`."""

    def __init__(self, address: Callable[[], Address | None]) -> None:
        """
        Args:
            address: where the server is now; None: there is none.
        """
        self._address = address
        self._client: httpx.AsyncClient | None = None
        #: Names of flows by their ids.
        self._names: dict[str, str] = {}

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def ready(self) -> bool:
        """Whether it answers, and has every flow; raises nothing."""
        served = {"deployments": {"name": {"any_": [DEPLOYMENT]}}}
        try:
            found = await self._post("/flows/filter", served)
        except (FlowsUnavailable, RunRefused, UnknownRun):
            return False
        with contextlib.suppress(KeyError, TypeError):
            return {*FlowType} <= {one["name"] for one in found}
        return False

    async def start(self, new: NewRun) -> FlowRun:
        """As the protocol has it; see ``create_flow_run`` of Prefect's deployments."""
        try:
            deployment = await self._call("GET", f"/deployments/name/{new.flow}/{DEPLOYMENT}")
        except UnknownRun:
            raise FlowsUnavailable(
                f"cannot run {new.flow}: the service of flows does not serve it yet", retry_after=5
            ) from None
        body = {
            "parameters": dict(new.parameters),
            "tags": list(new.tags),
            "idempotency_key": new.key,
            "state": {"type": "SCHEDULED"},
        }
        with _failures_explained():
            made = await self._post(f"/deployments/{deployment['id']}/create_flow_run", body)
            self._names[made["flow_id"]] = new.flow
            return self._run(made)

    async def runs(self, query: RunQuery) -> list[FlowRun]:
        """As the protocol has it."""
        only: dict[str, Any] = {}
        if query.tags:
            only["tags"] = {"all_": list(query.tags)}
        if query.states:
            only["state"] = {"type": {"any_": [one.upper() for one in query.states]}}
        if query.ids:
            only["id"] = {"any_": list(query.ids)}
        if not query.children:
            only["parent_task_run_id"] = {"is_null_": True}
        body = {"flow_runs": only, "sort": "EXPECTED_START_TIME_DESC", "limit": query.limit}
        with _failures_explained():
            found = await self._post("/flow_runs/filter", body)
            await self._learn_names({one["flow_id"] for one in found})
            return [self._run(one) for one in found]

    async def run(self, id: str) -> FlowRun:
        """As the protocol has it."""
        with _failures_explained():
            found = await self._call("GET", f"/flow_runs/{id}")
            await self._learn_names({found["flow_id"]})
            return self._run(found)

    async def tasks(self, runs: Sequence[str]) -> list[TaskRun]:
        """As the protocol has it; at most 2,000 tasks."""
        found: list[dict[str, Any]] = []
        while runs and len(found) < _MOST_TASKS:
            body = {
                "flow_runs": {"id": {"any_": list(runs)}},
                "sort": "EXPECTED_START_TIME_ASC",
                "limit": _PAGE,
                "offset": len(found),
            }
            with _failures_explained():
                page = await self._post("/task_runs/filter", body)
                found += page
                if len(page) < _PAGE:
                    break
        with _failures_explained():
            return [_task(one) for one in found]

    async def logs(
        self, runs: Sequence[str], *, limit: int = 200, offset: int = 0
    ) -> list[LogLine]:
        """As the protocol has it."""
        body = {
            "logs": {"flow_run_id": {"any_": list(runs)}},
            "sort": "TIMESTAMP_ASC",
            "limit": min(limit, _PAGE),
            "offset": offset,
        }
        found = await self._post("/logs/filter", body)
        with _failures_explained():
            return [_line(one) for one in found]

    async def artifacts(self, runs: Sequence[str]) -> list[Artifact]:
        """As the protocol has it; at most 200."""
        only = {"flow_run_id": {"any_": list(runs)}}
        body = {"artifacts": only, "sort": "ID_DESC", "limit": _PAGE}
        found = await self._post("/artifacts/filter", body)
        with _failures_explained():
            found.sort(key=lambda one: str(one["created"]))
            return [_artifact(one) for one in found]

    async def cancel(self, run: str) -> FlowRun:
        """As the protocol has it."""
        answer = await self._post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        # Prefect cancels at once what has no process yet: it then calls the wanted state rejected.
        now = (answer.get("state") or {}).get("type")
        if now not in ("CANCELLING", "CANCELLED"):
            reason = answer.get("details", {}).get("reason") or f"its state is {now}"
            raise RunRefused(f"cannot cancel run {run}: {reason}")
        return await self.run(run)

    async def _learn_names(self, ids: set[str]) -> None:
        unknown = sorted(ids - self._names.keys())
        if unknown:
            body = {"flows": {"id": {"any_": unknown}}}
            for one in await self._post("/flows/filter", body):
                self._names[one["id"]] = one["name"]

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        address = self._address()
        if address is None:
            raise FlowsUnavailable(
                "cannot ask the service of flows: it is not running", retry_after=10
            )
        if self._client is None:
            # Without the environment's proxies: the server is on this machine or in this network.
            # Certificates take a tenth of a second to load, and plain HTTP needs none.
            encrypted = address.url.startswith("https:")
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=encrypted)
        with _failures_explained():
            answer = await self._client.request(
                method, address.url + path, json=body, auth=address.basic
            )
            return _content(answer)

    def _run(self, one: Mapping[str, Any]) -> FlowRun:
        state = one.get("state") or {}
        created = _moment(one["created"])
        assert created is not None  # noqa: S101 - Prefect's column may not be null
        return FlowRun(
            id=one["id"],
            flow=self._names.get(one["flow_id"], ""),
            name=one["name"] or "",
            state=_state(one["state_type"]),
            state_name=one["state_name"] or "",
            message=(state.get("message") or "").removeprefix(_BEFORE_ERRORS),
            parameters=one.get("parameters") or {},
            tags=tuple(one.get("tags") or ()),
            created=created,
            expected=_moment(one.get("expected_start_time")),
            started=_moment(one.get("start_time")),
            ended=_moment(one.get("end_time")),
        )


@contextlib.contextmanager
def _failures_explained() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise FlowsUnreachable(
            f"cannot reach the service of flows: {type(error).__name__}", retry_after=10
        ) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FlowsUnavailable(
            "cannot read an answer of the service of flows: is it Prefect 3?", retry_after=30
        ) from error


def _content(answer: httpx.Response) -> Any:
    status = answer.status_code
    if status < 300:
        return answer.json() if answer.content else None
    if status in (401, 403):
        raise FlowsUnavailable(
            "cannot ask the service of flows: it refuses the password "
            "(MODEL_DEPLOYMENT_FLOWS_API_AUTH)",
            retry_after=60,
        )
    if status == 404:
        raise UnknownRun("cannot find this run: the service of flows does not know it")
    if status in (400, 409, 422):
        raise RunRefused(f"cannot do this with a run: {_detail(answer)}")
    raise FlowsUnavailable(
        f"cannot use the service of flows now: it answered {status}", retry_after=10
    )


def _detail(answer: httpx.Response) -> str:
    with contextlib.suppress(json.JSONDecodeError, AttributeError):
        body = answer.json()
        return str(body.get("detail") or body.get("exception_message") or body)[:500]
    return answer.text[:500]


def _task(one: Mapping[str, Any]) -> TaskRun:
    state = one.get("state") or {}
    inputs = [given for all in (one.get("task_inputs") or {}).values() for given in all]
    return TaskRun(
        id=one["id"],
        run=one["flow_run_id"] or "",
        name=_task_name(one),
        state=_state(one["state_type"]),
        state_name=one["state_name"] or "",
        message=state.get("message") or "",
        started=_moment(one.get("start_time")),
        ended=_moment(one.get("end_time")),
        attempts=one.get("run_count") or 0,
        after=tuple(dict.fromkeys(i["id"] for i in inputs if i.get("input_type") == "task_run")),
        child=(state.get("state_details") or {}).get("child_flow_run_id"),
    )


def _task_name(one: Mapping[str, Any]) -> str:
    """Without the number, or the first digits of the key, that Prefect writes behind each name."""
    name, key = str(one["name"] or ""), str(one.get("dynamic_key") or "")
    for ending in (f"-{key}", f"-{key[:3]}"):
        if key and name.endswith(ending):
            return name.removesuffix(ending)
    return name


def _line(one: Mapping[str, Any]) -> LogLine:
    at = _moment(one["timestamp"])
    assert at is not None  # noqa: S101
    level = one["level"]
    return LogLine(
        at=at,
        level=_LEVELS.get(level, str(level)),
        logger=one["name"] or "",
        message=one["message"] or "",
        task=one.get("task_run_id"),
    )


def _artifact(one: Mapping[str, Any]) -> Artifact:
    return Artifact(
        run=one["flow_run_id"] or "",
        key=one["key"] or "",
        type=one["type"] or "",
        description=one["description"] or "",
        data=one["data"],
    )


def _state(kind: str | None) -> FlowState:
    try:
        return FlowState((kind or "PENDING").lower())
    except ValueError:
        return FlowState.PENDING


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
