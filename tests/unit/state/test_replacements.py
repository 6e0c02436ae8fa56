"""Changes of options and restarts in the state: each step whole or not at all, and one change at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from model_deployment.core.domain import Deployment, LaunchState, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState, Strategy
from tests.support.stored import FIRST, NOW, Store, moves
from tests.support.stored_replacements import PURPOSE, WORKERS, ask, begun, coming, switch


async def test_a_change_brings_a_launch_of_its_own(store: Store) -> None:
    before = await store.bring(State.READY)
    row = await ask(store, before)
    it, launch = row.replacement, coming(row)
    assert it is not None
    assert (it.state, it.strategy, it.options) == (
        ReplacementState.COMING, Strategy.BESIDE, WORKERS,
    )  # fmt: skip
    assert (it.purpose, it.reason, it.deadline) == (PURPOSE, "asked for", NOW + 120)
    assert (launch.state, launch.options, launch.generation, launch.replica) == (
        LaunchState.PENDING, WORKERS, 2, 0,
    )  # fmt: skip
    assert replace(row, replacement=None, launches=row.serving) == before
    text = f"{PURPOSE} asked for"
    assert (await moves(store, "launch_id"))[-1] == (State.READY, State.READY, text, "launch1")
    row = await store.launch(row, launch=launch)
    assert (coming(row).launch_id, coming(row).port, row.launch_id) == (
        "launch2", FIRST + 1, "launch1",
    )  # fmt: skip
    assert row.replacement
    assert row.replacement.reason == "launch on port 8002"
    text = f"{PURPOSE}: launch on port 8002"
    assert (await moves(store, "launch_id"))[-1] == (State.READY, State.READY, text, "launch2")
    assert row.starts == 1  # it is no restart


async def test_with_recreate_nothing_comes_beside(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY), strategy=Strategy.RECREATE)
    assert row.coming is None
    assert row.replacement
    assert row.replacement.waits_for_stop


async def test_a_change_says_why_it_waits(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY))
    events = await moves(store)
    row = await store.replacements.hold(row, "waiting for a free port", NOW + 60)
    assert row.replacement
    assert (row.replacement.reason, row.replacement.deadline) == (
        "waiting for a free port", NOW + 60,
    )  # fmt: skip
    assert coming(row).reason == "waiting for a free port"
    row = await store.launches.move(
        row, coming(row), LaunchState.PENDING, "no memory", deadline=NOW
    )
    assert row.replacement
    assert (row.replacement.reason, coming(row).deadline) == ("no memory", NOW)
    assert await moves(store) == events  # the deployment serves as it did


Act = Callable[[Store, Deployment], Awaitable[object]]
STALE: dict[str, Act] = {
    "undeployed": lambda s, r: s.deployments.want_stopped(r.key),
    "gone": lambda s, r: s.end(r, State.PENDING),
    "scaled": lambda s, r: s.launches.add(r, "2 are wanted"),
    "no row": lambda s, _: s.execute("DELETE FROM deployments"),
}
ACTS: dict[str, Act] = {
    "hold": lambda s, r: s.replacements.hold(r, "no port", NOW),
    "switch": switch,
    "give up": lambda s, r: s.replacements.give_up(r, "it broke", NOW),
    "fail": lambda s, r: s.replacements.fail(r, "late", NOW),
    "end": lambda s, r: s.replacements.end(r),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("meanwhile", STALE)
async def test_a_stale_row_changes_nothing(store: Store, act: str, meanwhile: str) -> None:
    row = await begun(store)
    await STALE[meanwhile](store, row)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="cannot change m-1"):
        await ACTS[act](store, row)
    assert await store.dump() == before


async def test_another_change_may_begin_while_one_rolls(store: Store) -> None:
    row = await switch(store, await begun(store))
    row = await ask(store, row, Options(workers=2))
    assert (coming(row).generation, len(row.retiring)) == (3, 1)
    assert row.replacement
    assert row.replacement.state is ReplacementState.COMING


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
async def test_without_launches_the_next_ones_have_the_change(store: Store, state: State) -> None:
    row = await store.bring(State.STARTING)
    row = await ask(store, row, strategy=Strategy.RECREATE)
    with pytest.raises(IllegalTransition, match="cannot give m-1 the options"):
        await store.replacements.hand_over(row)
    row = await store.end(row, state, tries=3)
    row = await store.replacements.hand_over(row)
    (launch,) = row.launches
    assert (launch.state, launch.options, launch.generation) == (LaunchState.PENDING, WORKERS, 2)
    assert (launch.tries, launch.reason, row.rest) == (0, PURPOSE, None)
    assert (row.options, row.generation, row.merging) == (WORKERS, 2, None)
    assert row.replacement
    assert row.replacement.state is ReplacementState.ROLLING
    assert (await moves(store, "launch_id"))[-1] == (state, State.PENDING, PURPOSE, None)
    assert (await store.replacements.end(row)).replacement is None


async def test_a_change_beside_is_not_handed_over(store: Store) -> None:
    row = await ask(store, await store.bring(State.PENDING))
    with pytest.raises(IllegalTransition, match="cannot give m-1 the options"):
        await store.replacements.hand_over(row)
