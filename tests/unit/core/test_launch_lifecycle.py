"""The rules of a launch's life, one table per question: here of a replica, alone."""

from typing import Any

import pytest

from model_deployment.core.actions import (
    Artifact,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    Start,
    Stop,
    Vacate,
)
from model_deployment.core.domain import Deployment, Desired, Exit, Launch, LaunchState, State, Step
from model_deployment.core.launch_ends import after_exit, backoff
from model_deployment.core.launch_lifecycle import decide_launch, diagnose, time_to_begin
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.options import EnvManager, Options, StartMethod
from tests.support.cases import each
from tests.support.rows import LIVE, launch, only, row

NOW = 1000.0
POLICY = Policy()
HEALTHY = Health(healthy=True)
SICK = Health(failures=POLICY.probe_failures)
CRASH = Exit("the process exited with status 1", 1)
GOING_DOWN = "the controller is stopping"
FETCHED = Artifact.READY

PENDING, STARTING, READY = State.PENDING, State.STARTING, State.READY
STOPPING, STOPPED, FAILED = State.STOPPING, State.STOPPED, State.FAILED


def act(
    state: State, desired: Desired = Desired.RUNNING, /, seen: Any = (), **changes: Any
) -> LaunchAction:
    """What is decided for the launch of a deployment with these columns and this observation."""
    deployment = row(state, desired, **changes)
    return decide_launch(deployment, only(deployment), Observation(**dict(seen)), NOW, POLICY)


@pytest.mark.parametrize(
    ("seen", "action"),
    [
        ({}, Prepare()),
        ({"may_start": False}, Prepare()),
        ({"artifact": Artifact.WORKING}, Nothing()),
        ({"artifact": FETCHED}, Start(NOW + POLICY.start_timeout)),
        ({"artifact": FETCHED, "may_start": False}, Nothing()),
        ({"artifact": FETCHED, "closing": True}, Nothing()),
        ({"closing": True}, Nothing()),
    ],
)
def test_a_pending_row_is_prepared_then_launched(
    seen: dict[str, Any], action: LaunchAction
) -> None:
    assert act(PENDING, seen=seen) == action


@pytest.mark.parametrize("manager", EnvManager)
def test_a_start_takes_as_long_in_an_environment_which_is_built_before(manager: EnvManager) -> None:
    action = act(PENDING, seen={"artifact": FETCHED}, options=Options(manager))
    assert action == Start(NOW + POLICY.start_timeout)


@pytest.mark.parametrize("method", StartMethod)
@pytest.mark.parametrize("manager", EnvManager)
def test_a_change_has_time_to_build_what_it_needs(method: StartMethod, manager: EnvManager) -> None:
    builds = method is StartMethod.CONTAINER or manager is not EnvManager.LOCAL
    limit = time_to_begin(Options(manager, start_method=method), POLICY)
    assert limit == POLICY.start_timeout + (POLICY.build_timeout if builds else 0)


@pytest.mark.parametrize(("not_before", "waits"), [(NOW + 0.01, True), (NOW, False), (0, False)])
@pytest.mark.parametrize("artifact", [Artifact.MISSING, FETCHED, Artifact.FAILED])
def test_a_row_in_back_off_waits(not_before: float, waits: bool, artifact: Artifact) -> None:
    action = act(PENDING, seen={"artifact": artifact}, not_before=not_before)
    assert (action == Nothing()) is waits


def test_artifacts_that_cannot_be_had_cost_a_try() -> None:
    seen = {"artifact": Artifact.FAILED, "artifact_error": "cannot download"}
    action = act(PENDING, seen=seen, tries=2)
    assert isinstance(action, Vacate)
    assert (action.state, action.reason, action.tries) == (PENDING, "cannot download", 3)
    assert action.not_before > NOW
    last = act(PENDING, seen=seen, tries=POLICY.tries - 1)
    assert last == Vacate(FAILED, "cannot download (gave up after 5 tries)", 5)


@pytest.mark.parametrize("artifact", Artifact)
@pytest.mark.parametrize("not_before", [0, NOW + 30])
def test_a_pending_row_nobody_wants_is_stopped_at_once(
    artifact: Artifact, not_before: float
) -> None:
    action = act(PENDING, Desired.STOPPED, seen={"artifact": artifact}, not_before=not_before)
    assert action == Vacate(STOPPED, "undeployed")


@pytest.mark.parametrize(
    ("seen", "deadline", "action"),
    [
        ({}, NOW + 1, Nothing()),
        ({}, None, Nothing()),
        ({"health": SICK}, NOW + 1, Nothing()),
        ({"health": HEALTHY}, NOW + 1, Promote()),
        ({"health": HEALTHY}, NOW - 1, Promote()),
        # Found late by a new controller, which has not asked it yet.
        ({}, NOW - 100, Nothing()),
        (
            {"health": Health(failures=1)},
            NOW,
            Stop("not ready within 120 s", Step.TERMINATE, NOW + POLICY.cancel_grace, tries=3),
        ),
        ({"closing": True}, NOW + 1, Stop(GOING_DOWN, Step.TERMINATE, NOW + POLICY.cancel_grace)),
        (
            {"closing": True, "health": HEALTHY},
            NOW + 1,
            Stop(GOING_DOWN, Step.TERMINATE, NOW + POLICY.cancel_grace),
        ),
    ],
)
def test_a_starting_launch_is_promoted_or_ended(
    seen: dict[str, Any], deadline: float | None, action: LaunchAction
) -> None:
    assert act(STARTING, seen=seen, deadline=deadline, tries=2) == action


def test_the_reason_of_a_late_start_names_the_limit() -> None:
    action = act(STARTING, seen={"health": SICK}, options=Options(EnvManager.UV), deadline=NOW)
    assert getattr(action, "reason", "") == "not ready within 120 s"


@pytest.mark.parametrize("health", [Health(), HEALTHY])
def test_a_starting_launch_nobody_wants_is_cancelled(health: Health) -> None:
    action = act(STARTING, Desired.STOPPED, seen={"health": health}, tries=2)
    assert action == Stop("undeployed while starting", Step.TERMINATE, NOW + POLICY.cancel_grace)


@pytest.mark.parametrize(
    ("desired", "seen", "action"),
    [
        (Desired.RUNNING, {}, Nothing()),
        (Desired.RUNNING, {"health": HEALTHY, "traffic": LaunchTraffic(in_flight=9)}, Nothing()),
        (Desired.STOPPED, {}, Stop("undeployed", Step.DRAIN, NOW + POLICY.drain_timeout)),
        (
            Desired.STOPPED,
            {"health": SICK},
            Stop("undeployed", Step.DRAIN, NOW + POLICY.drain_timeout),
        ),
        (
            Desired.RUNNING,
            {"closing": True},
            Stop(GOING_DOWN, Step.DRAIN, NOW + POLICY.drain_timeout),
        ),
        (
            Desired.RUNNING,
            {"health": SICK},
            Stop(
                "did not answer 3 health checks in a row",
                Step.TERMINATE,
                NOW + POLICY.stop_grace,
                tries=1,
            ),
        ),
    ],
)
def test_a_ready_launch_drains_when_unwanted_and_ends_at_once_when_sick(
    desired: Desired, seen: dict[str, Any], action: LaunchAction
) -> None:
    # Up for long enough that earlier failures are forgotten.
    assert act(READY, desired, seen=seen, ready_since=NOW - 30, tries=2) == action


#: ``Stop.step`` and the seconds until its deadline; None: leave it.
Next = tuple[Step, float] | None


@pytest.mark.parametrize(
    ("step", "in_flight", "left", "following"),
    [
        (Step.DRAIN, 1, 0.1, None),
        (Step.DRAIN, 0, 0.1, (Step.TERMINATE, POLICY.stop_grace)),
        (Step.DRAIN, 1, 0.0, (Step.TERMINATE, POLICY.stop_grace)),
        (Step.DRAIN, 1, None, (Step.TERMINATE, POLICY.stop_grace)),
        (Step.TERMINATE, 0, 0.1, None),
        (Step.TERMINATE, 1, 0.0, (Step.KILL, 1.0)),
        (Step.TERMINATE, 0, None, (Step.KILL, 1.0)),
        (Step.KILL, 0, 0.1, None),
        (Step.KILL, 0, 0.0, (Step.KILL, 1.0)),
        (Step.KILL, 0, None, (Step.KILL, 1.0)),
    ],
)
@pytest.mark.parametrize("desired", Desired)
def test_a_stop_goes_from_drain_to_terminate_to_kill(
    step: Step, in_flight: int, left: float | None, following: Next, desired: Desired
) -> None:
    action = act(
        STOPPING,
        desired,
        seen={"traffic": LaunchTraffic(in_flight=in_flight)},
        step=step,
        deadline=None if left is None else NOW + left,
        reason="because",
        tries=2,
    )
    if following is None:
        assert action == Nothing()
    else:
        assert action == Stop("because", following[0], NOW + following[1], tries=2)


@each("state", sorted(LIVE))
@pytest.mark.parametrize("desired", Desired)
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("health", [Health(), HEALTHY, SICK])
def test_an_exit_outweighs_all_else_that_was_seen(
    state: State, desired: Desired, closing: bool, health: Health
) -> None:
    dead = row(state, desired, deadline=NOW)
    seen = Observation(exit=CRASH, closing=closing, health=health)
    expected = after_exit(dead, only(dead), CRASH, closing, NOW, POLICY)
    assert decide_launch(dead, only(dead), seen, NOW, POLICY) == expected


@pytest.mark.parametrize(
    ("state", "desired", "seen", "action"),
    [
        (PENDING, Desired.RUNNING, {"artifact": FETCHED}, Vacate(State.PARKED, "idle")),
        (PENDING, Desired.STOPPED, {}, Vacate(STOPPED, "undeployed")),
        (STARTING, Desired.RUNNING, {}, Stop("idle", Step.TERMINATE, NOW + POLICY.cancel_grace)),
        (
            STARTING,
            Desired.RUNNING,
            {"health": HEALTHY},
            Stop("idle", Step.TERMINATE, NOW + POLICY.cancel_grace),
        ),
        (READY, Desired.RUNNING, {}, Stop("idle", Step.DRAIN, NOW + POLICY.drain_timeout)),
        (READY, Desired.RUNNING, {"exit": CRASH}, Vacate(State.PARKED, "idle")),
        (STARTING, Desired.RUNNING, {"exit": CRASH}, Vacate(State.PARKED, "idle")),
    ],
)
def test_all_launches_of_a_deployment_that_is_parked_end(
    state: State, desired: Desired, seen: dict[str, Any], action: LaunchAction
) -> None:
    assert act(state, desired, seen=seen, parking="idle", reason="healthy") == action


def beside(other: LaunchState, state: LaunchState, **changes: Any) -> tuple[Deployment, Launch]:
    """A deployment with two replicas; of the second one is decided."""
    second = launch(state, replica=1, **changes)
    both = row(State.READY, launches=(launch(other), second), replicas=2, proven=True)
    return both, second


@pytest.mark.parametrize(
    ("state", "changes", "seen"),
    [
        (LaunchState.STARTING, {"tries": 4}, {"exit": CRASH}),
        (LaunchState.READY, {"tries": 4}, {"exit": CRASH}),
        (LaunchState.STOPPING, {"tries": 5, "reason": CRASH.reason}, {"exit": CRASH}),
        # Its requests were to be merged, and it was found not to predict each row by itself.
        (LaunchState.STOPPING, {"tries": 6, "reason": CRASH.reason}, {"exit": CRASH}),
        (
            LaunchState.PENDING,
            {"tries": 4},
            {"artifact": Artifact.FAILED, "artifact_error": CRASH.reason},
        ),
    ],
)
def test_the_place_of_a_replica_without_tries_left_is_kept_while_another_one_serves(
    state: LaunchState, changes: dict[str, Any], seen: dict[str, Any]
) -> None:
    deployment, second = beside(LaunchState.READY, state, **changes)
    action = decide_launch(deployment, second, Observation(**seen), NOW, POLICY)
    assert isinstance(action, Vacate)
    assert (action.state, action.reason, action.tries) == (PENDING, CRASH.reason, 4)
    assert POLICY.backoff_limit <= action.not_before - NOW <= 1.1 * POLICY.backoff_limit
    assert action.keeps_port
    for other in (LaunchState.PENDING, LaunchState.STARTING, LaunchState.STOPPING):
        deployment, second = beside(other, state, **changes)
        action = decide_launch(deployment, second, Observation(**seen), NOW, POLICY)
        assert isinstance(action, Vacate)
        assert action.state is FAILED


def test_with_tries_left_a_replica_waits_no_longer_because_another_one_serves() -> None:
    deployment, second = beside(LaunchState.READY, LaunchState.STARTING, tries=1)
    action = decide_launch(deployment, second, Observation(exit=CRASH), NOW, POLICY)
    delay = backoff(deployment, second, 2, POLICY)
    assert action == Vacate(PENDING, CRASH.reason, 2, NOW + delay, keeps_port=True)


@pytest.mark.parametrize(
    ("seen", "sickness"),
    [
        (Observation(), ""),
        (Observation(health=Health(failures=2)), ""),
        (Observation(health=Health(failures=3)), "did not answer 3 health checks in a row"),
        (Observation(traffic=LaunchTraffic(oldest=65.0)), ""),
        (Observation(traffic=LaunchTraffic(oldest=65.1)), "did not answer a request for 65 s"),
        (Observation(traffic=LaunchTraffic(timeouts_in_row=3)), ""),
        (Observation(traffic=LaunchTraffic(timeouts_in_row=4)), "timed out on 4 requests in a row"),
        # /ping answers while every thread hangs.
        (
            Observation(health=Health(healthy=True), traffic=LaunchTraffic(oldest=70)),
            "did not answer a request for 70 s",
        ),
    ],
)
def test_a_launch_is_sick_when_checks_or_requests_say_so(seen: Observation, sickness: str) -> None:
    assert diagnose(seen, POLICY) == sickness
    ready = row(State.READY)
    action = decide_launch(ready, only(ready), seen, 0, POLICY)
    if sickness:
        assert action == Stop(sickness, Step.TERMINATE, POLICY.stop_grace, tries=1)
    else:
        assert action == Nothing()
