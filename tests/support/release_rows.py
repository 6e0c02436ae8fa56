"""Rows of devices, releases and updates as tests of their rules want them, by hand and by hypothesis."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from model_deployment.core.devices import Device, DeviceProject, DeviceUpdate, UpdateState
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import AbortRule, Release, ReleasePolicy, ReleaseState

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
PROJECT = DeviceProject(1, "halls", ("m",), NOW)
#: First to one group, then to all others.
CANARY = ReleasePolicy(groups=("canary",), percent=())


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


def updates(
    *of: tuple[Device, UpdateState] | tuple[Device, UpdateState, str],
) -> list[DeviceUpdate]:
    """What each of the devices has made of the first release."""
    return [update(*one) for one in of]


#: Shares of a policy, in per cent.
rising = st.lists(st.floats(0.01, 100), min_size=1, max_size=5, unique=True).map(sorted)
groups = st.sampled_from([(), ("canary",), ("hall",), ("canary", "hall")])
policies = st.builds(
    ReleasePolicy,
    groups=st.sampled_from([(), ("canary",), ("hall", "canary")]),
    percent=rising.map(tuple) | st.just(()),
    success=st.sampled_from([1.0, 50.0, 90.0, 100.0]),
    soak=st.sampled_from([0.0, 60.0]),
    abort=st.builds(lambda failed, more: AbortRule(failed=failed, of=failed + more),
                    st.integers(1, 4), st.integers(0, 8)),
)  # fmt: skip


@st.composite
def releases(draw: st.DrawFn, number: int = 1) -> Release:
    """Any release."""
    policy = draw(policies)
    settled = draw(st.sampled_from([None, NOW - timedelta(seconds=90), NOW + timedelta(days=1)]))
    return release(
        number,
        draw(st.sampled_from(ReleaseState)),
        policy=policy,
        stage=draw(st.integers(0, policy.stages - 1)),
        settled_at=settled,
    )


@st.composite
def fleets(draw: st.DrawFn) -> list[tuple[Device, UpdateState | None]]:
    """Any devices, and what each has made of the first release."""
    one = st.tuples(groups, st.booleans(), st.booleans(), st.none() | st.sampled_from(UpdateState))
    return [
        (device(id, *named, online=online, revoked_at=NOW if revoked else None), state)
        for id, (named, online, revoked, state) in enumerate(draw(st.lists(one, max_size=12)), 1)
    ]
