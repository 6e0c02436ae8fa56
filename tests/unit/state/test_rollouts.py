"""Rows of endpoints and rollouts: legal transitions alone, one compare-and-set and one event each."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

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
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.core.rollouts import TRANSITIONS
from tests.support.stored import Store, opened

S = RolloutState
FORWARD = RolloutKind.FORWARD
NAME = EndpointName("m", "live")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as it:
        await it.endpoints.put(NAME, RolloutPolicy(), "policy set")
        rollout = await it.rollouts.begin(await endpoint(it), 1, FORWARD, "it moved")
        await it.rollouts.move(rollout, S.PROMOTED, "the first one")
        yield it


async def endpoint(store: Store) -> Endpoint:
    ((found, _),) = await store.endpoints.all()
    return found


async def newest(store: Store) -> Rollout:
    ((_, found),) = await store.endpoints.all()
    assert found is not None
    return found


async def bring(store: Store, state: RolloutState, candidate: int = 2) -> Rollout:
    rollout = await store.rollouts.begin(await endpoint(store), candidate, FORWARD, "it moved")
    if state is S.DEPLOYING:
        return rollout
    return await store.rollouts.move(rollout, state, "on")


@pytest.mark.parametrize("source", RolloutState)
async def test_illegal_transitions_are_not_made(store: Store, source: RolloutState) -> None:
    rollout = await bring(store, source)
    before = await store.dump()
    for target in RolloutState:
        if (source, target) not in TRANSITIONS:
            with pytest.raises(IllegalTransition):
                await store.rollouts.move(rollout, target, "why not")
            assert await store.dump() == before


@pytest.mark.parametrize(
    ("source", "target"),
    [one for one in itertools.product(RolloutState, repeat=2) if one in TRANSITIONS],
)
async def test_legal_transitions_are_made(
    store: Store, source: RolloutState, target: RolloutState
) -> None:
    rollout = await bring(store, source)
    moved = await store.rollouts.move(rollout, target, "so it is", step=1)
    assert (moved.state, moved.reason, moved.step) == (target, "so it is", 1)
    assert (moved.ended_at is None) == (target in ACTIVE)
    event, *_ = await store.rollouts.events(await endpoint(store), 1)
    assert (event.previous, event.state, event.rollout_id) == (source, target, rollout.id)
    row = await endpoint(store)
    assert row.champion == (2 if target is S.PROMOTED else 1)
    if target is S.PROMOTED:
        assert row.previous == 1
        assert row.previous_until is not None


@pytest.mark.parametrize("change", [{"state": S.CHECKING}, {"step": 4}, {"order": Order.PAUSE}])
async def test_a_row_that_has_changed_meanwhile_is_not_moved(
    store: Store, change: dict[str, object]
) -> None:
    rollout = await bring(store, S.DEPLOYING)
    with pytest.raises(IllegalTransition):
        await store.rollouts.move(replace(rollout, **change), S.CANARY, "late")  # type: ignore[arg-type]
    assert await newest(store) == rollout


async def test_a_rollout_begins_in_place_of_the_one_under_way(store: Store) -> None:
    first = await bring(store, S.CANARY)
    second = await bring(store, S.DEPLOYING, candidate=3)
    assert (second.champion, second.order) == (1, Order.ADVANCE)
    states = {one.id: one.state for one in await store.rollouts.rollouts(await endpoint(store), 9)}
    assert (states[first.id], states[second.id]) == (S.SUPERSEDED, S.DEPLOYING)
    last, before, *_ = await store.rollouts.events(await endpoint(store), 9)
    assert (last.previous, last.state) == (None, S.DEPLOYING)
    assert (before.previous, before.state) == (S.CANARY, S.SUPERSEDED)


async def test_a_rollout_does_not_begin_from_an_endpoint_that_has_changed(store: Store) -> None:
    old = await endpoint(store)
    await bring(store, S.PROMOTED)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="it has changed"):
        await store.rollouts.begin(old, 3, FORWARD, "late")
    assert await store.dump() == before


async def test_a_promotion_is_not_taken_back_once_a_newer_rollout_has_begun(store: Store) -> None:
    promoted = await bring(store, S.PROMOTED)
    await bring(store, S.CANARY, candidate=3)
    with pytest.raises(IllegalTransition, match="newer"):
        await store.rollouts.move(promoted, S.ROLLED_BACK, "by hand")
    assert (await endpoint(store)).champion == 2


async def test_a_rollback_by_hand_leaves_what_the_registry_said(store: Store) -> None:
    row = await endpoint(store)
    await store.endpoints.observe(row, row.alias_version, "the registry does not answer")
    promoted = await store.rollouts.begin(await endpoint(store), 2, FORWARD, "again", follows=False)
    assert (await endpoint(store)).notice
    promoted = await store.rollouts.move(promoted, S.PROMOTED, "passed")
    await store.rollouts.move(promoted, S.ROLLED_BACK, "by hand")
    row = await endpoint(store)
    assert (row.champion, row.previous, row.alias_version) == (1, None, 1)
    assert row.notice


async def test_an_order_reaches_a_rollout_under_way_only(store: Store) -> None:
    rollout = await bring(store, S.CANARY)
    assert await store.rollouts.set_order(rollout, Order.PAUSE, "paused")
    ended = await store.rollouts.move(await newest(store), S.ROLLED_BACK, "by hand")
    assert not await store.rollouts.set_order(ended, Order.PROMOTE, "late")
    assert (await newest(store)).order is Order.PAUSE


async def test_what_a_person_has_running_is_not_claimed(store: Store) -> None:
    key = ModelKey("m", 1)
    await store.endpoints.claim(ModelKey("m", 2))
    await store.deploy("m", 1)
    await store.endpoints.claim(key)
    assert await store.endpoints.claimed() == {ModelKey("m", 2)}
    await store.deployments.want_stopped(key)
    await store.endpoints.claim(key)
    assert key in await store.endpoints.claimed()
    await store.endpoints.disown(key)
    assert key not in await store.endpoints.claimed()


async def test_the_newest_events_and_rollouts_are_kept(store: Store) -> None:
    for version in (2, 3, 4):
        await bring(store, S.PROMOTED, version)
    rollout = await bring(store, S.CANARY, 5)
    await store.rollouts.prune(2)
    row = await endpoint(store)
    assert [one.candidate for one in await store.rollouts.rollouts(row, 9)] == [5, 4]
    assert len(await store.rollouts.events(row, 9)) == 2
    assert await newest(store) == rollout


async def test_an_end_is_untold_until_it_is_noted_and_a_way_back_is_another_one(
    store: Store,
) -> None:
    promoted = await bring(store, S.PROMOTED)
    assert not promoted.evidence.get("told")
    await store.rollouts.note_told(promoted)
    assert (await newest(store)).evidence["told"]
    back = await store.rollouts.move(await newest(store), S.ROLLED_BACK, "by hand")
    await store.rollouts.note_told(promoted)  # late
    assert not back.evidence["told"]
    assert not (await newest(store)).evidence["told"]
