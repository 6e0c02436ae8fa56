"""Several replicas in time: what is decided tick after tick, and what holds at each moment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.core.actions import AddReplica, Retire
from model_deployment.core.domain import LaunchState, Rest, State
from model_deployment.core.replacement import ReplacementState, Strategy
from tests.support.replica_world import CRASHED, ENDED, UNFIT, Process, ReplicaWorld

MANY = st.integers(1, 5)


def actions(world: ReplicaWorld, *kinds: type) -> list[str]:
    return [type(one).__name__ for one, _ in world.log if isinstance(one, kinds)]


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_a_deploy_starts_one_replica_and_then_the_others(replicas: int) -> None:
    world = ReplicaWorld.deployed(replicas)
    world.settle()
    assert [one.replica for one in world.row.ready] == [*range(replicas)]
    assert actions(world, AddReplica) == ["AddReplica"] * (replicas - 1)
    first = (
        next(n for n, (action, _) in enumerate(world.log) if isinstance(action, AddReplica))
        if replicas > 1
        else 0
    )
    assert all(ready for _, ready in world.log[first:]) or replicas == 1


def test_a_model_that_cannot_be_loaded_fails_once_and_not_as_often_as_it_has_replicas() -> None:
    world = ReplicaWorld.deployed(4)
    world.next = Process(fails=UNFIT)
    world.settle()
    assert world.row.rest == Rest(
        State.FAILED, f"{UNFIT.reason} (another start would fail the same way)", 1
    )
    assert len(world.processes) == 1


@given(MANY, st.booleans())
@settings(max_examples=30)
def test_a_change_beside_never_leaves_fewer_ready_than_before(replicas: int, obeys: bool) -> None:
    world = ReplicaWorld.serving(replicas)
    for process in world.processes.values():
        process.obeys = obeys
    world.change(workers=2)
    while world.row.replacement is not None:
        world.tick()
        assert len(world.row.ready) >= replicas, world.row
        live = [one for one in world.row.launches if one.is_live]
        # They are replaced one after another, which needs memory and ports for one more.
        assert len(live) <= replicas + 1, world.row
        assert len(world.log) < 1000
    world.settle()
    assert [one.options.workers for one in world.row.launches] == [2] * replicas
    assert {one.generation for one in world.row.launches} == {world.row.generation} == {2}
    assert actions(world, AddReplica) == ["AddReplica"] * (replicas - 1)
    assert actions(world, Retire) == ["Retire"] * (replicas - 1)


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_change_that_fails_leaves_all_replicas_as_they_are(replicas: int) -> None:
    world = ReplicaWorld.serving(replicas)
    before = world.row.launches
    world.next = Process(fails=CRASHED)
    world.change(workers=2)
    world.settle()
    assert world.row.launches == before
    assert world.row.replacement is not None
    assert (world.row.replacement.state, world.row.replacement.reason) == (
        ReplacementState.FAILED,
        CRASHED.reason,
    )
    assert (world.row.generation, world.row.options.workers) == (1, 1)
    world.next = Process()
    world.change(workers=3)
    world.settle()
    assert [one.options.workers for one in world.row.ready] == [3] * replicas


@pytest.mark.parametrize("replicas", [1, 3])
def test_to_recreate_no_launch_before_lives_beside_one_after(replicas: int) -> None:
    world = ReplicaWorld.serving(replicas)
    world.change(Strategy.RECREATE, workers=2)
    while world.row.replacement is not None:
        world.tick()
        generations = {one.generation for one in world.row.launches if one.is_live}
        assert len(generations) <= 1, world.row
        assert len(world.log) < 1000
    world.settle()
    assert [one.options.workers for one in world.row.ready] == [2] * replicas


def test_other_options_that_cannot_work_fail_once_and_not_as_often_as_there_are_replicas() -> None:
    world = ReplicaWorld.serving(4)
    before = len(world.processes)
    world.next = Process(fails=CRASHED)
    world.change(Strategy.RECREATE, workers=2)
    world.settle()
    assert world.row.state is State.FAILED
    assert len(world.processes) == before + world.policy.tries


def test_replicas_that_end_during_a_change_come_back_with_the_new_options() -> None:
    world = ReplicaWorld.serving(3)
    world.change(workers=2)
    while world.row.generation == 1:
        world.tick()
    for one in world.row.ready:
        if one.generation == 1:
            world.process(one).exit = ENDED
    world.settle()
    assert [one.options.workers for one in world.row.ready] == [2] * 3
    assert world.row.replacement is None


def test_another_change_while_one_rolls_replaces_all_of_it() -> None:
    world = ReplicaWorld.serving(3)
    world.change(workers=2)
    while world.row.generation == 1:
        world.tick()
    world.change(workers=3)
    while world.row.replacement is not None:
        world.tick()
        assert len(world.row.ready) >= 3, world.row
    world.settle()
    assert [one.options.workers for one in world.row.ready] == [3] * 3
    assert world.row.generation == 3


@given(MANY, MANY)
@settings(max_examples=30)
def test_scaling_reaches_what_is_wanted_and_not_less_on_the_way(before: int, after: int) -> None:
    world = ReplicaWorld.serving(before)
    world.scale(after)
    world.settle()
    ready = [seen for _, seen in world.log] + [len(world.row.ready)]
    assert ready[-1] == after
    assert min(ready) == min(before, after)
    assert ready in (sorted(ready), sorted(ready, reverse=True))
    assert [one.replica for one in world.row.launches] == [*range(after)]
    assert len(actions(world, AddReplica)) == max(0, after - before)
    assert len(actions(world, Retire)) == max(0, before - after)


def test_what_retires_answers_its_requests_first() -> None:
    world = ReplicaWorld.serving(2)
    last = world.row.ready[1]
    world.process(last).in_flight = 1
    world.scale(1)
    world.tick()
    assert [one.launch_id for one in world.row.retiring] == [last.launch_id]
    assert world.process(last).exit is None
    world.process(last).in_flight = 0
    world.settle()
    assert [one.replica for one in world.row.launches] == [0]


def test_a_replica_that_keeps_failing_is_tried_now_and_then_while_another_serves() -> None:
    world = ReplicaWorld.serving(2)
    sick, well = world.row.ready
    world.next = Process(fails=CRASHED)
    world.process(sick).exit = CRASHED
    pauses = []
    for _ in range(12):
        while (one := world.row.serving[0]).state is not LaunchState.PENDING or one == sick:
            world.tick()
        sick = one
        pauses.append(one.not_before - world.now)
        world.now = one.not_before
        assert world.row.rest is None
    limit = world.policy.backoff_limit
    assert all(pause >= limit for pause in pauses[world.policy.tries - 1 :]), pauses
    assert max(pauses) <= 1.1 * limit
    # With the last one that serves, the deployment fails after as many tries as it has.
    world.process(well).exit = CRASHED
    world.settle()
    assert world.row.rest is not None
    assert world.row.rest.state is State.FAILED


def test_a_replica_that_failed_recovers_with_the_cause() -> None:
    world = ReplicaWorld.serving(3)
    world.next = Process(fails=CRASHED)
    for one in world.row.ready[1:]:
        world.process(one).exit = CRASHED
    for _ in range(60):
        world.tick()
    assert len(world.row.serving) == 3
    world.next = Process()
    world.settle()
    assert [one.replica for one in world.row.ready] == [0, 1, 2]


@given(MANY, st.booleans(), st.integers(0, 9))
@settings(max_examples=40)
def test_an_undeploy_ends_everything_at_any_moment(replicas: int, obeys: bool, ticks: int) -> None:
    world = ReplicaWorld.serving(replicas)
    for process in world.processes.values():
        process.obeys = obeys
        process.in_flight = 1
    world.change(workers=2)
    for _ in range(ticks):
        world.tick()
    world.undeploy()
    world.settle()
    assert world.row.rest == Rest(State.STOPPED, "undeployed")
    assert (world.row.launches, world.row.replacement) == ((), None)


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_controller_that_stops_ends_every_launch(replicas: int) -> None:
    world = ReplicaWorld.serving(replicas)
    world.change(workers=2)
    world.tick()
    world.closing = True
    for _ in range(40):
        world.tick()
    assert [one.state for one in world.row.launches] == [LaunchState.PENDING] * replicas
    world.closing = False
    world.settle()
    assert len(world.row.ready) == replicas
