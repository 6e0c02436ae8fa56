"""The row of steps: where a rollout is, what is behind it and what is ahead."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.endpoints import (
    ACTIVE,
    Rollout,
    RolloutEvent,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.rollout_policy import Canary, Checks, RolloutPolicy, ShadowPolicy
from model_deployment.dashboard.rollout_steps import Place, steps
from tests.support.endpoint_views import CANARY_EVENTS, NOW, ago, passed, rollout

_ = RolloutState


def row(one: Rollout, events: list[RolloutEvent], policy: RolloutPolicy | None = None) -> list[str]:
    return [
        f"{step.label}: {step.place}" for step in steps(policy or RolloutPolicy(), one, events, NOW)
    ]


def test_rollout_is_in_one_step_and_says_what_is_missing() -> None:
    found = steps(RolloutPolicy(), rollout(), CANARY_EVENTS, NOW)
    assert [(step.label, step.place, step.detail) for step in found] == [
        ("Deploy", Place.DONE, "1 min"),
        ("Check", Place.DONE, "1 min"),
        ("Replay", Place.DONE, "1 min"),
        ("Canary 5 %", Place.DONE, "1 min"),
        ("Canary 25 %", Place.HERE, "3 min of at least 5 min; 12 of at least 50 requests"),
        ("Canary 50 %", Place.AHEAD, ""),
        ("Promoted", Place.AHEAD, ""),
    ]


def test_rollout_that_was_rolled_back_shows_where() -> None:
    # Its row keeps neither the state nor the canary step.
    ended = rollout(state=_.ROLLED_BACK, step=0, ended_at=ago(0))
    path = (_.DEPLOYING, _.CHECKING, _.REPLAYING, _.CANARY, _.CANARY, _.ROLLED_BACK)
    assert row(ended, passed(*path))[3:] == [
        "Canary 5 %: done",
        "Canary 25 %: stopped here",
        "Canary 50 %: not reached",
        "Promoted: not reached",
    ]
    restored = passed(_.DEPLOYING, _.PROMOTED, _.ROLLED_BACK)
    assert row(ended, restored)[-1] == "Promoted: stopped here"


def test_steps_that_a_promotion_by_hand_left_out_are_skipped() -> None:
    ended = rollout(state=_.PROMOTED, step=0, ended_at=ago(0))
    found = row(ended, passed(_.DEPLOYING, _.CHECKING, _.PROMOTED))
    assert found[1:4] == ["Check: done", "Replay: skipped", "Canary 5 %: skipped"]
    assert found[-1] == "Promoted: done"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"champion": None}, ["Deploy", "Check", "Promoted"]),
        ({"kind": RolloutKind.BACK}, ["Deploy", "Promoted"]),
    ],
)
def test_row_has_the_steps_that_the_rollout_has(changes: Any, expected: list[str]) -> None:
    one = rollout(state=_.DEPLOYING, step=0, **changes)
    assert [step.label for step in steps(RolloutPolicy(), one, [], NOW)] == expected


policies = st.builds(
    RolloutPolicy,
    checks=st.builds(
        Checks,
        example=st.booleans(),
        signature=st.booleans(),
        replay=st.sampled_from([0, 500]),
        shadow=st.sampled_from([None, ShadowPolicy()]),
    ),
    canary=st.builds(Canary, steps=st.sampled_from([(), (5.0,), (5.0, 25.0, 50.0)])),
)


@given(
    policies, st.sampled_from(sorted(ACTIVE)), st.integers(0, 4), st.sampled_from([None, 1]),
    st.sampled_from(RolloutKind), st.booleans(),
)  # fmt: skip
def test_rollout_under_way_is_in_exactly_one_step(
    policy: RolloutPolicy,
    state: RolloutState,
    step: int,
    champion: int | None,
    kind: RolloutKind,
    known: bool,
) -> None:
    """Also where the policy has changed meanwhile, and the events are gone."""
    one = rollout(state=state, step=step, champion=champion, kind=kind)
    places = [step.place for step in steps(policy, one, CANARY_EVENTS if known else [], NOW)]
    at = places.index(Place.HERE)
    assert {*places[:at]} <= {Place.DONE, Place.SKIPPED}
    assert {*places[at + 1 :]} == {Place.AHEAD}
