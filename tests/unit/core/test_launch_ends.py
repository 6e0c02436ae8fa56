"""What a launch's end comes to: another try, a rest or a failure; and the figures of back-off."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.actions import Policy, Vacate
from model_deployment.core.domain import LOST, Deployment, Desired, Exit, LaunchState, State, Step
from model_deployment.core.launch_ends import after_exit, backoff
from model_deployment.core.launch_lifecycle import after_failure
from model_deployment.core.names import ModelKey
from tests.support.rows import LIVE, launch, only, policies, row, rows, times

NOW = 1000.0
POLICY = Policy()
CRASH = Exit("the process exited with status 1", 1)

PENDING, STARTING, READY = State.PENDING, State.STARTING, State.READY
STOPPING, STOPPED, FAILED = State.STOPPING, State.STOPPED, State.FAILED


def test_what_cannot_be_started_at_all_is_not_tried_again() -> None:
    wanted = row(PENDING)
    once = after_failure(wanted, only(wanted), "no such version", NOW, POLICY, permanent=True)
    assert once == Vacate(
        State.FAILED, "no such version (another start would fail the same way)", 1
    )
    again = after_failure(wanted, only(wanted), "no such version", NOW, POLICY)
    assert isinstance(again, Vacate)
    assert (again.state, again.tries) == (PENDING, 1)


def test_a_place_is_kept_for_what_works_elsewhere() -> None:
    places = (launch(LaunchState.READY), launch(LaunchState.PENDING, replica=1))
    served = replace(row(READY), launches=places)
    later = after_failure(served, places[1], "no such version", NOW, POLICY, permanent=True)
    assert isinstance(later, Vacate)
    assert (later.state, later.keeps_port) == (PENDING, True)
    assert later.not_before >= NOW + POLICY.backoff_limit


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("tries", [0, 4])
def test_a_death_nobody_minds_ends_in_stopped(state: State, closing: bool, tries: int) -> None:
    dead = row(state, Desired.STOPPED, tries=tries)
    assert after_exit(dead, only(dead), CRASH, closing, NOW, POLICY) == Vacate(
        STOPPED, "undeployed"
    )


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize("tries", [0, 4])
def test_a_death_by_the_controller_costs_no_try(state: State, tries: int) -> None:
    dead = row(state, tries=tries)
    rest = after_exit(dead, only(dead), CRASH, True, NOW, POLICY)
    assert rest == Vacate(PENDING, "stopped by the controller", tries)


@pytest.mark.parametrize(
    ("up", "tries", "state", "counted"),
    [
        (None, 0, PENDING, 1),
        (None, 3, PENDING, 4),
        (None, 4, FAILED, 5),
        (29.9, 4, FAILED, 5),
        (30.0, 4, PENDING, 1),
        (3000.0, 4, PENDING, 1),
    ],
)
def test_a_death_costs_a_try_unless_it_was_up_long_enough(
    up: float | None, tries: int, state: State, counted: int
) -> None:
    ready_since = None if up is None else NOW - up
    dead = row(READY, tries=tries, ready_since=ready_since)
    rest = after_exit(dead, only(dead), CRASH, False, NOW, POLICY)
    assert isinstance(rest, Vacate)
    assert (rest.state, rest.tries) == (state, counted)
    if state is PENDING:
        assert rest.reason == CRASH.reason
        assert rest.not_before == NOW + backoff(dead, only(dead), counted, POLICY)
    else:
        assert rest.reason == f"{CRASH.reason} (gave up after 5 tries)"


@pytest.mark.parametrize(
    ("state", "reason", "tries", "rest"),
    [
        # A failure was counted when it was stopped for it,
        (STOPPING, "not ready within 120 s", 1, ("not ready within 120 s", 1)),
        (STOPPING, "not ready within 120 s", 4, ("not ready within 120 s", 4)),
        # and to be stopped without one is none.
        (STOPPING, "undeployed", 0, ("stopped, and deployed again", 0)),
        (STARTING, "launch on port 8001", 0, (CRASH.reason, 1)),
        (READY, "healthy", 0, (CRASH.reason, 1)),
    ],
)
def test_a_launch_that_was_stopped_died_of_why_it_was_stopped(
    state: State, reason: str, tries: int, rest: tuple[str, int]
) -> None:
    dead = row(state, reason=reason, tries=tries)
    after = after_exit(dead, only(dead), CRASH, False, NOW, POLICY)
    assert isinstance(after, Vacate)
    assert (after.reason, after.tries) == rest


@given(rows([State.STARTING, State.READY]), times, policies, st.integers(-64, 255))
def test_an_end_costs_a_try_or_counts_as_a_kill_and_never_both(
    before: Deployment, now: float, policy: Policy, code: int
) -> None:
    before, launch = replace(before, desired=Desired.RUNNING), only(before)
    rest = after_exit(before, launch, Exit("gone", code), False, now, policy)
    assert isinstance(rest, Vacate)
    if rest.state is State.FAILED:
        assert rest.tries >= policy.tries
    elif launch.ready_since is None or launch.ready_since >= now:  # nothing before it is forgotten
        assert (rest.tries - launch.tries) + (rest.kills - launch.kills) == 1


def test_what_is_deployed_again_while_it_stops_comes_back_even_with_one_try() -> None:
    # As want_running leaves it: the tries and launches are forgotten, the reason is the undeploy's.
    again = row(State.STOPPING, step=Step.DRAIN, reason="undeployed", tries=0)
    rest = after_exit(again, only(again), LOST, False, 1000.0, Policy(tries=1))
    assert rest == Vacate(State.PENDING, "stopped, and deployed again")


def test_after_failure_minds_the_wish() -> None:
    unwanted = row(State.PENDING, Desired.STOPPED)
    rest = after_failure(unwanted, only(unwanted), "no", 1000.0, POLICY)
    assert rest == Vacate(State.STOPPED, "undeployed")


def test_back_off_doubles_up_to_its_limit() -> None:
    dead = row(State.READY)
    delays = [backoff(dead, only(dead), tries, POLICY) for tries in range(1, 12)]
    jitter = delays[0] / 0.5
    expected = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert delays == pytest.approx([delay * jitter for delay in expected])


@given(st.text(max_size=20), st.integers(1, 10_000))
def test_jitter_adds_up_to_a_tenth_and_is_the_same_each_time(launch_id: str, tries: int) -> None:
    dead = row(State.READY, launch_id=launch_id)
    delay = backoff(dead, only(dead), tries, POLICY)
    plain = min(30.0, 0.5 * 2.0 ** min(tries - 1, 10))
    assert plain <= delay <= plain * 1.1
    assert backoff(dead, only(dead), tries, POLICY) == delay


def test_models_that_died_together_start_apart() -> None:
    dead = [row(State.READY, key=ModelKey("m", version)) for version in range(1, 101)]
    delays = {backoff(each, only(each), 1, POLICY) for each in dead}
    assert len(delays) == 100
    assert max(delays) - min(delays) > 0.046


def test_replicas_that_died_together_start_apart() -> None:
    places = [launch(LaunchState.PENDING, replica=number) for number in range(50)]
    dead = replace(row(State.PENDING), launches=tuple(places))
    assert len({backoff(dead, one, 1, POLICY) for one in places}) == 50
