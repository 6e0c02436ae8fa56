"""The rules for a launch whose requests are to be merged, from its first good health check on."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.actions import (
    CheckBatching,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Promote,
    RowIndependence,
    Stop,
    Vacate,
)
from model_deployment.core.domain import Desired, Exit, State, Step
from model_deployment.core.launch_lifecycle import decide_launch
from model_deployment.core.measures import Health
from model_deployment.core.merging import Merging
from model_deployment.core.options import AUTO, AUTO_MAX_ROWS, Options
from tests.support.rows import only, row

NOW = 1000.0
POLICY = Policy()
HEALTHY = Health(healthy=True)
SICK = Health(failures=1)
WHY = "it ranks them"


def act(
    promise: RowIndependence,
    rows: int | Literal["auto"] = 64,
    seen: dict[str, Any] | None = None,
    **of: Any,
) -> LaunchAction:
    observed: dict[str, Any] = {
        "health": HEALTHY,
        "row_independence": promise,
        "row_independence_reason": WHY,
    } | (seen or {})
    launch = row(State.STARTING, **{"options": Options(batch_max_rows=rows)} | of)
    return decide_launch(launch, only(launch), Observation(**observed), NOW, POLICY)


@pytest.mark.parametrize(
    ("promise", "action"),
    [
        (RowIndependence.UNTRIED, CheckBatching()),
        (RowIndependence.WORKING, Nothing()),
        (RowIndependence.KEPT, Promote(Merging(64, f"batch_max_rows is 64, and {WHY}"))),
        (
            RowIndependence.BROKEN,
            Stop(WHY, Step.TERMINATE, NOW + POLICY.cancel_grace, POLICY.tries + 1),
        ),
        (RowIndependence.FAILED, Stop(WHY, Step.TERMINATE, NOW + POLICY.cancel_grace, 1)),
    ],
)
def test_a_healthy_launch_is_tried_before_it_serves(
    promise: RowIndependence, action: LaunchAction
) -> None:
    assert act(promise) == action


@pytest.mark.parametrize(
    ("promise", "action"),
    [
        (RowIndependence.UNTRIED, CheckBatching()),
        (RowIndependence.WORKING, Nothing()),
        (RowIndependence.KEPT, Promote(Merging(AUTO_MAX_ROWS, WHY))),
        (RowIndependence.BROKEN, Promote(Merging(0, WHY))),
        (RowIndependence.FAILED, Promote(Merging(0, WHY))),
    ],
)
def test_merging_that_nobody_asked_for_stops_no_launch(
    promise: RowIndependence, action: LaunchAction
) -> None:
    assert act(promise, AUTO) == action


@pytest.mark.parametrize("promise", RowIndependence)
def test_without_merging_there_is_nothing_to_try(promise: RowIndependence) -> None:
    assert act(promise, rows=0) == Promote()


@pytest.mark.parametrize("promise", RowIndependence)
def test_one_that_is_not_healthy_is_not_judged(promise: RowIndependence) -> None:
    assert act(promise, seen={"health": SICK}) == Nothing()
    late = act(promise, seen={"health": SICK}, deadline=NOW)
    assert isinstance(late, Stop)
    assert late.reason == "not ready within 120 s"


@pytest.mark.parametrize("promise", RowIndependence)
def test_undeploy_and_the_end_of_the_controller_go_first(promise: RowIndependence) -> None:
    undeployed = act(promise, desired=Desired.STOPPED)
    assert isinstance(undeployed, Stop)
    assert (undeployed.reason, undeployed.tries) == ("undeployed while starting", 0)
    closing = act(promise, seen={"closing": True})
    assert isinstance(closing, Stop)
    assert (closing.reason, closing.tries) == ("the controller is stopping", 0)


@pytest.mark.parametrize("promise", RowIndependence)
def test_a_launch_that_is_gone_is_not_judged(promise: RowIndependence) -> None:
    action = act(promise, seen={"exit": Exit("it died")})
    assert isinstance(action, Vacate)
    assert (action.state, action.reason, action.tries) == (State.PENDING, "it died", 1)


def ended(tries: int) -> LaunchAction:
    stopping = row(State.STOPPING, tries=tries, reason=WHY)
    seen = Observation(exit=Exit("signal 15"))
    return decide_launch(stopping, only(stopping), seen, NOW, POLICY)


def test_a_broken_promise_is_the_end_and_its_reason_is_all_that_is_said() -> None:
    assert ended(POLICY.tries + 1) == Vacate(State.FAILED, WHY, POLICY.tries + 1)


def test_the_last_of_several_failures_says_how_many_there_were() -> None:
    assert ended(POLICY.tries) == Vacate(State.FAILED, f"{WHY} (gave up after 5 tries)", 5)


@pytest.mark.parametrize(("tries", "kept"), [(0, 0), (3, 3), (5, 4), (6, 4)])
def test_with_the_next_controller_there_is_a_try_left(tries: int, kept: int) -> None:
    stopping = row(State.STOPPING, tries=tries, reason=WHY)
    seen = Observation(exit=Exit("signal 15"), closing=True)
    rest = Vacate(State.PENDING, "stopped by the controller", kept)
    assert decide_launch(stopping, only(stopping), seen, NOW, POLICY) == rest


def test_what_could_not_be_found_out_counts_as_one_failure_more() -> None:
    action = act(RowIndependence.FAILED, tries=3)
    assert isinstance(action, Stop)
    assert action.tries == 4
    after = ended(4)
    assert isinstance(after, Vacate)
    assert (after.state, after.tries) == (State.PENDING, 4)


@given(
    st.sampled_from(RowIndependence),
    st.builds(Health, st.booleans(), st.integers(0, 9)),
    st.booleans(),
)
def test_one_to_be_merged_serves_only_if_the_promise_was_kept(
    promise: RowIndependence, health: Health, closing: bool
) -> None:
    action = act(promise, seen={"health": health, "closing": closing})
    if isinstance(action, Promote):
        assert (promise, health.healthy, closing) == (RowIndependence.KEPT, True, False)
