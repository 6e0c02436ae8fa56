"""Endpoints without a control loop: they keep what calls write, and show what a test puts there."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import Depends, FastAPI

from model_deployment.api import endpoints as calls
from model_deployment.api import problems
from model_deployment.api.audit import Audit
from model_deployment.api.endpoints import EndpointCalls
from model_deployment.api.unknown_parameters import known_parameters_only
from model_deployment.core.domain import State
from model_deployment.core.endpoints import (
    Endpoint,
    EndpointName,
    Order,
    Rollout,
    RolloutEvent,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.errors import Conflict, NotDeployed, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import CandidateFinding, GuardReading, Judgement, Outcome
from model_deployment.endpoints.service import Endpoints
from model_deployment.endpoints.views import EndpointView, ServedVersion, VersionRole

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAME = EndpointName("diabetes", "champion")
ROLLOUT = Rollout(
    id=7, endpoint_id=1, candidate=2, champion=1, kind=RolloutKind.FORWARD, state=RolloutState.CANARY,
    step=0, order=Order.ADVANCE, reason="12 of 50 requests answered at 5 %", evidence={},
    started_at=NOW, since=NOW,
)  # fmt: skip


def _arm(requests: int, failed: int) -> dict[str, Any]:
    return {"requests": requests, "failed": failed, "error_rate": failed / requests, "p50_ms": 2.5,
            "p95_ms": None}  # fmt: skip


#: As :mod:`model_deployment.endpoints.comparison.comparison` makes it, as far as it is read.
COMPARED: dict[str, Any] = {
    "verdict": "rolled_back", "reason": "it fails more requests", "endpoint": str(NAME), "rollout": 7,
    "champion": 1, "candidate": 2, "note": "", "state": "rolled_back",
    "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T13:00:00Z", "canary_steps": [],
    "check": {"outcome": "passed", "reason": "the example is predicted", "figures": {}},
    "replay": {
        "outcome": "passed", "reason": "the answers agree",
        "predictions": {"rows": 500, "difference": 1.25, "spread": 70.5},
        "quality": {"metric": "rmse", "champion": 53.4, "champion_rows": 300, "candidate": 52.1,
                    "candidate_rows": 300},
    },
    "shadow": None,
    "canary": {"champion": _arm(1000, 1), "candidate": _arm(50, 5), "predictions": None, "quality": None},
}  # fmt: skip


def view_of(name: EndpointName = NAME, **endpoint: Any) -> EndpointView:
    """An endpoint whose version 1 serves, with version 2 at the first step of its canary."""
    reading = GuardReading("errors", Outcome.INCONCLUSIVE, "0 of 12 and 1 of 240 requests failed",
                           1 / 240, 0.0, 0.3, 100.0)  # fmt: skip
    members: dict[str, Any] = {"champion": 1, "champion_since": NOW, "alias_version": 2} | endpoint
    return EndpointView(
        endpoint=Endpoint(1, name, members.pop("policy", RolloutPolicy()), NOW, **members),
        default=False,
        rollout=ROLLOUT,
        versions=(
            ServedVersion(1, VersionRole.CHAMPION, 0.95, State.READY, "healthy"),
            ServedVersion(2, VersionRole.CANDIDATE, 0.05, State.READY, "healthy"),
        ),
        judgement=Judgement(Outcome.INCONCLUSIVE, "38 more requests are needed", (reading,)),
        check=CandidateFinding(Outcome.PASSED, "the example is predicted", {"rows": 1}),
    )


class MemoryEndpoints(Endpoints):
    """The registry has the model ``diabetes`` only."""

    def __init__(self, *views: EndpointView) -> None:
        self.views = {view.endpoint.name: view for view in views}
        #: ``(order, endpoint, user)`` of each call that steers a rollout.
        self.orders: list[tuple[str, EndpointName, str]] = []
        self.waits: list[float] = []
        #: Who made, changed and deleted endpoints.
        self.users: list[str] = []

    async def put(
        self, name: EndpointName, policy: Mapping[str, Any], by: str = ""
    ) -> tuple[EndpointView, bool]:
        new = name not in self.views
        if new and name.model != "diabetes":
            raise UnknownModel(f"cannot make {name}: the registry has no model {name.model}")
        self.users.append(by)
        found = RolloutPolicy.from_dict(policy)
        view = self.views.get(name) or view_of(name)
        self.views[name] = replace(view, endpoint=replace(view.endpoint, policy=found))
        return self.views[name], new

    async def all(self) -> list[EndpointView]:
        return [self.views[name] for name in sorted(self.views)]

    async def get(self, name: EndpointName) -> EndpointView:
        return self._kept(name)

    def _kept(self, name: EndpointName) -> EndpointView:
        if name not in self.views:
            raise NotDeployed(f"cannot find the endpoint {name}")
        return self.views[name]

    async def delete(self, name: EndpointName, wait: float, by: str = "") -> None:
        self._kept(name)
        del self.views[name]
        self.waits.append(wait)
        self.users.append(by)

    async def promote(self, name: EndpointName, by: str) -> EndpointView:
        return await self._steer("promote", name, by)

    async def pause(self, name: EndpointName, by: str) -> EndpointView:
        return await self._steer("pause", name, by)

    async def resume(self, name: EndpointName, by: str) -> EndpointView:
        return await self._steer("resume", name, by)

    async def rollback(self, name: EndpointName, by: str) -> EndpointView:
        return await self._steer("rollback", name, by)

    async def _steer(self, order: str, name: EndpointName, by: str) -> EndpointView:
        view = self._kept(name)
        if view.rollout is None:
            raise Conflict(f"cannot {order} {name}: there is no candidate")
        self.orders.append((order, name, by))
        return view

    async def set_default(self, model: str | None, alias: str, wait: float) -> EndpointView:
        self.waits.append(wait)
        view = await self.find(model, alias)
        self.views[view.endpoint.name] = replace(view, default=True)
        return self.views[view.endpoint.name]

    async def find(self, model: str | None, alias: str | None) -> EndpointView:
        if model is None or alias is None:
            default = next(
                (view.endpoint.name for view in self.views.values() if view.default), None
            )
            if default is None:
                raise NotDeployed("cannot find a default endpoint; name the model and the alias")
            model, alias = model or default.model, alias or default.alias
        return self._kept(EndpointName.of(model, alias))

    async def history(self, name: EndpointName, limit: int) -> list[Rollout]:
        rollout = self._kept(name).rollout
        return [rollout][:limit] if rollout else []

    async def events(self, name: EndpointName, limit: int) -> list[RolloutEvent]:
        self._kept(name)
        return [
            RolloutEvent(NOW, 7, 2, RolloutState.CANARY, "replay passed", RolloutState.REPLAYING)
        ]

    async def comparison(self, name: EndpointName, rollout: int | None) -> dict[str, Any]:
        if self._kept(name).rollout is None or rollout not in (None, 7):
            raise NotDeployed(f"cannot find the rollout {rollout} of {name}")
        return COMPARED

    def users_of(self, key: ModelKey) -> list[EndpointName]:
        return [
            name
            for name, view in self.views.items()
            if any(view.endpoint.key(one.version) == key for one in view.versions)
        ]


def application(endpoints: Endpoints) -> FastAPI:
    """An application that has only the calls of endpoints."""
    app = FastAPI(dependencies=[Depends(known_parameters_only)])
    problems.install(app)
    app.add_middleware(Audit)
    app.include_router(calls.router(EndpointCalls(endpoints, "<p>{verdict}".format_map)))
    return app
