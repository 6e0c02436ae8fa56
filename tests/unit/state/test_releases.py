"""Rows of releases: numbered, one under way in a project, legal transitions alone, one event each."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import IllegalTransition, UnknownProject
from model_deployment.core.names import ModelKey
from model_deployment.core.release_lifecycle import TRANSITIONS
from model_deployment.core.releases import (
    OFFERABLE,
    UNDECIDED,
    AbortRule,
    Release,
    ReleasePolicy,
    ReleaseState,
)
from model_deployment.state.device_rows import EVENTS_KEPT
from model_deployment.state.release_files import RELEASES_KEPT
from tests.support.stored_devices import WHEN, DeviceStores, opened, progress

S = ReleaseState
POLICY = ReleasePolicy(
    groups=("a",), percent=(2.5, 50.0), success=80.0, soak=9.0, abort=AbortRule(failed=3, of=7)
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DeviceStores]:
    async with opened(tmp_path) as it:
        yield it


async def begin(store: DeviceStores, project: str = "hall", **changes: Any) -> Release:
    values: dict[str, Any] = {"by": "ann", "reason": "asked", **changes}
    found = await store.project(project)
    return await store.releases.begin(found, ModelKey("m", 3), POLICY, **values)


async def test_releases_are_numbered_in_their_project(store: DeviceStores) -> None:
    name = EndpointName("m", "live")
    first = await begin(store, endpoint=name, reverts=None)
    assert (first.number, first.key, first.policy) == (1, ModelKey("m", 3), POLICY)
    assert (first.state, first.stage, first.reason, first.created_by) == (
        S.PREPARING, 0, "asked", "ann",
    )  # fmt: skip
    assert (first.endpoint, first.reverts, first.manifest, first.signature) == (name, None, "", "")
    assert (first.settled_at, first.told) == (None, False)
    second = await begin(store, reverts=1)
    assert (second.number, second.endpoint, second.reverts) == (2, None, 1)
    assert (await begin(store, "other")).number == 1
    hall = await store.project()
    assert [one.number for one in await store.releases.all(hall, 9)] == [2, 1]
    assert [one.number for one in await store.releases.all(hall, 9, before=2)] == [1]
    assert [one.number for one in await store.releases.all(hall, 1)] == [2]
    assert await store.releases.find(hall, 2) == second
    assert await store.releases.find(hall, 3) is None
    await store.projects.remove(hall)
    with pytest.raises(UnknownProject):
        await store.releases.begin(hall, ModelKey("m", 1), POLICY, by="", reason="")


@pytest.mark.parametrize("state", sorted(UNDECIDED))
async def test_a_project_has_one_release_under_way(
    store: DeviceStores, state: ReleaseState
) -> None:
    before = await store.release(state)
    elsewhere = await store.release(state, "other")
    after = await begin(store)
    hall = await store.project()
    found = await store.releases.find(hall, before.number)
    assert found is not None
    assert (found.state, found.reason) == (S.SUPERSEDED, "release 2 came after it")
    assert await store.releases.undecided() == [elsewhere, after]
    new, old = (await store.releases.events(hall, 9))[:2]
    assert (new.number, new.previous, new.state) == (2, None, S.PREPARING)
    assert (old.number, old.previous, old.state) == (1, state, S.SUPERSEDED)
    with pytest.raises(IllegalTransition):
        await store.releases.move(before, S.STOPPED, "by hand")


@pytest.mark.parametrize("state", sorted(set(S) - UNDECIDED))
async def test_what_is_decided_stays_when_a_release_begins(
    store: DeviceStores, state: ReleaseState
) -> None:
    release = await store.release(state)
    await begin(store)
    found = await store.releases.find(await store.project(), release.number)
    assert found is not None
    assert found.state is state


async def test_begun_at_once_they_are_numbered_without_a_gap(store: DeviceStores) -> None:
    await store.project()
    found = await asyncio.gather(*(begin(store) for _ in range(9)))
    assert sorted(one.number for one in found) == [*range(1, 10)]
    (newest,) = await store.releases.undecided()
    assert newest.number == 9


async def test_a_release_may_be_begun_after_the_newest_one_only(store: DeviceStores) -> None:
    tries = (begin(store, after=0) for _ in range(4))
    await store.project()
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Release) for one in found) == 1
    before = await store.dump()
    for after in (0, 2):
        with pytest.raises(IllegalTransition, match="the newest one is release 1"):
            await begin(store, after=after)
    assert await store.dump() == before
    assert (await begin(store, after=1)).number == 2


@pytest.mark.parametrize("source", ReleaseState)
async def test_illegal_transitions_are_not_made(store: DeviceStores, source: ReleaseState) -> None:
    release = await store.release(source)
    before = await store.dump()
    for target in ReleaseState:
        if (source, target) not in TRANSITIONS:
            with pytest.raises(IllegalTransition, match="cannot move release 1"):
                await store.releases.move(release, target, "why not")
            assert await store.dump() == before


@pytest.mark.parametrize(
    ("source", "target"),
    [one for one in itertools.product(ReleaseState, repeat=2) if one in TRANSITIONS],
)
async def test_legal_transitions_are_made(
    store: DeviceStores, source: ReleaseState, target: ReleaseState
) -> None:
    release = await store.release(source)
    moved = await store.releases.move(
        release, target, "so it is", stage=1,
        manifest=release.manifest or "{}", signature=release.signature or "s",
    )  # fmt: skip
    assert (moved.state, moved.reason, moved.stage) == (target, "so it is", 1)
    assert moved.since >= release.since
    event, *_ = await store.releases.events(await store.project(), 1)
    assert (event.previous, event.state, event.number, event.reason, event.device) == (
        source, target, 1, "so it is", None,
    )  # fmt: skip


@pytest.mark.parametrize("change", [{"state": S.PAUSED}, {"stage": 1}, {"manifest": "{}"}])
async def test_of_two_that_move_a_release_one_does(
    store: DeviceStores, change: dict[str, Any]
) -> None:
    release = await store.release()
    stale = replace(release, **change)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="no longer"):
        await store.releases.move(stale, S.STOPPED, "late")
    assert await store.dump() == before
    moves = (store.releases.move(release, S.ROLLING, "on", stage=1) for _ in range(3))
    found = await asyncio.gather(*moves, return_exceptions=True)
    assert sum(isinstance(one, Release) for one in found) == 1
    assert len(await store.releases.events(await store.project(), 9)) == 3


async def test_a_release_settles_until_it_moves(store: DeviceStores) -> None:
    release = await store.release()

    async def settled() -> object:
        (found,) = await store.releases.undecided()
        return found.settled_at

    await store.releases.settle(release, WHEN)
    assert await settled() == WHEN
    await store.releases.settle(release, None)
    assert await settled() is None
    await store.releases.settle(release, WHEN)
    moved = await store.releases.move(release, S.ROLLING, "the next stage", stage=1)
    assert moved.settled_at is None
    await store.releases.settle(release, WHEN)  # of the stage before
    assert await settled() is None


async def test_a_manifest_is_signed_anew(store: DeviceStores) -> None:
    release = await store.release(S.COMPLETE)
    hall = await store.project()
    await store.releases.sign(release, "later", "t")
    found = await store.releases.find(hall, 1)
    assert found is not None
    assert (found.manifest, found.signature, found.state) == ("later", "t", S.COMPLETE)
    with pytest.raises(IllegalTransition, match="has changed"):
        await store.releases.sign(release, "earlier", "u")
    unprepared = await begin(store)
    with pytest.raises(IllegalTransition, match="has changed"):
        await store.releases.sign(unprepared, "early", "u")


async def test_an_end_is_told_once(store: DeviceStores) -> None:
    stopped = await store.release(S.STOPPED)
    failed = await store.release(S.FAILED, "other")
    await store.release(S.SUPERSEDED, "third")
    assert [one.id for one in await store.releases.untold()] == [stopped.id, failed.id]
    await store.releases.note_told(stopped)
    assert [one.id for one in await store.releases.untold()] == [failed.id]
    complete = await store.release(S.COMPLETE)
    await store.releases.note_told(complete)
    await store.releases.move(complete, S.STOPPED, "by hand")
    await store.releases.note_told(complete)  # that it was complete
    assert [one.number for one in await store.releases.untold()] == [1, complete.number]


async def test_devices_may_be_told_to_run_the_newest_complete_release_and_newer_ones(
    store: DeviceStores,
) -> None:
    hall, numbers = await store.project(), []
    for state in (
        S.COMPLETE, S.STOPPED, S.COMPLETE, S.FAILED, S.SUPERSEDED, S.STOPPED, S.ROLLING,
    ):  # fmt: skip
        await store.release(state)
        offerable = await store.releases.offerable(hall)
        assert all(one.state in OFFERABLE for one in offerable)
        numbers.append([one.number for one in offerable])
    # A superseded one has two numbers: its own, and that of the one after it.
    assert numbers == [[1], [1], [3], [3], [3], [3], [8, 3]]
    assert await store.releases.offerable(await store.project("other")) == []


async def test_files_are_kept_of_what_is_under_way_and_of_the_last_two_complete_ones(
    store: DeviceStores,
) -> None:
    for state in (S.COMPLETE, S.COMPLETE, S.STOPPED, S.COMPLETE, S.FAILED, S.PAUSED):
        await store.release(state)
    await store.release(S.COMPLETE, "other")
    await store.release(S.PREPARING, "other")
    wanted = ['{"number":2}', '{"number":4}', '{"number":6}', '{"number":1}']
    assert await store.releases.wanted_files() == wanted


async def test_the_newest_releases_and_the_last_complete_ones_are_kept(
    store: DeviceStores,
) -> None:
    other = await store.release(S.COMPLETE, "other")
    hall, device = await store.project(), await store.device()
    for _ in range(3):
        release = await store.release(S.COMPLETE)
        await store.releases.offer(release, [device.id])
    for _ in range(RELEASES_KEPT + 2):
        await begin(store)
    numbers = [one.number for one in await store.releases.all(hall, 1000)]
    assert numbers == [*range(RELEASES_KEPT + 5, 5, -1), 3, 2]
    assert [one.number for one in await store.releases.updates_of(device)] == [3, 2]
    assert await store.releases.find(await store.project("other"), 1) == other


async def test_devices_are_offered_a_release_once(store: DeviceStores) -> None:
    release, device = await store.release(), await store.connected()
    other, gone = await store.device("other"), await store.device("gone")
    await store.devices.remove(gone)
    await store.releases.offer(release, [device.id, other.id, gone.id, 999])
    updates = await store.releases.updates(release)
    assert [(one.device_id, one.number, one.state) for one in updates] == [
        (device.id, 1, "offered"), (other.id, 1, "offered"),
    ]  # fmt: skip
    await store.receive(device, progress(1, 1, "failed", "no room"))
    later = await store.release()
    await store.releases.offer(release, [device.id])
    await store.releases.offer(later, [device.id])
    found = await store.releases.updates_of(device)
    assert [(one.number, one.state, one.reason) for one in found] == [
        (2, "offered", ""), (1, "failed", "no room"),
    ]  # fmt: skip


async def test_the_newest_events_of_a_project_are_kept(store: DeviceStores) -> None:
    hall, other = await store.project(), await store.project("other")
    await store.releases.note(other, None, "first")
    await store.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
        "INSERT INTO release_events (project_id, device, at, reason) "
        "SELECT ?, iif(n % 2, 'camera', NULL), '2026-01-31', n FROM numbers",
        2 * EVENTS_KEPT + 1, hall.id,
    )  # fmt: skip
    await store.releases.note(hall, 7, "the last", device="camera")
    events = await store.releases.events(hall, 10_000)
    assert (events[0].number, events[0].device, events[0].reason) == (7, "camera", "the last")
    # Those of devices were bounded: they push out none of the project.
    kept = [int(one.reason) for one in events[1:]]
    everything = range(2 * EVENTS_KEPT + 2)
    assert kept == [n for n in reversed(everything) if n % 2 == 0 or n > 3]
    await store.releases.note(hall, None, "of the project")
    own = [one.reason for one in await store.releases.events(hall, 10_000) if one.device is None]
    assert own == [
        "of the project",
        *(str(n) for n in reversed(everything) if n % 2 == 0 and n > 2),
    ]
    assert len(await store.releases.events(other, 9)) == 1
    await store.projects.remove(hall)
    with pytest.raises(UnknownProject):
        await store.releases.note(hall, None, "late")
