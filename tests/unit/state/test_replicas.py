"""Replicas of a deployment in the state: they are added, retire, and leave their places one by one."""

import pytest

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import Launch, LaunchRole, LaunchState, Rest, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.merging import Merging
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from model_deployment.core.replicas import Replicas
from tests.support.stored import FIRST, KEY, NOW, Store, by_number, leader, moves


async def test_scaling_stays_within_the_options(store: Store) -> None:
    row, _ = await store.deployments.want_running(KEY, Options(replicas=Replicas(1, 3)), "x", 9)
    more = await store.deployments.scale(row, 3, "requests wait")
    assert more.replicas == 3
    assert (await moves(store))[-1] == (State.PENDING, State.PENDING, "requests wait")
    for number in (0, 4):
        with pytest.raises(IllegalTransition, match=rf"cannot have {number} replicas .* 1 to 3"):
            await store.deployments.scale(more, number, "odd")
    with pytest.raises(IllegalTransition, match="has just changed"):
        await store.deployments.scale(row, 2, "read before")


async def test_deployed_again_it_begins_with_its_least_replicas(store: Store) -> None:
    options = Options(replicas=Replicas(2, 5))
    row, _ = await store.deployments.want_running(KEY, options, "x", 9)
    row = await store.deployments.scale(row, 5, "requests wait")
    await store.deployments.want_stopped(KEY)
    again, _ = await store.deployments.want_running(KEY, options, "x", 9)
    assert again.replicas == 2
    assert len(again.launches) == 1  # a model that cannot be loaded fails once, not as often


async def test_a_replica_takes_the_lowest_free_number(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    assert [one.replica for one in row.launches] == [0, 1, 2]
    row = await store.launches.retire(row, by_number(row, 1), "2 are enough", NOW)
    row = await store.launches.add(row, "3 are wanted")
    assert [(one.role, one.replica) for one in row.launches] == [
        (LaunchRole.SERVING, 0),
        (LaunchRole.SERVING, 1),
        (LaunchRole.SERVING, 2),
        (LaunchRole.RETIRING, 1),
    ]
    assert (await moves(store, "replica"))[-1] == (None, State.PENDING, "3 are wanted", 1)


async def test_a_replica_has_what_the_deployment_has(store: Store) -> None:
    row, _ = await store.deployments.want_running(KEY, Options(workers=3), "m-1-5", 9)
    row = await store.launches.add(await store.serve(row), "2 are wanted")
    new = by_number(row, 1)
    assert (new.options, new.artifact, new.generation) == (Options(workers=3), "m-1-5", 1)
    assert (new.state, new.is_live, new.port) == (LaunchState.PENDING, False, None)


async def test_what_rests_gets_no_replica(store: Store) -> None:
    row = await store.bring(State.PARKED)
    with pytest.raises(IllegalTransition, match="cannot add a replica to m-1: it is parked"):
        await store.launches.add(row, "2 are wanted")


async def test_replicas_are_added_once(store: Store) -> None:
    row = await store.bring(State.READY)
    await store.launches.add(row, "2 are wanted")
    with pytest.raises(IllegalTransition, match="it has just changed"):
        await store.launches.add(row, "2 are wanted")


@pytest.mark.parametrize(
    ("state", "step", "deadline"),
    [
        (LaunchState.STARTING, Step.TERMINATE, NOW + 30),
        (LaunchState.READY, Step.DRAIN, NOW + 30),
        (LaunchState.STOPPING, Step.KILL, NOW + 1),
    ],
)
async def test_a_live_replica_that_retires_has_its_step(
    store: Store, state: LaunchState, step: Step, deadline: float
) -> None:
    row = await store.launches.add(await store.bring(State.READY), "2 are wanted")
    row = await store.launch(row, launch=by_number(row, 1))
    if state is LaunchState.READY:
        row = await store.launches.promote(row, by_number(row, 1), Merging(), NOW)
    if state is LaunchState.STOPPING:
        row = await store.launches.stop(row, by_number(row, 1), Stop("sick", Step.KILL, NOW + 1))
    before = by_number(row, 1)
    row = await store.launches.retire(row, before, "1 is enough", NOW + 30)
    (retiring,) = row.retiring
    assert (retiring.id, retiring.launch_id, retiring.port, retiring.handle) == (
        before.id, before.launch_id, before.port, before.handle,
    )  # fmt: skip
    assert (retiring.step, retiring.deadline, retiring.reason) == (step, deadline, "1 is enough")
    assert (await moves(store, "replica"))[-1] == (State(state), State.STOPPING, "1 is enough", 1)
    assert (await store.ports.usage(NOW)).leased == 2
    row = await store.launches.forget(row, retiring, NOW + 5)
    assert (row.retiring, len(row.serving), row.rest) == ((), 1, None)
    usage = await store.ports.usage(NOW)
    assert (usage.leased, usage.quarantined) == (1, 1)
    assert (await moves(store, "replica"))[-1] == (State.STOPPING, State.STOPPED, "1 is enough", 1)


async def test_a_pending_replica_that_retires_is_gone_with_its_port(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await store.launches.release(
        row, by_number(row, 1), Vacate(State.PENDING, "gone"), keeps_port=True, quarantined_until=0
    )
    assert by_number(row, 1).port == FIRST + 1
    row = await store.launches.retire(row, by_number(row, 1), "1 is enough", NOW)
    assert [one.replica for one in row.launches] == [0]
    assert (await store.ports.usage(NOW)).leased == 1
    assert (await moves(store, "replica"))[-1] == (State.PENDING, State.STOPPED, "1 is enough", 1)


async def test_the_last_replica_does_not_retire(store: Store) -> None:
    row = await store.bring(State.READY)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="cannot retire the last replica of m-1"):
        await store.launches.retire(row, leader(row), "too many", NOW)
    assert await store.dump() == before


async def test_only_what_does_not_serve_is_forgotten(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    with pytest.raises(IllegalTransition, match="cannot forget replica 1 of m-1: it serves"):
        await store.launches.forget(row, by_number(row, 1), NOW)


async def test_the_deployment_rests_with_its_last_place(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    await store.deployments.want_stopped(KEY)
    row = await store.reread(row)
    for number, left in ((1, 2), (0, 1), (2, 0)):
        assert row.rest is None
        row = await store.end(row, State.STOPPED, launch=by_number(row, number))
        assert len(row.launches) == left
    assert (row.rest, row.state) == (Rest(State.STOPPED, "gone"), State.STOPPED)
    assert [event[-1] for event in (await moves(store, "replica"))[-3:]] == [1, 0, 2]


async def test_a_place_that_is_given_up_leaves_the_others(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await store.end(row, State.FAILED, tries=5, launch=by_number(row, 0))
    assert (row.rest, row.state, [one.replica for one in row.launches]) == (None, State.READY, [1])
    row = await store.end(row, State.FAILED, tries=5)
    assert row.rest == Rest(State.FAILED, "gone", 5)
    assert row.tries == 5


async def test_starts_of_further_replicas_are_no_restarts(store: Store) -> None:
    options = Options(replicas=Replicas(2, 3))
    row, _ = await store.deployments.want_running(KEY, options, "x", 9)
    row = await store.grow(await store.serve(row), 3)
    assert (row.starts, row.restarts) == (1, 0)
    row = await store.end(row, State.PENDING, launch=by_number(row, 1))
    row = await store.launch(row, launch=by_number(row, 1))
    assert row.restarts == 1
    row = await store.end(row, State.PENDING, launch=by_number(row, 0))
    row = await store.launch(row, launch=by_number(row, 0))
    assert row.restarts == 2


async def test_a_note_can_be_of_a_replica(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    await store.deployments.note(row, "one of two workers is gone", by_number(row, 1))
    await store.deployments.note(row, "adopted")
    first, second = (await store.deployments.events(KEY, 2))[::-1]
    assert (first.replica, first.launch_id) == (1, by_number(row, 1).launch_id)
    assert (second.replica, second.launch_id) == (0, by_number(row, 0).launch_id)


def test_every_role_has_a_place_in_the_order() -> None:
    assert [*LaunchRole] == [LaunchRole.SERVING, LaunchRole.COMING, LaunchRole.RETIRING]


async def test_launches_come_by_role_and_number(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    row = await store.launches.retire(row, by_number(row, 0), "2 are enough", NOW)
    row = await store.replacements.ask(row, Options(workers=2), Strategy.BESIDE, "change", NOW)

    def shown(launch: Launch) -> tuple[str, int]:
        return launch.role, launch.replica

    assert [*map(shown, row.launches)] == [
        ("serving", 1), ("serving", 2), ("coming", 1), ("retiring", 0),
    ]  # fmt: skip
    assert [*map(shown, (await store.deployments.all())[0].launches)] == [*map(shown, row.launches)]
