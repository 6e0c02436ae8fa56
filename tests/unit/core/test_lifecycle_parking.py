"""When a deployment is parked, and what brings it back."""

from dataclasses import replace

import pytest

from model_deployment.core.actions import (
    Action,
    Nothing,
    Observation,
    Policy,
    RefuseWake,
    Release,
    Stop,
)
from model_deployment.core.domain import LOST, Desired, Health, LaunchTraffic, State, Step
from model_deployment.core.lifecycle import after_exit, decide
from model_deployment.core.options import Options
from tests.support.rows import row

NOW = 1000.0
POLICY = Policy()
IDLE = Options(idle_timeout=60)
WELL = Health(healthy=True)


def park(reason: str) -> Stop:
    return Stop(reason, Step.DRAIN, NOW + POLICY.drain_timeout, parking=True)


LONG = park("no request for 60 s")
YIELD = park("idle, and another model needs its port or memory")


@pytest.mark.parametrize(
    ("options", "traffic", "yields", "action"),
    [
        (IDLE, LaunchTraffic(idle=60), False, LONG),
        (IDLE, LaunchTraffic(idle=60), True, LONG),
        (IDLE, LaunchTraffic(idle=59.9), False, Nothing()),
        (IDLE, LaunchTraffic(idle=59.9), True, YIELD),
        (IDLE, LaunchTraffic(), False, Nothing()),
        (IDLE, LaunchTraffic(in_flight=1, idle=60), True, Nothing()),
        (IDLE, LaunchTraffic(reading=1, idle=60), True, Nothing()),
        (Options(), LaunchTraffic(idle=1e9), True, Nothing()),
    ],
)
def test_what_nobody_uses_is_parked(
    options: Options, traffic: LaunchTraffic, yields: bool, action: Action
) -> None:
    seen = Observation(health=WELL, traffic=traffic, evict=yields)
    assert decide(row(State.READY, options=options), seen, NOW, POLICY) == action


def test_what_is_sick_is_not_parked_but_restarted() -> None:
    seen = Observation(health=Health(failures=3), traffic=LaunchTraffic(idle=99))
    action = decide(row(State.READY, options=IDLE), seen, NOW, POLICY)
    assert isinstance(action, Stop)
    assert (action.tries, action.parking) == (1, False)


@pytest.mark.parametrize(
    ("traffic", "parking", "waits"),
    [
        (LaunchTraffic(), True, False),
        (LaunchTraffic(in_flight=1), True, True),
        (LaunchTraffic(reading=1), True, True),
        # Nothing is promised to those who are not done asking an undeployed model.
        (LaunchTraffic(reading=1), False, False),
    ],
)
def test_a_request_that_came_in_the_last_moment_is_answered(
    traffic: LaunchTraffic, parking: bool, waits: bool
) -> None:
    stopping = row(
        State.STOPPING, step=Step.DRAIN, deadline=NOW + 1, reason="idle", parking=parking
    )
    action = decide(stopping, Observation(traffic=traffic), NOW, POLICY)
    until = NOW + POLICY.stop_grace
    assert action == (Nothing() if waits else Stop("idle", Step.TERMINATE, until, parking=parking))


@pytest.mark.parametrize(
    ("desired", "closing", "state"),
    [
        (Desired.RUNNING, False, State.PARKED),
        (Desired.RUNNING, True, State.PARKED),
        (Desired.STOPPED, False, State.STOPPED),
    ],
)
def test_its_end_is_no_failure(desired: Desired, closing: bool, state: State) -> None:
    parking = row(State.STOPPING, desired, step=Step.TERMINATE, reason="idle", parking=True)
    rest = after_exit(parking, LOST, closing, NOW, POLICY)
    assert (rest.state, rest.tries, rest.not_before) == (state, 0, 0)
    again = after_exit(replace(parking, parking=False), LOST, closing, NOW, POLICY)
    assert again.state is (State.STOPPED if state is State.STOPPED else State.PENDING)


@pytest.mark.parametrize(
    ("desired", "seen", "action"),
    [
        (Desired.RUNNING, Observation(), Nothing()),
        (
            Desired.RUNNING,
            Observation(wake_requested=True),
            Release(State.PENDING, "started by a request"),
        ),
        (Desired.RUNNING, Observation(wake_requested=True, closing=True), Nothing()),
        (
            Desired.RUNNING,
            Observation(wake_requested=True, memory_shortage="full"),
            RefuseWake("full"),
        ),
        (Desired.RUNNING, Observation(memory_shortage="full"), Nothing()),
        (Desired.STOPPED, Observation(wake_requested=True), Release(State.STOPPED, "undeployed")),
    ],
)
def test_only_a_request_wakes_it(desired: Desired, seen: Observation, action: Action) -> None:
    assert decide(row(State.PARKED, desired, options=IDLE), seen, NOW, POLICY) == action
