"""Endpoints, rollouts and policies, as rows of the state database have them, also made-up ones."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from model_deployment.core.endpoints import (
    ACTIVE,
    Endpoint,
    EndpointName,
    Order,
    Rollout,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.rollout_policy import Canary, Checks, RolloutPolicy, ShadowPolicy

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def endpoint(**changes: Any) -> Endpoint:
    row = Endpoint(1, EndpointName("m", "live"), RolloutPolicy(), NOW, champion=1, alias_version=2)
    return replace(row, **changes)


def rollout(state: RolloutState = RolloutState.DEPLOYING, **changes: Any) -> Rollout:
    row = Rollout(
        id=1, endpoint_id=1, candidate=2, champion=1, kind=RolloutKind.FORWARD, state=state, step=0,
        order=Order.ADVANCE, reason="", evidence={}, started_at=NOW, since=NOW,
        ended_at=None if state in ACTIVE else NOW,
    )  # fmt: skip
    return replace(row, **changes)


policies = st.builds(
    RolloutPolicy,
    checks=st.builds(
        Checks,
        example=st.booleans(),
        signature=st.booleans(),
        replay=st.sampled_from([0, 500]),
        shadow=st.none() | st.just(ShadowPolicy()),
    ),
    canary=st.builds(Canary, steps=st.sampled_from([(), (5.0,), (5.0, 50.0)])),
    recreate=st.booleans(),
)
rollouts = st.builds(
    rollout,
    state=st.sampled_from(sorted(ACTIVE)),
    step=st.integers(0, 2),
    order=st.sampled_from(Order),
    kind=st.sampled_from(RolloutKind),
    champion=st.none() | st.just(1),
    evidence=st.sampled_from([{}, {"recreate": True}, {"recreate": True, "deployed": True}]),
)
