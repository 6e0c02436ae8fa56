"""Options that change without a launch that proves them: for processes there are, and for the next ones."""

from dataclasses import replace

import pytest

from model_deployment.core.actions import Vacate
from model_deployment.core.domain import LaunchState, Rest, State
from model_deployment.core.errors import Conflict
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from model_deployment.core.replicas import Replicas
from tests.support.stored import KEY, NOW, Store, leader, moves
from tests.support.stored_replacements import MERGING, PURPOSE, WORKERS, ask, begun, switch


async def test_a_change_clamps_the_replicas(store: Store) -> None:
    options = Options(replicas=Replicas(1, 9))
    row, _ = await store.deployments.want_running(KEY, options, "m-1-0", 9)
    row = await store.deployments.scale(await store.serve(row), 5, "requests wait")
    for after, expected in ((Replicas(1, 3), 3), (Replicas(4, 6), 4), (Replicas(1, 9), 4)):
        row = await store.replacements.change_options(
            row, replace(row.options, replicas=after), None, "change"
        )
        assert (row.replicas, row.generation) == (expected, 1)
    row = await begun(store, row)  # to an option that says one
    row = await switch(store, row)
    assert row.replicas == 1


async def test_options_do_not_change_under_a_change(store: Store) -> None:
    """The launch that comes would write the options that it was asked for with over them."""
    row = await ask(store, await store.bring(State.READY))
    with pytest.raises(Conflict, match=r"another change is under way \(change by ann\)"):
        await store.replacements.change_options(row, Options(capture_rate=0.0), None, "change")
    with pytest.raises(Conflict, match="another change is under way"):
        await ask(store, row)
    assert (await store.reread(row)).options == Options()


async def test_what_applies_at_once_can_change_while_a_change_rolls(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await switch(store, await begun(store, row))
    options = replace(row.options, capture_rate=0.0)
    row = await store.replacements.change_options(row, options, MERGING, "change by bob")
    assert row.replacement
    assert row.replacement.state is ReplacementState.ROLLING
    assert (row.options, row.merging, row.generation) == (options, MERGING, 2)
    # The replica that is to be replaced keeps the processes that it has.
    assert [(one.generation, one.options) for one in row.serving] == [
        (2, options),
        (1, Options(capture_rate=0.0)),
    ]


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
async def test_a_change_starts_at_once_what_waits_or_failed(store: Store, state: State) -> None:
    row = await store.bring(State.STARTING)
    row = await store.launches.release(
        row, leader(row), Vacate(state, "it broke", 3, NOW + 60, kills=2),
        keeps_port=False, quarantined_until=0,
    )  # fmt: skip
    row = await store.replacements.change_options(row, WORKERS, None, PURPOSE)
    (launch,) = row.launches
    assert (launch.state, launch.options, launch.generation) == (LaunchState.PENDING, WORKERS, 2)
    assert (launch.tries, launch.kills, launch.not_before, row.rest) == (0, 0, 0, None)
    assert (await moves(store, "launch_id"))[-1] == (state, State.PENDING, PURPOSE, None)


async def test_what_is_parked_gets_its_options_and_sleeps_on(store: Store) -> None:
    row = await store.bring(State.PARKED)
    row = await store.replacements.change_options(row, WORKERS, None, PURPOSE)
    assert (row.rest, row.options, row.generation) == (Rest(State.PARKED, "gone"), WORKERS, 2)
    awake = await store.deployments.rouse(row, "started by a request")
    assert (leader(awake).options, leader(awake).generation) == (WORKERS, 2)


async def test_a_launch_that_stops_keeps_the_options_of_its_processes(store: Store) -> None:
    row = await store.bring(State.STOPPING)
    options = replace(WORKERS, capture_rate=0.0)
    row = await store.replacements.change_options(row, options, None, PURPOSE)
    assert leader(row).options == Options(capture_rate=0.0)
    row = await store.end(row, State.PENDING)
    assert (leader(row).options, leader(row).generation) == (options, 2)
