"""Replacements of launches: every step that is decided is a legal move, and each comes to its end."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.core import replacement as replacements
from model_deployment.core.actions import (
    DeploymentAction,
    DeploymentObservation,
    EndReplacement,
    FailReplacement,
    Forget,
    GiveUp,
    HandOver,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Retire,
    Settle,
    Stop,
    Switch,
)
from model_deployment.core.deployment_lifecycle import decide_deployment
from model_deployment.core.domain import (
    LOST,
    Deployment,
    Desired,
    Exit,
    Launch,
    LaunchRole,
    LaunchState,
    State,
    Step,
)
from model_deployment.core.launch_lifecycle import after_failure, decide_launch
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.merging import Merging
from model_deployment.core.replacement import TRANSITIONS, ReplacementState, Strategy
from tests.support.rows import launch, replacement, row

NOW = 1000.0
POLICY = Policy()
PENDING, STARTING, READY = LaunchState.PENDING, LaunchState.STARTING, LaunchState.READY
STOPPING = LaunchState.STOPPING
FETCHED_IN_VAIN = "cannot download"


def changing(state: LaunchState, desired: Desired = Desired.RUNNING, **changes: Any) -> Deployment:
    """A ready deployment with a launch that is to prove a change."""
    it = changes.pop("replacement", replacement(deadline=NOW + 1))
    coming = launch(state, LaunchRole.COMING, id=2, generation=2, **changes)
    serving = (launch(READY),)
    return row(State.READY, desired, launches=(*serving, coming), replacement=it)


def act(deployment: Deployment, /, **seen: Any) -> LaunchAction:
    """What is decided of the launch that is coming."""
    coming = deployment.coming
    assert coming is not None
    return decide_launch(deployment, coming, Observation(**seen), NOW, POLICY)


def decided(deployment: Deployment, **seen: Any) -> DeploymentAction:
    return decide_deployment(deployment, DeploymentObservation(**seen), NOW, POLICY)


CANCEL = NOW + POLICY.cancel_grace


@pytest.mark.parametrize(
    ("state", "seen", "action"),
    [
        (STARTING, {}, Nothing()),
        (STARTING, {"health": Health(healthy=True)}, Switch(Merging())),
        (STARTING, {"exit": Exit("it died", 1)}, GiveUp("it died")),
        (STARTING, {"exit": LOST}, GiveUp(LOST.reason)),
        (
            STARTING,
            {"exit": Exit("no module", 78, permanent=True)},
            GiveUp("no module (another start would fail the same way)"),
        ),
        (STARTING, {"closing": True}, Stop("the controller is stopping", Step.TERMINATE, CANCEL)),
        (STARTING, {"closing": True, "exit": LOST}, GiveUp("stopped by the controller")),
        (STOPPING, {"exit": LOST}, GiveUp("why")),
        (STOPPING, {"exit": LOST, "closing": True}, GiveUp("why")),
        (PENDING, {"closing": True, "artifact": "ready"}, Nothing()),
        (
            PENDING,
            {"artifact": "failed", "artifact_error": FETCHED_IN_VAIN},
            GiveUp(FETCHED_IN_VAIN),
        ),
    ],
)
def test_the_first_launch_of_a_change_has_one_try(
    state: LaunchState, seen: dict[str, Any], action: LaunchAction
) -> None:
    assert act(changing(state, reason="why"), **seen) == action


@pytest.mark.parametrize("health", [Health(), Health(healthy=True)])
def test_a_change_nobody_wants_is_broken_off(health: Health) -> None:
    undeployed = changing(STARTING, Desired.STOPPED)
    stop = Stop("undeployed while starting", Step.TERMINATE, CANCEL)
    assert act(undeployed, health=health) == stop
    assert act(undeployed, exit=LOST) == Forget()
    assert act(changing(PENDING, Desired.STOPPED)) == Forget()
    for it in (None, *map(replacement, (ReplacementState.FAILED, ReplacementState.ROLLING))):
        left = changing(STARTING, replacement=it)
        assert act(left, health=health) == Stop("not wanted any more", Step.TERMINATE, CANCEL)
        assert act(left, exit=LOST) == Forget()
        assert act(changing(PENDING, replacement=it), artifact="ready") == Forget()


def test_a_first_launch_that_cannot_be_started_is_given_up() -> None:
    pending = changing(PENDING)
    assert pending.coming is not None
    assert after_failure(pending, pending.coming, "no", NOW, POLICY) == GiveUp("no")


@pytest.mark.parametrize(
    ("traffic", "left", "following"),
    [
        (LaunchTraffic(in_flight=1), 1.0, None),
        (LaunchTraffic(reading=1), 1.0, None),
        (LaunchTraffic(in_flight=1), 0.0, Step.TERMINATE),
        (LaunchTraffic(), 1.0, Step.TERMINATE),
    ],
)
@pytest.mark.parametrize("desired", Desired)
def test_what_retires_finishes_its_requests(
    traffic: LaunchTraffic, left: float, following: Step | None, desired: Desired
) -> None:
    old = launch(
        STOPPING, LaunchRole.RETIRING, id=2, step=Step.DRAIN, deadline=NOW + left, reason="done"
    )
    both = row(State.READY, desired, launches=(launch(READY), old))
    action = decide_launch(both, old, Observation(traffic=traffic), NOW, POLICY)
    stop = following and Stop("done", following, NOW + POLICY.stop_grace)
    assert action == (stop or Nothing())
    gone = Observation(exit=LOST, traffic=traffic, closing=True)
    assert decide_launch(both, old, gone, NOW, POLICY) == Forget()


LATE = FailReplacement("it could not be started in time: no free port")


@pytest.mark.parametrize(
    ("state", "deadline", "own", "closing", "action"),
    [
        (PENDING, NOW, None, False, LATE),
        (PENDING, NOW + 1, None, False, Nothing()),
        # After a boot of the machine the deadline of the launch counts, if it has one.
        (PENDING, None, None, False, Nothing()),
        (PENDING, None, NOW, False, LATE),
        (PENDING, NOW, NOW + 1, False, Nothing()),
        (PENDING, NOW + 1, None, True, FailReplacement("the controller was stopped")),
        # It was begun in time; what becomes of it is decided by its own deadline.
        (STARTING, NOW, NOW, False, Nothing()),
        (STARTING, NOW, NOW, True, Nothing()),
        (STOPPING, NOW, NOW, False, Nothing()),
    ],
)
def test_a_change_that_cannot_begin_in_time_fails(
    state: LaunchState,
    deadline: float | None,
    own: float | None,
    closing: bool,
    action: DeploymentAction,
) -> None:
    it = replacement(deadline=deadline)
    row = changing(state, replacement=it, deadline=own, reason="no free port")
    assert decided(row, closing=closing) == action


def recreated(desired: Desired, *launches: Launch, **changes: Any) -> Deployment:
    it = replacement(strategy=Strategy.RECREATE)
    return row(State.READY, desired, launches=launches, replacement=it, replicas=3, **changes)


def test_to_recreate_all_launches_end_and_only_then_the_next_ones_begin() -> None:
    it = replacement(strategy=Strategy.RECREATE)
    launches = [launch(READY), launch(STARTING, replica=1), launch(PENDING, replica=2)]
    before = recreated(Desired.RUNNING, *launches)
    assert [
        decide_launch(before, one, Observation(artifact="ready"), NOW, POLICY)  # type: ignore[arg-type]
        for one in launches
    ] == [
        Stop(it.purpose, Step.DRAIN, NOW + POLICY.drain_timeout),
        Stop(it.purpose, Step.TERMINATE, CANCEL),
        Nothing(),
    ]
    assert decided(before) == Nothing()
    stopping = recreated(Desired.RUNNING, launch(STOPPING), launch(PENDING, replica=1))
    assert decided(stopping) == Nothing()
    retiring = launch(STOPPING, LaunchRole.RETIRING, id=9)
    assert decided(recreated(Desired.RUNNING, launch(PENDING), retiring)) == Nothing()
    ended = [launch(PENDING, replica=number) for number in range(3)]
    # The other replicas are added again once the first one is ready.
    for count in (3, 2):
        last = ended[count - 1]
        assert decided(recreated(Desired.RUNNING, *ended[:count])) == Retire(last, it.purpose)
    assert decided(recreated(Desired.RUNNING, ended[0])) == HandOver()
    assert decided(recreated(Desired.STOPPED, *ended)) == EndReplacement()
    assert decided(row(State.FAILED, replacement=it)) == HandOver()


@pytest.mark.parametrize("state", ReplacementState)
def test_nothing_of_a_change_is_left_once_nobody_wants_the_deployment(
    state: ReplacementState,
) -> None:
    it = replacement(state)
    assert decided(row(State.READY, Desired.STOPPED, replacement=it)) == EndReplacement()
    assert decided(row(State.STOPPED, Desired.STOPPED, replacement=it)) == EndReplacement()
    failed = row(State.FAILED, Desired.STOPPED, replacement=it)
    assert decided(failed) == Settle(State.STOPPED, "undeployed")


@pytest.mark.parametrize(
    ("launches", "ends"),
    [
        ([launch(READY, generation=2)], True),
        ([launch(PENDING, generation=2)], True),
        ([], True),
        ([launch(STARTING, generation=1)], False),
        ([launch(READY, generation=2), launch(READY, replica=1, generation=1)], False),
        (
            [
                launch(READY, generation=2),
                launch(STOPPING, LaunchRole.RETIRING, id=9, generation=2),
            ],
            False,
        ),
    ],
)
def test_a_change_ends_when_nothing_before_it_is_left(launches: list[Launch], ends: bool) -> None:
    rolling = replacement(ReplacementState.ROLLING)
    state = State.READY if launches else State.PARKED
    changes: dict[str, Any] = {"launches": tuple(launches)} if launches else {}
    deployment = row(state, replacement=rolling, replicas=2, generation=2, **changes)
    assert (decided(deployment) == EndReplacement()) is ends


def test_a_change_that_failed_is_remembered() -> None:
    failed = replacement(ReplacementState.FAILED, deadline=NOW)
    assert decided(row(State.READY, replacement=failed)) == Nothing()
    assert decided(row(State.READY, replacement=failed), closing=True) == Nothing()


def test_its_diagram_has_every_move() -> None:
    lines = replacements.diagram().splitlines()
    assert len(lines) == 1 + len(TRANSITIONS)
    assert "  [*] --> coming: change / restart" in lines
    assert "  rolling --> [*]: all launches before it have ended / undeploy" in lines


def test_it_is_under_way_until_it_is_decided_which_launches_go_on() -> None:
    of = {state: replacement(state) for state in ReplacementState}
    assert [state for state, it in of.items() if it.under_way] == [ReplacementState.COMING]
    assert [state for state, it in of.items() if it.is_over] == [ReplacementState.FAILED]
    waits = replacement(strategy=Strategy.RECREATE)
    assert waits.waits_for_stop
    assert not replace(waits, state=ReplacementState.ROLLING).waits_for_stop
    assert not of[ReplacementState.COMING].waits_for_stop
