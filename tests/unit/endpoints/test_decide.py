"""What is decided about endpoints and rollouts, by tables and by made-up rows."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import (
    ACTIVE,
    Endpoint,
    Order,
    Rollout,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.core.rollouts import check, following, plan
from model_deployment.endpoints.decide import (
    AliasAt,
    Arrived,
    Begin,
    Deploy,
    Do,
    Enter,
    Follow,
    GoBack,
    NoAlias,
    Notice,
    Recreate,
    Refusal,
    RolloutSeen,
    Unmoved,
    Wait,
    Work,
    decide,
    follow,
)
from model_deployment.endpoints.findings import CandidateFinding, Judgement, Outcome
from tests.support.rollout_rows import NOW, endpoint, policies, rollout, rollouts
from tests.support.rows import row as deployment

S = RolloutState
PASSED, FAILED = (
    CandidateFinding(Outcome.PASSED, "passed"),
    CandidateFinding(Outcome.FAILED, "it is worse"),
)
UNSURE = CandidateFinding(Outcome.INCONCLUSIVE, "nothing was captured")
GOOD = Judgement(Outcome.PASSED, "no difference")


def candidate(state: State = State.READY, **changes: Any) -> Deployment:
    return deployment(state, key=ModelKey("m", 2), **changes)


def seen(**changes: Any) -> RolloutSeen:
    return replace(RolloutSeen(NOW, candidate(), deployed=True), **changes)


# The alias.


@pytest.mark.parametrize(
    ("row", "newest", "alias", "expected"),
    [
        (endpoint(), None, AliasAt(2), Unmoved()),
        (endpoint(), rollout(S.CANARY), AliasAt(2), Unmoved()),
        (endpoint(alias_version=None, champion=None), None, AliasAt(2), (Begin, 2, "forward")),
        (endpoint(alias_version=1), None, AliasAt(2), (Begin, 2, "forward")),
        # On and on: always against what serves.
        (endpoint(), rollout(S.CANARY), AliasAt(3), (Begin, 3, "forward")),
        (endpoint(), rollout(S.CANARY), AliasAt(1), (GoBack, 1, None)),
        # After it was rolled back, the alias comes to what serves.
        (endpoint(), rollout(S.ROLLED_BACK), AliasAt(1), Arrived(1)),
        (endpoint(champion=2, previous=1), rollout(S.PROMOTED), AliasAt(1), (Begin, 1, "back")),
        (
            endpoint(champion=2, previous=1, alias_version=3),
            rollout(S.CANARY, candidate=3),
            AliasAt(1),
            (Begin, 1, "back"),
        ),
        # An operator has gone back first, and the alias follows.
        (
            endpoint(champion=2, previous=1),
            rollout(S.DEPLOYING, candidate=1, champion=2, kind=RolloutKind.BACK),
            AliasAt(1),
            Arrived(1),
        ),
        (endpoint(), None, NoAlias("gone"), Notice("gone")),
        (endpoint(notice="gone"), rollout(S.CANARY), NoAlias("gone"), Unmoved()),
        (endpoint(notice="gone"), None, AliasAt(2), Notice("")),
    ],
)
def test_an_alias_is_followed(
    row: Endpoint, newest: Rollout | None, alias: AliasAt | NoAlias, expected: Any
) -> None:
    found = follow(row, newest, alias)
    if isinstance(expected, Follow):
        assert found == expected
    else:
        kind = getattr(found, "kind", None)
        assert (type(found), getattr(found, "version", None), kind) == expected


# The candidate's deployment.


@pytest.mark.parametrize(
    ("row", "deployed", "expected"),
    [
        (None, False, Deploy),
        (candidate(State.FAILED), False, Deploy),  # it failed before anybody asked for it here
        (candidate(State.PARKED), True, Deploy),
        (candidate(State.READY, desired=Desired.STOPPED), True, Deploy),
        (candidate(State.STOPPED, desired=Desired.STOPPED), True, Deploy),
        (candidate(State.PENDING), True, Wait),
        (candidate(State.STARTING, proven=True), True, Wait),
        (candidate(State.FAILED, reason="no module"), True, Enter(S.ROLLED_BACK, 0, "")),
        (candidate(), True, Enter(S.CHECKING, 0, "")),
    ],
)
def test_the_candidate_is_deployed_first(
    row: Deployment | None, deployed: bool, expected: Any
) -> None:
    action = decide(endpoint(), rollout(), seen(candidate=row, deployed=deployed))
    if isinstance(expected, Enter):
        assert isinstance(action, Enter)
        assert action.state is expected.state
    else:
        assert isinstance(action, expected)


@pytest.mark.parametrize("order", [Order.ADVANCE, Order.PAUSE, Order.PROMOTE])
@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_what_speaks_against_a_candidate_rolls_it_back_in_every_state(
    state: RolloutState, order: Order
) -> None:
    for bad in (
        seen(candidate=candidate(State.FAILED, reason="it crashed")),
        seen(refusal=Refusal("there is no such version", permanent=True), candidate=None),
        seen(restarts=3),
        seen(leak="it has grown"),
        seen(check=FAILED),
        seen(replay=FAILED),
        seen(judgement=Judgement(Outcome.FAILED, "more errors")),
    ):
        action = decide(endpoint(), rollout(state, order=order), bad)
        assert isinstance(action, Enter)
        assert action.state is S.ROLLED_BACK
        assert action.reason


NO_ROOM = Refusal("memory has no room", memory=True)
RECREATE = RolloutPolicy(recreate=True)


@pytest.mark.parametrize(
    ("row", "what", "more", "expected"),
    [
        (endpoint(), rollout(), {}, Wait),
        (endpoint(policy=RECREATE), rollout(), {}, Recreate),
        (endpoint(policy=RECREATE), rollout(order=Order.PAUSE), {}, Wait),
        (endpoint(policy=RECREATE), rollout(), {"champion_stays": "others use it"}, Wait),
        (endpoint(policy=RECREATE, champion=None), rollout(champion=None), {}, Wait),
        (endpoint(), rollout(), {"refusal": Refusal("the registry is away")}, Wait),
        (endpoint(), rollout(), {"refusal": None, "working": Work.DEPLOY}, Wait),
    ],
)
def test_the_champion_makes_room_only_where_the_policy_says_so(
    row: Endpoint, what: Rollout, more: dict[str, Any], expected: type
) -> None:
    here = replace(seen(candidate=None, deployed=False, refusal=NO_ROOM), **more)
    action = decide(row, what, here)
    assert isinstance(action, expected)
    if isinstance(action, Wait) and here.refusal is not None and what.order is Order.ADVANCE:
        assert here.refusal.reason in action.reason


# The steps.


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        (S.CHECKING, {}, Do(Work.CHECK, "")),
        (S.CHECKING, {"working": Work.CHECK}, Wait("")),
        (S.CHECKING, {"check": UNSURE}, Wait("")),
        (S.CHECKING, {"check": UNSURE, "retry": True}, Do(Work.CHECK, "")),
        (S.CHECKING, {"check": PASSED}, Enter(S.REPLAYING, 0, "")),
        (S.REPLAYING, {"check": PASSED}, Do(Work.REPLAY, "")),
        (S.REPLAYING, {"replay": UNSURE, "working": Work.REPLAY}, Wait("")),
        (S.REPLAYING, {"replay": PASSED}, Enter(S.CANARY, 0, "")),
        (S.SHADOWING, {}, Enter(S.CANARY, 0, "")),  # the policy has no shadow any more
        (S.CANARY, {"requests": 49, "judgement": GOOD}, Wait("")),
        (S.CANARY, {"requests": 50, "judgement": None}, Wait("")),
        (S.CANARY, {"requests": 50, "judgement": Judgement(Outcome.INCONCLUSIVE, "")}, Wait("")),
        (S.CANARY, {"requests": 50, "judgement": GOOD, "now": NOW}, Wait("")),
        (S.CANARY, {"requests": 50, "judgement": GOOD}, Enter(S.CANARY, 1, "")),
    ],
)
def test_a_step_ends_when_it_has_passed(
    state: RolloutState, more: dict[str, Any], expected: Any
) -> None:
    here = replace(seen(now=NOW + timedelta(minutes=5)), **more)
    action = decide(endpoint(), rollout(state), here)
    assert type(action) is type(expected)
    if isinstance(expected, Enter):
        assert isinstance(action, Enter)
        assert (action.state, action.step) == (expected.state, expected.step)
    assert isinstance(action, Deploy) or action.reason


def test_the_last_canary_step_leads_to_promotion() -> None:
    here = seen(now=NOW + timedelta(minutes=5), requests=50, judgement=GOOD)
    assert decide(endpoint(), rollout(S.CANARY, step=2), here) == Enter(
        S.PROMOTED, 0, "no difference"
    )


# Made-up rows.

findings = st.none() | st.sampled_from([PASSED, FAILED, UNSURE])
sights = st.builds(
    RolloutSeen,
    now=st.sampled_from([NOW - timedelta(days=1), NOW, NOW + timedelta(days=1)]),
    candidate=st.none()
    | st.builds(
        candidate,
        state=st.sampled_from(State),
        desired=st.sampled_from(Desired),
        proven=st.booleans(),
    ),
    deployed=st.booleans(),
    refusal=st.none() | st.builds(Refusal, st.just("no"), st.booleans(), st.booleans()),
    working=st.none() | st.sampled_from(Work),
    check=findings,
    replay=findings,
    retry=st.booleans(),
    judgement=st.none() | st.sampled_from(Outcome).map(lambda one: Judgement(one, "so it is")),
    requests=st.integers(0, 1000),
    restarts=st.integers(0, 4),
)


@given(policies, rollouts, sights)
def test_nothing_goes_on_without_what_its_step_asks_for(
    policy: RolloutPolicy, row: Rollout, here: RolloutSeen
) -> None:
    action = decide(endpoint(policy=policy, champion=row.champion), row, here)
    if not isinstance(action, Deploy):
        assert action.reason
    if not isinstance(action, Enter):
        return
    assert check(row.state, action.state)
    assert here.judgement is None or (
        here.judgement.outcome is not Outcome.FAILED or action.state is S.ROLLED_BACK
    )
    if action.state is S.ROLLED_BACK:
        return
    assert here.candidate is not None
    assert (here.candidate.state, here.candidate.desired) == (State.READY, Desired.RUNNING)
    assert row.order is not Order.PAUSE
    if row.order is Order.PROMOTE:
        assert action.state is S.PROMOTED
        return
    assert (action.state, action.step) == following(policy, row)
    if row.state not in plan(policy, row):
        return
    match row.state:
        case S.CHECKING:
            assert here.check == PASSED
        case S.REPLAYING:
            assert here.replay == PASSED
        case S.SHADOWING | S.CANARY:
            assert here.judgement is not None
            assert here.judgement.outcome is Outcome.PASSED
            assert here.requests >= 50
            assert here.now > NOW
