"""How many launches a deployment has, and what people see of them."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from model_deployment.core.actions import (
    AddReplica,
    DeploymentAction,
    DeploymentObservation,
    EndReplacement,
    FailReplacement,
    HandOver,
    Nothing,
    Park,
    Policy,
    RefuseWake,
    Retire,
    Settle,
    Wake,
)
from model_deployment.core.deployment_lifecycle import (
    TRANSITIONS,
    check,
    decide_deployment,
    diagram,
)
from model_deployment.core.domain import Deployment, Desired, Launch, LaunchRole, LaunchState, State
from model_deployment.core.replacement import ReplacementState
from tests.support.rows import (
    deployment_observations,
    launch,
    policies,
    replacement,
    replicated_rows,
    row,
    times,
)

NOW = 1000.0
POLICY = Policy()
PENDING, STARTING = LaunchState.PENDING, LaunchState.STARTING
READY, STOPPING = LaunchState.READY, LaunchState.STOPPING


def decided(deployment: Deployment, **seen: Any) -> DeploymentAction:
    return decide_deployment(deployment, DeploymentObservation(**seen), NOW, POLICY)


def replicas(wanted: int, *states: LaunchState, **changes: Any) -> Deployment:
    """A deployment with replicas in these states."""
    launches = tuple(launch(state, replica=number) for number, state in enumerate(states))
    return row(State.READY, launches=launches, replicas=wanted, **changes)


@pytest.mark.parametrize("desired", Desired)
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.PARKED])
def test_a_deployment_at_rest_moves_only_when_it_is_undeployed(
    desired: Desired, closing: bool, state: State
) -> None:
    action = decided(row(state, desired), closing=closing, park_requested="parked", evict=True)
    settles = desired is Desired.STOPPED and state is not State.STOPPED
    assert action == (Settle(State.STOPPED, "undeployed") if settles else Nothing())


@pytest.mark.parametrize(
    ("wanted", "states", "action"),
    [
        (1, [READY], Nothing()),
        (2, [READY], AddReplica("2 replicas are wanted")),
        (3, [STARTING, READY], AddReplica("3 replicas are wanted")),
        (3, [READY, PENDING, STOPPING], Nothing()),
        # A model that cannot be loaded fails once, and not as often as it has replicas.
        (2, [PENDING], Nothing()),
        (2, [STARTING], Nothing()),
        (2, [STOPPING], Nothing()),
    ],
)
def test_replicas_are_added_once_one_of_them_is_ready(
    wanted: int, states: list[LaunchState], action: DeploymentAction
) -> None:
    assert decided(replicas(wanted, *states)) == action


@pytest.mark.parametrize("seen", [{"memory_shortage": "full"}, {"closing": True}])
def test_no_replica_is_added_where_there_is_no_room_or_no_time(seen: dict[str, Any]) -> None:
    assert decided(replicas(2, READY), **seen) == Nothing()


@pytest.mark.parametrize(
    ("states", "number"),
    [
        ([READY, READY], 1),
        ([READY, STARTING], 1),
        ([STARTING, READY], 0),
        ([PENDING, STARTING], 0),
        ([PENDING, STARTING, READY, READY], 0),
        ([READY, STOPPING, STARTING], 1),
        ([READY, PENDING, PENDING], 2),
    ],
)
def test_of_too_many_replicas_the_one_that_serves_least_retires(
    states: list[LaunchState], number: int
) -> None:
    deployment = replicas(len(states) - 1, *states)
    assert decided(deployment) == Retire(
        deployment.launches[number],
        "1 replica is wanted" if len(states) == 2 else f"{len(states) - 1} replicas are wanted",
    )
    assert decided(deployment, closing=True) == Nothing()
    assert decided(row(State.READY, Desired.STOPPED, launches=deployment.launches)) == Nothing()


def test_a_replica_at_whose_port_requests_may_wait_is_spared() -> None:
    waiting = launch(PENDING, replica=2, port=8003, session="first")
    others = (launch(READY), launch(STARTING, replica=1))
    deployment = row(State.READY, launches=(*others, waiting), replicas=2)
    assert decided(deployment) == Retire(others[1], "2 replicas are wanted")


def rolling(wanted: int, *launches: tuple[LaunchState, int]) -> Deployment:
    """A deployment of generation 2 with replicas in these states and generations."""
    return row(
        State.READY,
        launches=tuple(
            launch(state, replica=number, generation=generation)
            for number, (state, generation) in enumerate(launches)
        ),
        replicas=wanted,
        generation=2,
        replacement=replacement(ReplacementState.ROLLING),
    )


ADD = "change of workers"
REPLACED = "replaced: change of workers"


@pytest.mark.parametrize(
    ("wanted", "launches", "action"),
    [
        (2, [(READY, 2), (READY, 1)], AddReplica(ADD)),
        (2, [(READY, 2), (READY, 1), (PENDING, 2)], Nothing()),
        (2, [(READY, 2), (READY, 1), (STARTING, 2)], Nothing()),
        (2, [(READY, 2), (READY, 1), (STOPPING, 2)], Nothing()),
        (2, [(READY, 2), (READY, 1), (READY, 2)], 1),
        (3, [(READY, 1), (READY, 1), (READY, 2), (READY, 2)], 1),
        # Those of before that do not serve go first.
        (3, [(READY, 1), (STARTING, 1), (READY, 2), (READY, 2)], 1),
        # A replica that ended meanwhile has the new options, and is waited for.
        (2, [(PENDING, 2), (READY, 1)], Nothing()),
        # One replica is missing, and one was not replaced yet.
        (3, [(READY, 2), (READY, 1)], AddReplica("3 replicas are wanted")),
        # Fewer are wanted meanwhile.
        (1, [(READY, 2), (READY, 1)], 1),
        (1, [(READY, 2), (READY, 1), (STARTING, 2)], 1),
        (1, [(READY, 1), (READY, 1)], 1),
        (1, [(READY, 1), (STARTING, 2), (PENDING, 2)], 2),
    ],
)
def test_replicas_are_replaced_one_after_another(
    wanted: int, launches: list[tuple[LaunchState, int]], action: DeploymentAction | int
) -> None:
    deployment = rolling(wanted, *launches)
    found = decided(deployment)
    if isinstance(action, int):
        assert isinstance(found, Retire)
        assert found.launch == deployment.launches[action]
    else:
        assert found == action


def test_the_next_replica_waits_for_the_room_of_the_one_that_retires() -> None:
    deployment = rolling(2, (READY, 2), (READY, 1))
    ending = launch(STOPPING, LaunchRole.RETIRING, id=9, generation=1)
    both = replace(deployment, launches=(*deployment.launches, ending))
    assert decided(both) == Nothing()


def test_why_a_replica_retires_is_said() -> None:
    found = decided(rolling(1, (READY, 2), (READY, 1)))
    assert isinstance(found, Retire)
    assert found.reason == REPLACED


@given(replicated_rows(), deployment_observations, times, policies)
def test_every_action_fits_the_state(
    before: Deployment, seen: DeploymentObservation, now: float, policy: Policy
) -> None:
    action = decide_deployment(before, seen, now, policy)
    it = before.replacement
    match action:
        case Settle(state):
            assert (before.desired, state) == (Desired.STOPPED, State.STOPPED)
            assert before.state in (State.PARKED, State.FAILED)
        case Wake() | RefuseWake():
            assert before.state is State.PARKED
            assert seen.wake_requested
            assert not seen.closing
        case Park():
            assert before.ready
            assert not (it and it.under_way)
            assert not before.parking
        case AddReplica():
            assert before.ready
            assert before.desired is Desired.RUNNING
            assert len(before.serving) <= before.replicas
        case Retire(one):
            assert one in before.serving
            assert len(before.serving) > (1 if it and it.waits_for_stop else before.replicas)
            serves = one.state is READY
            assert len(before.ready) - serves >= min(len(before.ready), before.replicas)
        case HandOver():
            assert it
            assert it.waits_for_stop
            assert not any(each.is_live for each in before.launches)
        case EndReplacement():
            assert it
        case FailReplacement(reason):
            assert it
            assert it.under_way
            assert reason
        case Nothing():
            pass
    if seen.closing:
        assert not isinstance(action, Wake | Park | AddReplica)
    if before.desired is Desired.STOPPED:
        assert isinstance(action, Nothing | Settle | EndReplacement)


@given(replicated_rows(), deployment_observations, times, policies)
def test_nothing_is_parked_that_is_used_or_may_not_be(
    before: Deployment, seen: DeploymentObservation, now: float, policy: Policy
) -> None:
    match decide_deployment(before, seen, now, policy):
        case Park() if not seen.park_requested:
            assert before.options.idle_timeout > 0
            for one in before.launches:
                traffic = seen.traffic.get(one.launch_id or "")
                assert not traffic or not (traffic.in_flight or traffic.reading)
            idle = [seen.traffic[one.launch_id].idle for one in before.ready if one.launch_id]
            assert seen.evict or min(idle) >= before.options.idle_timeout


def _leader(*states: LaunchState) -> Launch | None:
    return replicas(1, *states).leader


def test_the_replica_that_is_furthest_stands_for_the_deployment() -> None:
    for states in itertools.product(LaunchState, repeat=3):
        leader = _leader(*states)
        assert leader is not None
        order = [READY, STARTING, STOPPING, PENDING]
        best = min(states, key=order.index)
        assert (leader.state, leader.replica) == (best, states.index(best))
    assert _leader() is None


def test_moves_that_are_not_in_the_table_are_refused() -> None:
    pairs = [*itertools.product([None, *State], State)]
    legal = [pair for pair in pairs if check(*pair) and pair[0] is not pair[1]]
    assert len(legal) == len(TRANSITIONS)
    for source, goal in [
        (None, State.READY),
        (State.STOPPED, State.STARTING),
        (State.PARKED, State.STARTING),
        (State.STOPPED, State.READY),
        (State.FAILED, State.STARTING),
        (State.PENDING, State.STOPPING),
    ]:
        assert not check(source, goal)


def test_a_launch_may_change_and_its_deployment_stay_as_it_is() -> None:
    assert all(check(state, state) for state in State)


def test_every_state_is_reached_and_none_is_a_dead_end() -> None:
    assert {goal for _, goal in TRANSITIONS} == {*State}
    assert {source for source, _ in TRANSITIONS} == {None, *State}


def test_the_diagram_shows_every_transition() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "  [*] --> pending: deploy"
    assert "  ready --> stopping: undeploy / unhealthy / idle" in lines
    assert len(lines) == 1 + len(TRANSITIONS)
