"""When a deployment is parked, and what brings it back."""

from dataclasses import replace

import pytest

from model_deployment.core.actions import (
    DeploymentAction,
    DeploymentObservation,
    Nothing,
    Observation,
    Park,
    Policy,
    RefuseWake,
    Settle,
    Stop,
    Vacate,
    Wake,
)
from model_deployment.core.deployment_lifecycle import decide_deployment
from model_deployment.core.domain import (
    LOST,
    Deployment,
    Desired,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.launch_ends import after_exit
from model_deployment.core.launch_lifecycle import decide_launch
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState, Strategy
from tests.support.replica_world import ReplicaWorld
from tests.support.rows import LAUNCH, launch, only, replacement, row

NOW = 1000.0
POLICY = Policy()
IDLE = Options(batch_max_rows=0, idle_timeout=60)
WELL = Health(healthy=True)
LONG = Park("no request for 60 s")
YIELD = Park("idle, and another model needs its port or memory")
ASKED = Park("parked by ann")
SECOND = f"{2:016x}"


def decided(deployment: Deployment, **seen: object) -> DeploymentAction:
    observed = DeploymentObservation(**seen)  # type: ignore[arg-type]
    return decide_deployment(deployment, observed, NOW, POLICY)


@pytest.mark.parametrize(
    ("options", "traffic", "evict", "asked", "action"),
    [
        (IDLE, LaunchTraffic(idle=60), False, "", LONG),
        (IDLE, LaunchTraffic(idle=60), True, "", LONG),
        (IDLE, LaunchTraffic(idle=59.9), False, "", Nothing()),
        (IDLE, LaunchTraffic(idle=59.9), True, "", YIELD),
        (IDLE, LaunchTraffic(), False, "", Nothing()),
        (IDLE, LaunchTraffic(in_flight=1, idle=60), True, "", Nothing()),
        (IDLE, LaunchTraffic(reading=1, idle=60), True, "", Nothing()),
        (Options(), LaunchTraffic(idle=1e9), True, "", Nothing()),
        # An operator need not wait: what is under way is answered before it stops.
        (Options(), LaunchTraffic(in_flight=1), False, "parked by ann", ASKED),
    ],
)
def test_what_nobody_uses_is_parked(
    options: Options, traffic: LaunchTraffic, evict: bool, asked: str, action: DeploymentAction
) -> None:
    ready = row(State.READY, options=options)
    seen = {LAUNCH: traffic}
    assert decided(ready, traffic=seen, evict=evict, park_requested=asked) == action


@pytest.mark.parametrize(
    ("first", "second", "parked"),
    [
        (LaunchTraffic(idle=99), LaunchTraffic(idle=60), True),
        (LaunchTraffic(idle=99), LaunchTraffic(idle=59), False),
        (LaunchTraffic(idle=99), LaunchTraffic(idle=99, in_flight=1), False),
        (LaunchTraffic(idle=99, reading=1), LaunchTraffic(idle=99), False),
    ],
)
def test_replicas_are_parked_when_none_of_them_is_used(
    first: LaunchTraffic, second: LaunchTraffic, parked: bool
) -> None:
    both = (launch(LaunchState.READY), launch(LaunchState.READY, replica=1))
    deployment = row(State.READY, options=IDLE, replicas=2, launches=both)
    action = decided(deployment, traffic={LAUNCH: first, SECOND: second})
    assert action == (LONG if parked else Nothing())


def test_what_retires_finishes_its_requests_before_the_others_are_parked() -> None:
    retiring = launch(LaunchState.STOPPING, LaunchRole.RETIRING, id=2, step=Step.DRAIN)
    both = row(State.READY, options=IDLE, launches=(launch(LaunchState.READY), retiring))
    idle = LaunchTraffic(idle=99)
    assert decided(both, traffic={LAUNCH: idle, SECOND: LaunchTraffic(in_flight=1)}) == Nothing()
    assert decided(both, traffic={LAUNCH: idle, SECOND: LaunchTraffic()}) == LONG


@pytest.mark.parametrize("state", [State.PENDING, State.STARTING, State.STOPPING])
def test_only_what_is_ready_is_parked(state: State) -> None:
    deployment = row(state, options=IDLE)
    seen = {LAUNCH: LaunchTraffic(idle=99)}
    assert decided(deployment, traffic=seen, park_requested="parked by ann") == Nothing()


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("state", ReplacementState)
def test_what_is_being_changed_is_not_parked(state: ReplacementState, strategy: Strategy) -> None:
    deployment = row(State.READY, options=IDLE, replacement=replacement(state, strategy))
    seen = {LAUNCH: LaunchTraffic(idle=99)}
    action = decided(deployment, traffic=seen, park_requested="parked by ann")
    assert (action == ASKED) is (state is ReplacementState.FAILED)


@pytest.mark.parametrize("parking", ["", "idle"])
@pytest.mark.parametrize("closing", [False, True])
def test_it_is_decided_once(parking: str, closing: bool) -> None:
    deployment = row(State.READY, options=IDLE, parking=parking)
    action = decided(deployment, traffic={LAUNCH: LaunchTraffic(idle=99)}, closing=closing)
    assert action == (Nothing() if parking or closing else LONG)


def test_what_is_sick_is_restarted_first() -> None:
    seen = Observation(health=Health(failures=3), traffic=LaunchTraffic(idle=99))
    sick = row(State.READY, options=IDLE, parking="idle")
    action = decide_launch(sick, only(sick), seen, NOW, POLICY)
    assert isinstance(action, Stop)
    assert (action.step, action.tries) == (Step.TERMINATE, 1)


@pytest.mark.parametrize(
    ("traffic", "parking", "waits"),
    [
        (LaunchTraffic(), "idle", False),
        (LaunchTraffic(in_flight=1), "idle", True),
        (LaunchTraffic(reading=1), "idle", True),
        # Nothing is promised to those who are not done asking an undeployed model.
        (LaunchTraffic(reading=1), "", False),
    ],
)
def test_a_request_that_came_in_the_last_moment_is_answered(
    traffic: LaunchTraffic, parking: str, waits: bool
) -> None:
    stopping = row(
        State.STOPPING, step=Step.DRAIN, deadline=NOW + 1, reason="idle", parking=parking
    )
    action = decide_launch(stopping, only(stopping), Observation(traffic=traffic), NOW, POLICY)
    until = NOW + POLICY.stop_grace
    assert action == (Nothing() if waits else Stop("idle", Step.TERMINATE, until))


@pytest.mark.parametrize(
    ("desired", "closing", "state"),
    [
        (Desired.RUNNING, False, State.PARKED),
        (Desired.RUNNING, True, State.PARKED),
        (Desired.STOPPED, False, State.STOPPED),
    ],
)
def test_its_end_is_no_failure(desired: Desired, closing: bool, state: State) -> None:
    parking = row(State.STOPPING, desired, step=Step.TERMINATE, parking="idle", tries=2)
    rest = after_exit(parking, only(parking), LOST, closing, NOW, POLICY)
    assert isinstance(rest, Vacate)
    assert (rest.state, rest.tries, rest.not_before) == (state, 0, 0)
    revoked = replace(parking, parking="")
    again = after_exit(revoked, only(revoked), LOST, closing, NOW, POLICY)
    assert isinstance(again, Vacate)
    assert again.state is (State.STOPPED if state is State.STOPPED else State.PENDING)


@pytest.mark.parametrize(
    ("desired", "seen", "action"),
    [
        (Desired.RUNNING, {}, Nothing()),
        (Desired.RUNNING, {"wake_requested": True}, Wake("started by a request")),
        (Desired.RUNNING, {"wake_requested": True, "closing": True}, Nothing()),
        (
            Desired.RUNNING,
            {"wake_requested": True, "memory_shortage": "full"},
            RefuseWake("full"),
        ),
        (Desired.RUNNING, {"memory_shortage": "full"}, Nothing()),
        (Desired.STOPPED, {"wake_requested": True}, Settle(State.STOPPED, "undeployed")),
    ],
)
def test_only_a_request_wakes_it(
    desired: Desired, seen: dict[str, object], action: DeploymentAction
) -> None:
    assert decided(row(State.PARKED, desired, options=IDLE), **seen) == action


@pytest.mark.parametrize("replicas", [1, 3])
def test_all_of_it_rests_and_the_next_request_brings_all_of_it_back(replicas: int) -> None:
    world = ReplicaWorld.serving(replicas, idle_timeout=60)
    for process in world.processes.values():
        process.idle = 60
    world.settle()
    assert (world.row.rest, world.row.launches) == (Rest(State.PARKED, "no request for 60 s"), ())
    for process in world.processes.values():
        process.idle = 0
    world.wake_requested = True
    world.settle()
    assert len(world.row.ready) == replicas
