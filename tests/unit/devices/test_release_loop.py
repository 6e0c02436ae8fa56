"""The loop of releases: what takes long holds nothing up, and what breaks breaks nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from model_deployment.core.devices import DeviceProject
from model_deployment.core.errors import DiskFull
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState
from model_deployment.devices.preparation import Preparations
from tests.support.fleet import LONG, MODEL, PROJECT, Fleet, fleet
from tests.support.waiting import until

OTHER = "attic"
DEFAULT = ReleasePolicy()


@pytest.fixture
async def it() -> AsyncIterator[Fleet]:
    """Two projects without devices."""
    with fleet() as made:
        await made.start()
        for name in (PROJECT, OTHER):
            await made.service.create_project(name, [MODEL], "op")
        yield made
        await made.gone()


async def newest(it: Fleet, project: str) -> Release:
    return (await it.service.releases(project, 1))[0]


def slow(it: Fleet, version: int) -> tuple[asyncio.Event, list[str]]:
    """The preparation of a version waits for the event; what became of it."""
    go, said = asyncio.Event(), list[str]()
    prepare = it.prepare

    async def waits(project: DeviceProject, release: Release) -> SimpleNamespace:
        if release.key.version == version:
            said.append("begun")
            try:
                await go.wait()
            except asyncio.CancelledError:
                said.append("cancelled")
                raise
        return await prepare(project, release)

    it.prepare = waits  # type: ignore[method-assign]
    return go, said


async def test_slow_preparation_holds_neither_ticks_nor_other_projects_up(it: Fleet) -> None:
    go, said = slow(it, 1)
    await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
    await it.service.set_version(OTHER, None, 2, DEFAULT, "op")
    for _ in range(12):
        await it.loop.tick()
        await asyncio.sleep(0)
    assert (await newest(it, PROJECT)).state is ReleaseState.PREPARING
    assert (await newest(it, OTHER)).state is ReleaseState.COMPLETE
    go.set()
    await it.ticks(6)
    assert (await newest(it, PROJECT)).state is ReleaseState.COMPLETE
    assert said == ["begun"]


@pytest.mark.parametrize("how", ["superseded", "stopped", "deleted"])
async def test_preparation_of_a_release_that_is_over_is_given_up(it: Fleet, how: str) -> None:
    _, said = slow(it, 1)
    await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
    await it.loop.tick()
    await asyncio.sleep(0)
    match how:
        case "superseded":
            await it.service.set_version(PROJECT, None, 2, DEFAULT, "op")
        case "stopped":
            await it.service.stop(PROJECT, 1, "op")
        case _:
            await it.service.delete_project(PROJECT, "op", force=True)
    await it.loop.tick()
    await asyncio.sleep(0)
    assert said == ["begun", "cancelled"]


async def test_preparation_that_goes_on_when_it_is_given_up_counts_no_more() -> None:
    preparations, woken = Preparations(lambda: woken.append(True)), list[bool]()

    async def stubborn() -> SimpleNamespace:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return SimpleNamespace(manifest="{}", signature="s")

    preparations.start(1, stubborn)
    await asyncio.sleep(0)
    preparations.keep([])
    for _ in range(5):
        await asyncio.sleep(0)
    assert preparations.idle
    assert (preparations.take(1), woken) == (None, [])


async def test_files_are_not_dropped_while_a_release_is_prepared(it: Fleet) -> None:
    go, _ = slow(it, 1)
    await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
    it.files.add("of no manifest yet")
    await it.loop.tick()
    for _ in range(3):
        it.now += timedelta(seconds=LONG)
        await asyncio.sleep(0)
        await it.loop.tick()
    assert it.files == {"of no manifest yet"}
    go.set()
    await it.ticks(6)
    await it.tick(LONG)
    assert "of no manifest yet" not in it.files


async def test_preparation_that_breaks_off_ends_the_release_with_what_it_was(
    it: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    with patch.object(it, "_signed", side_effect=RuntimeError("boom")):
        await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
        await it.ticks(3)
    found = await newest(it, PROJECT)
    assert found.state is ReleaseState.FAILED
    assert found.reason == "its preparation broke off: RuntimeError"
    assert "boom" in caplog.text


async def test_full_disk_holds_a_release_up_until_there_is_room(it: Fleet) -> None:
    full = DiskFull("cannot keep the files of the release: the disk is full")
    with patch.object(it, "_signed", side_effect=full):
        await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
        await it.ticks(5, 10.0)
        assert (await newest(it, PROJECT)).reason == full.detail
    await it.ticks(8, 60.0)
    assert (await newest(it, PROJECT)).state is ReleaseState.COMPLETE


async def test_tries_of_a_preparation_are_ever_further_apart(it: Fleet) -> None:
    tries: list[float] = []

    async def prepare(*_: Any) -> SimpleNamespace:
        tries.append(it.now.timestamp())
        raise DiskFull("cannot keep the files: the disk is full")

    it.prepare = prepare  # type: ignore[assignment, method-assign]
    await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
    await it.ticks(300)
    pauses = [round(after - before) for before, after in pairwise(tries)]
    assert pauses == sorted(pauses)
    # One more second than the pause, in which the tick sees what came of the try.
    assert (pauses[0], max(pauses)) == (2, 60)


async def test_trouble_with_one_project_keeps_no_other_one_waiting(
    it: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (PROJECT, OTHER):
        await it.service.set_version(name, None, 1, DEFAULT, "op")
    updates, broken = it.releases.updates, (await it.project()).id

    async def some(release: Release) -> Any:
        if release.project_id == broken:
            raise RuntimeError("a row that nobody can read")
        return await updates(release)

    with patch.object(it.releases, "updates", some):
        for _ in range(8):
            await it.look()
    assert (await newest(it, OTHER)).state is ReleaseState.COMPLETE
    assert (await newest(it, PROJECT)).state is ReleaseState.ROLLING
    assert "cannot look after the releases of the project halls" in caplog.text
    await it.ticks(4)
    assert (await newest(it, PROJECT)).state is ReleaseState.COMPLETE


async def test_end_is_not_forgotten_when_the_state_cannot_be_read_for_a_moment(
    it: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await it.joined(2, "canary")
    for version in (1, 2):
        await it.service.set_version(PROJECT, None, version, DEFAULT, "op")
        await it.quiet()
    await it.service.stop(PROJECT, 2, "op")
    with patch.object(it.releases, "undecided", side_effect=OSError("no such disk")):
        running = asyncio.create_task(it.loop.run())
        await until(lambda: "cannot look after the releases of devices" in caplog.text)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await it.quiet()
    assert (await newest(it, PROJECT)).reverts == 2


async def test_project_that_is_deleted_in_the_middle_of_a_tick_is_let_go(
    it: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await it.joined(1, "canary")
    for version in (1, 2):
        await it.service.set_version(PROJECT, None, version, DEFAULT, "op")
        await it.quiet()
    await it.service.stop(PROJECT, 2, "op")
    offerable = it.releases.offerable

    async def deletes(project: DeviceProject) -> list[Release]:
        found = await offerable(project)
        await it.service.delete_project(PROJECT, "op", force=True)
        return found

    with patch.object(it.releases, "offerable", deletes):
        await it.loop.tick()
    await it.loop.tick()
    assert "cannot" not in caplog.text


async def test_running_loop_obeys_at_once_and_ends_when_cancelled(it: Fleet) -> None:
    running = asyncio.create_task(it.loop.run())
    await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")

    async def complete() -> bool:
        return (await newest(it, PROJECT)).state is ReleaseState.COMPLETE

    await until(complete, timeout=20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()


async def test_devices_are_told_when_a_stage_opens_and_when_a_release_stops(it: Fleet) -> None:
    agents = await it.joined(2, "canary")
    await it.service.set_version(PROJECT, None, 1, DEFAULT, "op")
    await it.tick()
    it.told.clear()
    await it.tick()
    assert it.told == [None]
    it.bad.add(1)
    it.told.clear()
    await it.tick()
    assert it.told == [[one.id for one in agents]]
    assert (await newest(it, PROJECT)).state is ReleaseState.STOPPED
