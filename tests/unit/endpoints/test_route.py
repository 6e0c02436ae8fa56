"""What proxies are told of endpoints."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from model_deployment.core.endpoints import (
    ACTIVE,
    Endpoint,
    EndpointName,
    Order,
    Rollout,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import Checks, RolloutPolicy, ShadowPolicy
from model_deployment.endpoints.route import routes
from model_deployment.endpoints.usage import needed_ready, users

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
S = RolloutState
SHADOW = RolloutPolicy(checks=Checks(shadow=ShadowPolicy(share=20.0)))
ENDPOINT = Endpoint(1, EndpointName("m", "live"), SHADOW, NOW, champion=1)
RECREATES = {"recreate": True, "deployed": True}


def rollout(state: RolloutState, **evidence: bool) -> Rollout:
    return Rollout(
        id=7, endpoint_id=1, candidate=2, champion=1, kind=RolloutKind.FORWARD, state=state, step=1,
        order=Order.ADVANCE, reason="so", evidence=evidence, started_at=NOW, since=NOW,
        ended_at=None if state in ACTIVE else NOW,
    )  # fmt: skip


@pytest.mark.parametrize("state", RolloutState)
def test_only_shadow_and_canary_split(state: RolloutState) -> None:
    (route,) = routes([(ENDPOINT, rollout(state))])
    assert route.champion == ModelKey("m", 1)
    split = {S.SHADOWING: (0.0, 0.2, "shadow"), S.CANARY: (0.25, 0.0, "canary-1")}
    share, shadow, stage = split.get(state, (0.0, 0.0, ""))
    assert (route.share, route.shadow, route.stage) == (share, shadow, stage)
    assert (route.candidate, route.rollout) == (
        (ModelKey("m", 2), 7) if state in split else (None, 0)
    )


def test_a_share_is_the_last_one_where_the_policy_has_fewer_steps_now() -> None:
    policy = RolloutPolicy.from_dict({"canary": {"steps": [10]}})
    (route,) = routes([(replace(ENDPOINT, policy=policy), rollout(S.CANARY))])
    assert route.share == 0.1


@pytest.mark.parametrize(
    ("state", "evidence", "champion", "waits"),
    [
        (S.DEPLOYING, {"recreate": True}, 1, False),  # the candidate is not deployed yet
        (S.DEPLOYING, RECREATES, 2, True),
        (S.CHECKING, RECREATES, 2, True),
        (S.ROLLED_BACK, RECREATES, 1, True),  # it made room in vain
        (S.SUPERSEDED, {}, 1, False),
    ],
)
def test_callers_wait_for_what_takes_a_place(
    state: RolloutState, evidence: dict[str, bool], champion: int, waits: bool
) -> None:
    (route,) = routes([(ENDPOINT, rollout(state, **evidence))])
    assert (route.champion, route.waits) == (ModelKey("m", champion), waits)
    assert route.share == 0


def test_without_a_champion_the_route_says_why() -> None:
    new = replace(ENDPOINT, champion=None)
    (first,), (second,) = routes([(new, None)]), routes([(new, rollout(S.CHECKING))])
    assert (first.champion, second.champion) == (None, None)
    assert "not looked at" in first.reason
    assert "version 2 is checking: so" in second.reason


def test_the_default_endpoint_is_the_one_that_was_made_it_last_else_the_oldest() -> None:
    other = replace(ENDPOINT, id=2, name=EndpointName("m", "next"))
    third = replace(ENDPOINT, id=3, name=EndpointName("n", "live"))
    pairs = [(ENDPOINT, None), (other, None), (third, None)]
    assert [route.default for route in routes(pairs)] == [True, False, True]
    later = [
        (replace(ENDPOINT, default_at=NOW), None),
        (replace(other, default_at=NOW + timedelta(seconds=1)), None),
    ]
    assert [route.default for route in routes(later)] == [False, True]


def test_what_is_being_deleted_is_neither_routed_nor_used() -> None:
    pairs = [(replace(ENDPOINT, deleting=True), rollout(S.CANARY))]
    assert (routes(pairs), users(pairs), needed_ready(pairs)) == ([], {}, set())


def test_used_are_champion_candidate_and_the_previous_one_for_a_while() -> None:
    row = replace(ENDPOINT, champion=2, previous=1, previous_until=NOW)
    later = replace(row, previous_until=None)
    under_way = replace(rollout(S.CANARY), candidate=3, champion=2)
    key = row.key
    assert users([(row, None)]).keys() == {key(1), key(2)}
    assert users([(later, under_way)]).keys() == {key(2), key(3)}
    assert (
        needed_ready([(later, None)]) == set()
    )  # a champion may be parked while nothing is on its way
    assert needed_ready([(row, under_way)]) == {key(1), key(2), key(3)}
