"""What a device should run: the newest release that is open for it, and none that is older than its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.releases import OFFERABLE, ReleaseState
from model_deployment.devices.decide import stage_of, wish
from tests.support.release_rows import CANARY, NOW, device, groups, release, releases


def test_device_should_run_the_newest_release_whose_stage_is_open() -> None:
    found = [
        release(1, ReleaseState.COMPLETE),
        release(2, ReleaseState.ROLLING, policy=CANARY),
        release(3, ReleaseState.PREPARING),
    ]
    assert wish(device(1, "canary"), found) == found[1]
    assert wish(device(2), found) == found[0]


@pytest.mark.parametrize("state", [*ReleaseState])
def test_only_offerable_releases_are_wanted(state: ReleaseState) -> None:
    found = release(2, state, policy=CANARY)
    assert (wish(device(1, "canary"), [found]) == found) == (state in OFFERABLE)


def test_complete_release_is_wanted_by_devices_of_stages_that_it_never_opened() -> None:
    found = release(1, ReleaseState.COMPLETE, stage=0)
    assert wish(device(1), [found]) == found


def test_paused_release_is_wanted_by_its_open_stages_only() -> None:
    found = release(1, ReleaseState.PAUSED, policy=CANARY)
    assert wish(device(1, "canary"), [found]) == found
    assert wish(device(2), [found]) is None


@pytest.mark.parametrize("replaced", [ReleaseState.SUPERSEDED, ReleaseState.STOPPED])
def test_device_is_told_of_none_that_is_older_than_what_it_runs(replaced: ReleaseState) -> None:
    """It would refuse it; the next release, which is being prepared, is for it."""
    found = [release(1, ReleaseState.COMPLETE), release(2, replaced)]
    assert wish(device(1, running=2), found) is None
    assert wish(device(1, running=1), found) == found[0]
    assert wish(device(1, running=2), [*found, release(3, ReleaseState.COMPLETE)]) is not None


def test_revoked_device_and_one_of_another_project_should_run_nothing() -> None:
    found = [release(1, ReleaseState.COMPLETE)]
    assert wish(device(1, revoked_at=NOW), found) is None
    assert wish(device(1, project_id=2), found) is None


@given(groups, st.data())
def test_wish_is_the_highest_number_that_is_open_for_the_device(
    named: tuple[str, ...], data: st.DataObject
) -> None:
    found = [data.draw(releases(number)) for number in range(1, data.draw(st.integers(0, 5)) + 1)]
    running = data.draw(st.none() | st.integers(1, 5))
    one = device(data.draw(st.integers(1, 99)), *named, running=running)
    wanted = wish(one, data.draw(st.permutations(found)))
    opened = [
        each
        for each in found
        if each.number >= (running or 0)
        and (
            each.state is ReleaseState.COMPLETE
            or (
                each.state in (ReleaseState.ROLLING, ReleaseState.PAUSED)
                and stage_of(each.policy, each.number, one) <= each.stage
            )
        )
    ]
    assert wanted == (max(opened, key=lambda each: each.number) if opened else None)
