"""When the next stage of a release is opened, or the release stopped, and with which reason."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from model_deployment.core.devices import UNSUCCESSFUL, Device, DeviceUpdate, UpdateState
from model_deployment.core.releases import AbortRule, Release, ReleasePolicy, ReleaseState
from model_deployment.devices.decide import (
    Finish,
    Halt,
    NoteSettled,
    OpenStage,
    PrepareRelease,
    ReleaseStanding,
    decide_release,
    stage_of,
)
from tests.support.release_rows import (
    CANARY,
    NOW,
    device,
    fleets,
    release,
    releases,
    update,
    updates,
)

RUNNING, FAILED, OFFERED = UpdateState.RUNNING, UpdateState.FAILED, UpdateState.OFFERED
ALL_AT_ONCE = ReleasePolicy(groups=(), percent=())


def test_preparing_release_is_prepared() -> None:
    assert decide_release(release(1, ReleaseState.PREPARING), [], [], NOW) == PrepareRelease()


@pytest.mark.parametrize(
    "state",
    [
        ReleaseState.COMPLETE, ReleaseState.STOPPED, ReleaseState.SUPERSEDED, ReleaseState.FAILED,
    ],
)  # fmt: skip
def test_decided_release_stays_as_it_is(state: ReleaseState) -> None:
    one = device(1)
    for said in UpdateState:
        assert decide_release(release(1, state), [one], updates((one, said)), NOW) is None


def test_next_stage_is_opened_when_enough_of_the_reached_run_it() -> None:
    fleet = [device(id, "canary") for id in range(1, 11)]
    found = release(policy=CANARY)
    nine = updates(*((one, RUNNING) for one in fleet[:9]), (fleet[9], UpdateState.TRYING))
    assert decide_release(found, fleet, nine, NOW) == OpenStage(
        1, "9 of 10 devices run it: opens the rest"
    )
    eight = updates(*((one, RUNNING) for one in fleet[:8]), *((one, OFFERED) for one in fleet[8:]))
    assert decide_release(found, fleet, eight, NOW) is None


def test_stage_waits_for_those_that_are_there_and_were_not_told_of_the_release() -> None:
    one, other = device(1, "canary"), device(2, "canary")
    found, said = release(policy=CANARY), updates((one, RUNNING))
    assert decide_release(found, [one, other], said, NOW) is None
    away = device(2, "canary", online=False)
    assert isinstance(decide_release(found, [one, away], said, NOW), OpenStage)


def test_stage_whose_devices_are_all_away_waits() -> None:
    fleet = [device(id, "canary", online=False) for id in (1, 2)]
    assert decide_release(release(policy=CANARY), fleet, [], NOW) is None


def test_later_stage_whose_devices_are_all_away_lets_the_next_one_begin() -> None:
    policy = ReleasePolicy(groups=("canary", "hall"), percent=())
    canary, away = device(1, "canary"), device(2, "hall", online=False)
    found = release(policy=policy, stage=1)
    assert decide_release(found, [canary, away, device(3)], updates((canary, RUNNING)), NOW) == (
        OpenStage(2, "1 of 1 devices run it: opens the rest")
    )


def test_empty_stage_opens_the_next_one_without_a_rest() -> None:
    found = release(policy=replace(CANARY, soak=3600.0))
    assert decide_release(found, [device(1)], [], NOW) == OpenStage(
        1, "no device belongs to group canary: opens the rest"
    )


def test_release_of_a_project_without_devices_is_complete_after_its_stages() -> None:
    found = release(policy=CANARY, stage=1)
    assert decide_release(found, [], [], NOW) == Finish(
        "no device has registered yet; those that come get it"
    )


def test_release_is_complete_when_enough_run_it_and_no_stage_is_left() -> None:
    fleet = [device(1), device(2), device(3, online=False)]
    found = release(policy=ALL_AT_ONCE)
    said = updates((fleet[0], RUNNING), (fleet[1], RUNNING))
    assert decide_release(found, fleet, said, NOW) == Finish("2 of 2 devices run it")


def test_revoked_devices_count_for_nothing() -> None:
    good, bad = device(1), [device(id, revoked_at=NOW) for id in range(2, 9)]
    said = updates((good, RUNNING), *((one, FAILED) for one in bad))
    found = release(policy=ALL_AT_ONCE)
    assert isinstance(decide_release(found, [good, *bad], said, NOW), Finish)


def test_stage_rests_before_the_next_one() -> None:
    one, said = device(1, "canary"), updates((device(1), RUNNING))
    found = release(policy=replace(CANARY, soak=60.0))
    assert decide_release(found, [one], said, NOW) == NoteSettled(NOW)
    settled = replace(found, settled_at=NOW)
    assert decide_release(settled, [one], said, NOW + timedelta(seconds=59)) is None
    after = decide_release(settled, [one], said, NOW + timedelta(seconds=60))
    assert isinstance(after, OpenStage)


def test_rest_begins_anew_when_a_device_goes_back_meanwhile() -> None:
    fleet = [device(1, "canary"), device(2, "canary"), device(3, "canary", online=False)]
    found = release(policy=replace(CANARY, soak=60.0), settled_at=NOW)
    said = updates((fleet[0], RUNNING), (fleet[1], FAILED))
    assert decide_release(found, fleet, said, NOW + timedelta(hours=1)) == NoteSettled(None)


def test_rest_that_a_clock_put_into_the_future_begins_anew() -> None:
    one = device(1, "canary")
    found = release(policy=replace(CANARY, soak=60.0), settled_at=NOW + timedelta(days=365))
    assert decide_release(found, [one], updates((one, RUNNING)), NOW) == NoteSettled(NOW)


def test_paused_release_opens_no_stage_but_is_stopped_like_any_other() -> None:
    fleet = [device(id, "canary") for id in (1, 2)]
    found = release(1, ReleaseState.PAUSED, policy=CANARY)
    well = updates(*((one, RUNNING) for one in fleet))
    assert decide_release(found, fleet, well, NOW) is None
    ill = updates(*((one, FAILED) for one in fleet))
    assert isinstance(decide_release(found, fleet, ill, NOW), Halt)


@pytest.mark.parametrize(("failed", "running", "stopped"), [
    (1, 4, False),  # fewer than 2
    (2, 8, True),   # 2, and a fifth of those that have reported
    (2, 9, False),  # less than a fifth
    (3, 12, True),
    (3, 13, False),
])  # fmt: skip
def test_release_is_stopped_at_the_number_and_the_share_of_the_abort_rule(
    failed: int, running: int, stopped: bool
) -> None:
    fleet = [device(id) for id in range(1, failed + running + 6)]
    said = updates(
        *((one, FAILED) for one in fleet[:failed]),
        *((one, RUNNING) for one in fleet[failed : failed + running]),
        *((one, UpdateState.DOWNLOADING) for one in fleet[failed + running :]),
    )
    policy = replace(ALL_AT_ONCE, abort=AbortRule(failed=2, of=10))
    acted = decide_release(release(policy=policy), fleet, said, NOW)
    assert isinstance(acted, Halt) == stopped


def test_refusals_count_as_failures() -> None:
    fleet = [device(1), device(2)]
    said = updates(*((one, UpdateState.REFUSED, "agent too old") for one in fleet))
    acted = decide_release(release(policy=ALL_AT_ONCE), fleet, said, NOW)
    assert acted == Halt("2 of 2 devices failed (the limit is 2 of 10): agent too old (d1, d2)")


def test_stage_of_one_device_that_fails_stops_the_release() -> None:
    canary, others = device(1, "canary"), [device(id) for id in range(2, 9)]
    said = updates((canary, FAILED, "the model answers NaN"))
    assert decide_release(release(policy=CANARY), [canary, *others], said, NOW) == Halt(
        "0 of 1 devices run it, 90 % have to, and no other one can: the model answers NaN (d1)"
    )


def test_stage_is_not_given_up_while_one_of_its_devices_has_not_reported() -> None:
    canary, away = device(1, "canary"), device(2, "canary", online=False)
    found = release(policy=CANARY)
    assert decide_release(found, [canary, away], updates((canary, FAILED)), NOW) is None
    busy = updates((canary, FAILED), (away, OFFERED))
    assert decide_release(found, [canary, away], busy, NOW) is None


def test_device_that_has_left_the_open_stages_counts_with_what_it_has_reported_only() -> None:
    canary, left = device(1, "canary"), device(2)
    found = release(policy=CANARY)
    well = update(canary, RUNNING)
    for busy in (OFFERED, UpdateState.DOWNLOADING, UpdateState.TRYING):
        assert isinstance(
            decide_release(found, [canary, left], [well, update(left, busy)], NOW), OpenStage
        )
    failed = decide_release(found, [canary, left], [well, update(left, FAILED, "NaN")], NOW)
    assert isinstance(failed, Halt)


def test_what_a_release_waits_for_is_said() -> None:
    fleet = [device(id, "canary") for id in range(1, 6)]
    found = release(policy=CANARY)

    def waiting(said: list[DeviceUpdate], devices: list[Device] = fleet) -> str:
        return ReleaseStanding(found, devices, said, NOW).waiting()

    assert waiting([]) == "waits for one of 5 devices to come"
    running = updates(*((one, RUNNING) for one in fleet[:4]))
    assert waiting(running) == "waits until d5 was told of it"
    assert waiting([*running, update(fleet[4], UpdateState.TRYING)]) == (
        "waits for d5 (trying): 4 of 5 devices run it, 90 % have to"
    )
    assert waiting([*running, update(fleet[4], RUNNING)]) == ""
    assert waiting([], []) == ""


def test_reason_of_a_stop_has_the_most_frequent_reasons_and_some_devices() -> None:
    fleet = [device(id) for id in range(1, 10)]
    said = updates(
        *((one, FAILED, "the model answers\n NaN") for one in fleet[:5]),
        *((one, FAILED, "disk full") for one in fleet[5:7]),
        (fleet[7], FAILED, ""),
        (fleet[8], UpdateState.REFUSED, "x" * 500),
    )
    acted = decide_release(release(policy=ALL_AT_ONCE), fleet, said, NOW)
    assert acted == Halt(
        "9 of 9 devices failed (the limit is 2 of 10): the model answers NaN (d1, d2, d3 and 2 more); "
        "disk full (d6, d7); and 2 more reasons"
    )


def counts(found: Release, one: Device, state: UpdateState | None) -> bool:
    """Whether a device counts as reached."""
    belongs = stage_of(found.policy, 1, one) <= found.stage
    return state is not None and (belongs or state is RUNNING or state in UNSUCCESSFUL)


@given(releases(), fleets())
def test_stages_open_one_by_one_and_only_after_a_success(
    found: Release, fleet: list[tuple[Device, UpdateState | None]]
) -> None:
    devices = [one for one, _ in fleet]
    said = updates(*((one, state) for one, state in fleet if state))
    action = decide_release(found, devices, said, NOW)
    present = [(one, state) for one, state in fleet if one.revoked_at is None]
    reached = [state for one, state in present if counts(found, one, state)]
    running = reached.count(RUNNING)
    if not isinstance(action, OpenStage | Finish):
        return
    assert found.state is ReleaseState.ROLLING
    if isinstance(action, OpenStage):
        assert action.stage == found.stage + 1 < found.policy.stages
    else:
        assert found.stage == found.policy.stages - 1
    stages = {one.id: stage_of(found.policy, 1, one) for one, _ in present}
    if reached:
        assert running >= 1
        assert running / len(reached) >= found.policy.success / 100 - 1e-9
    else:
        assert all(stage > found.stage for stage in stages.values())
    newest = [(one, state) for one, state in present if stages[one.id] == found.stage]
    assert all(state for one, state in newest if one.last_seen_at == NOW)
    if newest and found.policy.soak:
        assert found.settled_at == NOW - timedelta(seconds=90)


@given(releases(), fleets())
def test_release_is_stopped_exactly_as_documented(
    found: Release, fleet: list[tuple[Device, UpdateState | None]]
) -> None:
    said = updates(*((one, state) for one, state in fleet if state))
    stopped = isinstance(decide_release(found, [one for one, _ in fleet], said, NOW), Halt)
    present = [(one, state) for one, state in fleet if one.revoked_at is None]
    failed = sum(state in UNSUCCESSFUL for _, state in present)
    running = sum(state is RUNNING for _, state in present)
    rule = found.policy.abort
    too_many = failed >= rule.failed and failed / (failed + running) >= rule.failed / rule.of
    concerned = [
        state
        for one, state in present
        if counts(found, one, state) or stage_of(found.policy, 1, one) <= found.stage
    ]
    hopeless = (
        failed > 0
        and failed + running == len(concerned)
        and (running == 0 or running / len(concerned) < found.policy.success / 100)
    )
    under_way = found.state in (ReleaseState.ROLLING, ReleaseState.PAUSED)
    assert stopped == (under_way and (too_many or hopeless))
