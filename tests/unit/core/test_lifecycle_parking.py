"""When a deployment is parked, and what brings it back."""

from dataclasses import replace

import pytest

from model_deployment.core.actions import Action, Nothing, Observation, Policy, Refuse, Rest, Stop
from model_deployment.core.domain import LOST, Desired, Health, State, Step, Traffic
from model_deployment.core.lifecycle import after_exit, decide
from model_deployment.core.options import Options
from tests.support.rows import row

NOW = 1000.0
POLICY = Policy()
IDLE = Options(idle_timeout=60)
WELL = Health(healthy=True)


def park(reason: str) -> Stop:
    return Stop(reason, Step.DRAIN, NOW + POLICY.drain_timeout, parking=True)


LONG = park("nobody asked for 60 s")
YIELD = park("idle, and another model needs its place")


@pytest.mark.parametrize(
    ("options", "traffic", "yields", "action"),
    [
        (IDLE, Traffic(idle=60), False, LONG),
        (IDLE, Traffic(idle=60), True, LONG),
        (IDLE, Traffic(idle=59.9), False, Nothing()),
        (IDLE, Traffic(idle=59.9), True, YIELD),
        (IDLE, Traffic(), False, Nothing()),
        (IDLE, Traffic(in_flight=1, idle=60), True, Nothing()),
        (IDLE, Traffic(reading=1, idle=60), True, Nothing()),
        (Options(), Traffic(idle=1e9), True, Nothing()),
    ],
)
def test_what_nobody_uses_is_parked(
    options: Options, traffic: Traffic, yields: bool, action: Action
) -> None:
    seen = Observation(health=WELL, traffic=traffic, yields=yields)
    assert decide(row(State.READY, options=options), seen, NOW, POLICY) == action


def test_what_is_sick_is_not_parked_but_restarted() -> None:
    seen = Observation(health=Health(failures=3), traffic=Traffic(idle=99))
    action = decide(row(State.READY, options=IDLE), seen, NOW, POLICY)
    assert isinstance(action, Stop)
    assert (action.tries, action.parking) == (1, False)


@pytest.mark.parametrize(
    ("traffic", "parking", "waits"),
    [
        (Traffic(), True, False),
        (Traffic(in_flight=1), True, True),
        (Traffic(reading=1), True, True),
        # Nothing is promised to those who are not done asking an undeployed model.
        (Traffic(reading=1), False, False),
    ],
)
def test_a_request_that_came_in_the_last_moment_is_answered(
    traffic: Traffic, parking: bool, waits: bool
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
        (Desired.RUNNING, Observation(called=True), Rest(State.PENDING, "a request woke it")),
        (Desired.RUNNING, Observation(called=True, closing=True), Nothing()),
        (Desired.RUNNING, Observation(called=True, shortage="full"), Refuse("full")),
        (Desired.RUNNING, Observation(shortage="full"), Nothing()),
        (Desired.STOPPED, Observation(called=True), Rest(State.STOPPED, "undeployed")),
    ],
)
def test_only_a_request_wakes_it(desired: Desired, seen: Observation, action: Action) -> None:
    assert decide(row(State.PARKED, desired, options=IDLE), seen, NOW, POLICY) == action
