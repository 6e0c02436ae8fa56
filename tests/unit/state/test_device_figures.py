"""Figures of devices, counted in SQL: the same as one would count in the rows."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_deployment.core.devices import OFFLINE_AFTER, Device, Presence, UpdateState, presence
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState
from model_deployment.state.device_figures import DeviceFigureReader, StoredFigures
from tests.support.stored_devices import DeviceStores, metrics, opened, progress

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DeviceStores]:
    async with opened(tmp_path) as it:
        yield it


async def read(store: DeviceStores, at: datetime = NOW) -> StoredFigures:
    return await DeviceFigureReader(store.database).read(at)


async def last_seen(store: DeviceStores, device: Device, text: str | None) -> None:
    await store.execute("UPDATE devices SET last_seen_at = ? WHERE id = ?", text, device.id)


async def test_projects_without_anything_have_zeros(store: DeviceStores) -> None:
    for name in ("mill", "Hall"):
        await store.project(name)
    figures = await read(store)
    assert [one.project for one in figures.projects] == ["Hall", "mill"]
    one = figures.projects[0]
    assert (one.presence, one.running, one.newest, one.asked) == ({}, {}, None, None)
    assert figures.waiting == 0


async def test_presence_is_that_of_the_rows_whatever_the_form_of_the_time(
    store: DeviceStores,
) -> None:
    edge = NOW - OFFLINE_AFTER
    second = timedelta(seconds=1)
    forms = [
        None,
        (edge + second).isoformat(),
        (edge + second).isoformat(timespec="milliseconds"),
        (edge + second).astimezone(UTC).isoformat().replace("+00:00", "Z"),
        (edge - second).isoformat(timespec="microseconds"),
        edge.isoformat(),
        "2025-12-31T23:59:59+00:00",
    ]
    rows = []
    for number, text in enumerate(forms):
        await last_seen(store, await store.device(f"camera-{number}"), text)
    revoked = await store.device("gone")
    await last_seen(store, revoked, NOW.isoformat())
    await store.devices.revoke(revoked)
    await store.device("other", "mill")
    for row in await store.devices.all(await store.project()):
        rows.append(presence(row, NOW))
    found = (await read(store)).projects[0].presence
    assert found == Counter(rows)
    assert found == {
        Presence.NEVER: 1, Presence.ONLINE: 3, Presence.OFFLINE: 3, Presence.REVOKED: 1,
    }  # fmt: skip


async def test_running_counts_devices_that_are_not_revoked(store: DeviceStores) -> None:
    for number, running in enumerate((None, 2, 2, 3, 3)):
        device = await store.device(f"camera-{number}")
        await store.execute("UPDATE devices SET running = ? WHERE id = ?", running, device.id)
    await store.devices.revoke(device)
    assert (await read(store)).projects[0].running == {0: 1, 2: 2, 3: 1}


async def back(store: DeviceStores, release: Release) -> Release:
    """The release that takes another one back."""
    project = await store.project()
    return await store.releases.begin(
        project, ModelKey("m", 1), ReleasePolicy(), by="", reason="back", reverts=release.number
    )


async def test_release_that_was_asked_for_is_told_beside_the_newest(store: DeviceStores) -> None:
    await store.release(ReleaseState.COMPLETE)
    stopped = await store.release(ReleaseState.STOPPED, version=2)
    one = (await read(store)).projects[0]
    assert one.newest == one.asked
    assert one.newest is not None
    assert (one.newest.number, one.newest.state, one.newest.reason) == (
        2, ReleaseState.STOPPED, "so it is",
    )  # fmt: skip
    newest = await back(store, stopped)
    one = (await read(store)).projects[0]
    assert one.newest is not None
    assert one.asked is not None
    assert (one.newest.number, one.newest.reverts) == (newest.number, 2)
    assert (one.asked.number, one.asked.key, one.asked.reverts) == (2, ModelKey("m", 2), None)


async def test_updates_of_a_release_are_counted_without_revoked_devices(
    store: DeviceStores,
) -> None:
    release = await store.release()
    devices = [await store.connected(f"camera-{number}") for number in range(4)]
    await store.releases.offer(release, [one.id for one in devices])
    for device, state in zip(devices[1:], ("failed", "running", "failed"), strict=True):
        await store.receive(device, progress(1, release.number, state))
    await store.devices.revoke(devices[3])
    one = (await read(store)).projects[0]
    assert one.asked is not None
    assert one.asked.updates == {
        UpdateState.OFFERED: 1, UpdateState.FAILED: 1, UpdateState.RUNNING: 1,
    }  # fmt: skip


async def test_messages_that_go_to_the_document_store_wait(store: DeviceStores) -> None:
    device = await store.connected()
    await store.receive(device, metrics(1), metrics(2))
    assert (await read(store)).waiting == 2
