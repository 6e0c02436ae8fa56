"""Endpoints as they are shown, without a controller: in the middle of a rollout unless told otherwise."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

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
from model_deployment.core.errors import NotDeployed
from model_deployment.core.rollout_counts import ArmCounts, StageCounts
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import CandidateFinding, GuardReading, Judgement, Outcome
from model_deployment.endpoints.reader import EndpointReader
from model_deployment.endpoints.views import EndpointView, ServedVersion, VersionRole

NAME = EndpointName("diabetes", "champion")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def endpoint(name: EndpointName = NAME, **changes: Any) -> Endpoint:
    given: dict[str, Any] = {
        "champion": 1,
        "champion_since": ago(90),
        "alias_version": 2,
        "default_at": ago(90),
    }
    return Endpoint(1, name, RolloutPolicy(), ago(100), **{**given, **changes})


def rollout(**changes: Any) -> Rollout:
    counts = StageCounts(ArmCounts(requests=36), ArmCounts(requests=12))
    given: dict[str, Any] = {
        "id": 1,
        "endpoint_id": 1,
        "candidate": 2,
        "champion": 1,
        "kind": RolloutKind.FORWARD,
        "state": RolloutState.CANARY,
        "step": 1,
        "order": Order.ADVANCE,
        "reason": "38 requests to version 2 are missing",
        "evidence": {"counts": {"proxy": {"canary-1": counts.as_dict()}}},
        "started_at": ago(12),
        "since": ago(3),
    }
    return Rollout(**{**given, **changes})


JUDGEMENT = Judgement(
    Outcome.INCONCLUSIVE,
    "errors and latency are no worse; no labels",
    (
        GuardReading("errors", Outcome.PASSED, "as many errors", 0.01, 0.0, 0.4, 200.0),
        GuardReading("latency", Outcome.PASSED, "9 % slower at p95", 3.1, 3.4, 50.0, 200.0),
        GuardReading("quality", Outcome.INCONCLUSIVE, "300 labels are missing"),
    ),
)


def view(**changes: Any) -> EndpointView:
    given: dict[str, Any] = {
        "endpoint": endpoint(),
        "default": True,
        "rollout": rollout(),
        "versions": (
            ServedVersion(1, VersionRole.CHAMPION, 0.75, State.READY),
            ServedVersion(2, VersionRole.CANDIDATE, 0.25, State.READY),
        ),
        "judgement": JUDGEMENT,
        "check": CandidateFinding(Outcome.PASSED, "it accepts the newest 200 captured requests"),
        "replay": CandidateFinding(
            Outcome.PASSED, "500 captured requests: predictions differ by 2 %"
        ),
    }
    return EndpointView(**{**given, **changes})


def steady(name: EndpointName = NAME, **changes: Any) -> EndpointView:
    """Nothing is on its way."""
    given: dict[str, Any] = {
        "endpoint": endpoint(name, alias_version=1),
        "default": False,
        "rollout": None,
        "versions": (ServedVersion(1, VersionRole.CHAMPION, 1.0, State.READY),),
        "judgement": None,
        "check": None,
        "replay": None,
    }
    return view(**{**given, **changes})


def passed(*states: RolloutState, rollout_id: int = 1) -> list[RolloutEvent]:
    """The events of a rollout that entered states one after the other; newest first."""
    found: list[RolloutEvent] = []
    previous: RolloutState | None = None
    for minute, state in enumerate(states):
        at = ago(12 - minute)
        found.insert(0, RolloutEvent(at, rollout_id, 2, state, f"it is {state}", previous))
        previous = state
    return found


CANARY_EVENTS = passed(
    RolloutState.DEPLOYING,
    RolloutState.CHECKING,
    RolloutState.REPLAYING,
    RolloutState.CANARY,
    RolloutState.CANARY,
)


class MemoryEndpoints(EndpointReader):
    """Endpoints that only stand there; whoever steers one, changes the order of its rollout."""

    def __init__(
        self, *views: EndpointView, happened: Sequence[RolloutEvent] = CANARY_EVENTS
    ) -> None:
        self.views = {view.endpoint.name: view for view in views}
        self.happened = happened

    async def all(self) -> list[EndpointView]:
        return [self.views[name] for name in sorted(self.views)]

    async def get(self, name: EndpointName) -> EndpointView:
        if name not in self.views:
            raise NotDeployed(f"cannot find the endpoint {name}: there is none of this name")
        return self.views[name]

    async def history(self, name: EndpointName, limit: int) -> list[Rollout]:
        newest = (await self.get(name)).rollout
        return [newest] if newest else []

    async def events(self, name: EndpointName, limit: int) -> list[RolloutEvent]:
        await self.get(name)
        return list(self.happened)

    def order(self, name: EndpointName, order: Order) -> EndpointView:
        before = self.views[name]
        assert before.rollout is not None
        self.views[name] = replace(before, rollout=replace(before.rollout, order=order))
        return self.views[name]
