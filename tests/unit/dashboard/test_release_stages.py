"""Where the stages of a release are, and how far their devices."""

import pytest

from model_deployment.core.devices import UpdateState
from model_deployment.core.releases import AbortRule, ReleasePolicy, ReleaseState
from model_deployment.dashboard.release_stages import (
    ACTIONS,
    StageBar,
    StageStanding,
    bars,
    policy_text,
    progress_text,
    stage_lines,
    total,
)
from model_deployment.devices.views import ReleaseStageView, ReleaseView
from tests.support.memory_devices import release

R, F, TOLD = UpdateState.RUNNING, UpdateState.FAILED, UpdateState.OFFERED


def view(state: ReleaseState, stage: int) -> ReleaseView:
    stages = tuple(
        ReleaseStageView(number, f"stage {number}", number <= stage, 4, {R: 4 - number})
        for number in range(3)
    )
    return ReleaseView("warehouse", release(state=state, stage=stage), stages)


@pytest.mark.parametrize(
    ("state", "stage", "places"),
    [
        (ReleaseState.ROLLING, 0, [StageStanding.HERE, StageStanding.AHEAD, StageStanding.AHEAD]),
        (ReleaseState.ROLLING, 1, [StageStanding.DONE, StageStanding.HERE, StageStanding.AHEAD]),
        (ReleaseState.PAUSED, 1, [StageStanding.DONE, StageStanding.PAUSED, StageStanding.AHEAD]),
        (ReleaseState.COMPLETE, 2, [StageStanding.DONE, StageStanding.DONE, StageStanding.DONE]),
        (ReleaseState.STOPPED, 1, [StageStanding.DONE, StageStanding.STOPPED, StageStanding.NEVER]),
        (
            ReleaseState.SUPERSEDED,
            0,
            [StageStanding.STOPPED, StageStanding.NEVER, StageStanding.NEVER],
        ),
    ],
)
def test_each_stage_has_its_place(
    state: ReleaseState, stage: int, places: list[StageStanding]
) -> None:
    assert [one.place for one in stage_lines(view(state, stage))] == places


def test_bars_are_parts_of_all_devices_of_the_stage() -> None:
    counts = {R: 5, F: 1, UpdateState.REFUSED: 1, TOLD: 2, UpdateState.TRYING: 1}
    assert bars(counts, 20) == (
        StageBar("running", 0, 25), StageBar("busy", 25, 15), StageBar("failed", 40, 10),
    )  # fmt: skip
    assert progress_text(counts, 20) == "5 of 20 devices run it, 3 under way, 2 failed"
    assert bars({}, 0) == ()
    # Revoked devices may have updates although they count no more.
    assert sum(one.width for one in bars({R: 3, F: 1}, 2)) == pytest.approx(100)


def test_stage_without_devices_says_so() -> None:
    empty = ReleaseStageView(0, "group canary", True, 0, {})
    assert stage_lines(ReleaseView("warehouse", release(stage=0), (empty,)))[0].text == "no devices"


def test_total_adds_all_stages_up() -> None:
    counts, devices = total(view(ReleaseState.ROLLING, 1).stages)
    assert (counts[R], counts[F], devices) == (9, 0, 12)


def test_only_what_is_not_over_can_be_steered() -> None:
    assert ACTIONS[ReleaseState.ROLLING] == ("pause", "stop")
    assert ACTIONS[ReleaseState.PAUSED] == ("resume", "stop")
    over = {ReleaseState.STOPPED, ReleaseState.SUPERSEDED, ReleaseState.FAILED}
    assert not over & ACTIONS.keys()


def test_policy_is_said_in_words() -> None:
    policy = ReleasePolicy(
        groups=("canary", "hall-3"), percent=(10, 33.3), success=95, soak=45, abort=AbortRule()
    )
    said = dict(policy_text(policy))
    assert said["stages"] == "group canary, group hall-3, 10 %, 33.3 %, the rest"
    assert said["next stage"] == "when 95 % of the devices reached run it, and rested for 45 s"
    assert said["stops"] == "once 2 devices failed, and at least 2 of 10 that reported"
