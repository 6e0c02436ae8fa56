"""A launch in time: what is not wanted, parked, killed, or always dies comes to its end in a few steps."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.actions import Policy, Promote, Start, Vacate
from model_deployment.core.domain import Deployment, Desired, Exit, Rest, State
from tests.support.launch_world import LaunchWorld
from tests.support.rows import LIVE, policies, row, rows, times

POLICY = Policy()

#: A failed or parked deployment is settled elsewhere.
WITH_LAUNCH = [State.PENDING, State.STARTING, State.READY, State.STOPPING]


@given(rows(WITH_LAUNCH, [Desired.STOPPED]), times, policies, st.booleans(), st.booleans())
def test_what_is_not_wanted_is_stopped_after_a_few_steps(
    before: Deployment, now: float, policy: Policy, obeys: bool, drains: bool
) -> None:
    world = LaunchWorld(before, now, obeys=obeys, drains=drains)
    # Drain, its deadline, terminate, its deadline, kill, gone.
    states = [*world.run(policy, 9)]
    assert states[-1] is State.STOPPED
    assert not {State.READY, State.STARTING, State.PENDING} & {*states[1:]} - {before.state}


@given(rows(WITH_LAUNCH, [Desired.RUNNING]), times, policies, st.booleans(), st.booleans())
def test_what_is_parked_rests(
    before: Deployment, now: float, policy: Policy, obeys: bool, drains: bool
) -> None:
    world = LaunchWorld(replace(before, parking="idle"), now, obeys=obeys, drains=drains)
    assert [*world.run(policy, 9)][-1] is State.PARKED
    assert world.row.rest == Rest(State.PARKED, "idle")


#: Not those that stop or have failed: they may end in failed by right.
HOPEFUL = [State.PENDING, State.STARTING, State.READY]


@given(rows(HOPEFUL, [Desired.RUNNING]), times, policies)
def test_what_is_wanted_and_works_is_ready_after_a_few_steps(
    before: Deployment, now: float, policy: Policy
) -> None:
    assert [*LaunchWorld(before, now).run(policy, 6)][-1] is State.READY


@pytest.mark.parametrize("state", HOPEFUL)
def test_what_always_dies_fails_after_as_many_tries_as_it_has(state: State) -> None:
    world = LaunchWorld(row(state, proven=True), 1000.0, code=1)
    launches = 0
    for _ in range(100):
        world.alive = world.row.state not in LIVE
        action = world.decide(POLICY)
        launches += isinstance(action, Start)
        world.step(action)
    assert world.row.state is State.FAILED
    assert launches == POLICY.tries - (state is not State.PENDING)
    assert world.row.tries == POLICY.tries


@pytest.mark.parametrize("code", [None, 0, -1, -2, -9, -15, 137, 143])
def test_what_works_and_is_killed_from_outside_is_never_given_up(code: int | None) -> None:
    world = LaunchWorld(row(State.READY, proven=True), 1000.0)
    pauses = []
    for _ in range(20):
        world.alive = world.row.state not in LIVE
        action = world.decide(POLICY, exit=Exit("gone", code) if not world.alive else None)
        if isinstance(action, Vacate):
            assert (action.state, action.tries, action.keeps_port) == (State.PENDING, 0, True)
            pauses.append(max(0.0, action.not_before - world.now))
        world.step(action)
        if world.row.state is State.STARTING:
            world.alive = True
            world.step(Promote())
    assert pauses[: POLICY.free_restarts] == [0, 0, 0]
    assert all(0.5 <= pause <= 33 for pause in pauses[POLICY.free_restarts :])
    assert pauses == sorted(pauses)
