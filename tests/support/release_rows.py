"""Rows of devices, releases and updates as tests of their rules want them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.devices import Device, DeviceProject, DeviceUpdate, UpdateState
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
PROJECT = DeviceProject(1, "halls", ("m",), NOW)


def device(id: int, *groups: str, online: bool = True, **members: Any) -> Device:
    """``d<id>``, of which something has just come, or not for an hour."""
    seen = NOW if online else NOW - timedelta(hours=1)
    found = Device(id, PROJECT.id, f"d{id}", groups, {}, NOW - timedelta(days=1), last_seen_at=seen)
    return replace(found, **members)


def release(
    number: int = 1,
    state: ReleaseState = ReleaseState.ROLLING,
    *,
    stage: int = 0,
    version: int | None = None,
    **members: Any,
) -> Release:
    """A release of version ``number`` of m, unless another one is named."""
    found = Release(
        id=number,
        project_id=PROJECT.id,
        number=number,
        key=ModelKey("m", version or number),
        policy=ReleasePolicy(),
        state=state,
        stage=stage,
        reason="",
        created_at=NOW,
        created_by="op",
        since=NOW,
        manifest="" if state is ReleaseState.PREPARING else "{}",
        signature="" if state is ReleaseState.PREPARING else "c2lnbmVk",
    )
    return replace(found, **members)


def update(
    device: Device, state: UpdateState, reason: str = "", release: Release | None = None
) -> DeviceUpdate:
    """What a device has made of a release; of the first one, unless another one is given."""
    id, number = (release.id, release.number) if release else (1, 1)
    return DeviceUpdate(device.id, id, number, state, reason, NOW)
