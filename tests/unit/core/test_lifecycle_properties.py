"""What holds for every row and every observation; and the figures of back-off and diagnosis."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.actions import (
    Action,
    Artifact,
    CheckBatching,
    Launch,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    RefuseWake,
    Release,
    RowIndependence,
    Stop,
)
from model_deployment.core.domain import (
    LOST,
    Deployment,
    Desired,
    Exit,
    Health,
    LaunchTraffic,
    State,
    Step,
)
from model_deployment.core.lifecycle import (
    LIVE,
    TRANSITIONS,
    after_exit,
    after_failure,
    backoff,
    check,
    decide,
    diagnose,
    diagram,
)
from model_deployment.core.names import ModelKey
from tests.support.rows import HANDLE, LAUNCH, PORT, observations, policies, row, rows, times

POLICY = Policy()


def target(action: Action) -> State | None:
    """The state an action leads to; None where the row stays as it is."""
    match action:
        case Nothing() | CheckBatching() | RefuseWake():
            return None
        case Prepare():
            return State.PENDING
        case Launch():
            return State.STARTING
        case Promote():
            return State.READY
        case Stop():
            return State.STOPPING
        case Release(state):
            return state


@given(rows(), observations, times, policies)
def test_every_action_is_a_legal_move(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    after = target(decide(before, seen, now, policy))
    if after is not None:
        assert check(before.state, after), (before.state, after)


@given(rows(), observations, times, policies)
def test_the_same_is_decided_of_the_same(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    assert decide(before, seen, now, policy) == decide(replace(before), replace(seen), now, policy)


@given(rows(), observations, times, policies)
def test_deadlines_and_back_offs_lie_ahead(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    match decide(before, seen, now, policy):
        case Launch(deadline) | Stop(_, _, deadline):
            assert deadline >= now
        case Release(State.PENDING, _, tries, not_before):
            assert tries < policy.tries or seen.closing
            assert not_before == 0 or not_before > now
        case _:
            pass


@given(rows(), observations, times, policies)
def test_nothing_starts_or_is_published_against_the_wish(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    unwanted = replace(before, desired=Desired.STOPPED)
    for action in (
        decide(unwanted, seen, now, policy),
        decide(before, replace(seen, closing=True), now, policy),
    ):
        assert not isinstance(action, Launch | Promote | Prepare)


@given(rows([State.STOPPING]), observations, times, policies)
def test_a_stop_never_goes_back_a_step(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    action = decide(before, seen, now, policy)
    if isinstance(action, Stop):
        assert (before.step, action.step) in {
            (Step.DRAIN, Step.KILL if seen.suspended else Step.TERMINATE),
            (Step.TERMINATE, Step.KILL),
            (Step.KILL, Step.KILL),
        }


@dataclass
class World:
    """What becomes of one row when time goes on and processes do what they are told, or do not."""

    row: Deployment
    now: float
    #: Ends when asked to; else it takes a SIGKILL.
    obeys: bool = True
    #: Its requests end once it drains; else they never do.
    drains: bool = True
    alive: bool = True
    #: How it ends on its own.
    code: int = -15
    #: What the comparison of predictions has found.
    compared: RowIndependence = RowIndependence.UNTRIED

    def run(self, policy: Policy, limit: int) -> Iterator[State]:
        """The states it comes through."""
        for _ in range(limit):
            yield self.row.state
            self.step(decide(self.row, self.observe(), self.now, policy))

    def observe(self) -> Observation:
        busy = not self.drains and self.row.state in LIVE
        return Observation(
            exit=None if self.alive else Exit("the process is over", self.code),
            health=Health(healthy=self.alive),
            traffic=LaunchTraffic(in_flight=int(busy)),
            artifact=Artifact.READY,
            row_independence=self.compared,
        )

    def step(self, action: Action) -> None:
        match action:
            case Nothing() | Prepare():
                self.now = self._next()
            case Launch(deadline):
                self.alive = True
                self._become(State.STARTING, launch_id=LAUNCH, handle=HANDLE, port=PORT)
                self.row = replace(self.row, deadline=deadline)
            case CheckBatching():
                self.compared = RowIndependence.KEPT
            case Promote():
                self._become(State.READY, ready_since=self.now, deadline=None, proven=True)
            case Stop(reason, step, deadline, tries, parking, kills):
                self._become(
                    State.STOPPING, step=step, deadline=deadline, reason=reason, parking=parking
                )
                self.row = replace(self.row, tries=tries, kills=kills)
                if step is Step.KILL or (step is Step.TERMINATE and self.obeys):
                    self.alive = False
            case Release(state, reason, tries, not_before, _, kills):
                self._become(state, reason=reason, tries=tries, kills=kills, not_before=not_before)
                self.row = replace(
                    self.row, launch_id=None, handle=None, port=None, step=None, parking=False
                )

    def _become(self, state: State, **changes: object) -> None:
        assert check(self.row.state, state)
        self.row = replace(self.row, state=state, **changes)  # type: ignore[arg-type]

    def _next(self) -> float:
        ahead = [self.row.deadline, self.row.not_before]
        return min((at for at in ahead if at is not None and at > self.now), default=self.now + 1)


@given(rows(desired=[Desired.STOPPED]), times, policies, st.booleans(), st.booleans())
def test_what_is_not_wanted_is_stopped_after_a_few_steps(
    before: Deployment, now: float, policy: Policy, obeys: bool, drains: bool
) -> None:
    world = World(before, now, obeys=obeys, drains=drains)
    # Drain, its deadline, terminate, its deadline, kill, gone.
    states = [*world.run(policy, 9)]
    assert states[-1] is State.STOPPED
    assert not {State.READY, State.STARTING, State.PENDING} & {*states[1:]} - {before.state}


@given(rows([State.READY, State.STOPPING]), observations, times, policies)
def test_nothing_is_parked_that_is_used_or_may_not_be(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    before = replace(before, parking=False)
    match decide(before, seen, now, policy):
        case Stop(parking=True):
            assert before.state is State.READY
            assert before.options.idle_timeout > 0
            assert not seen.traffic.in_flight
            assert not seen.traffic.reading
            assert seen.evict or seen.traffic.idle >= before.options.idle_timeout
        case Release(state):
            assert state is not State.PARKED


@given(rows([State.STOPPING], [Desired.RUNNING]), times, policies, st.booleans(), st.booleans())
def test_what_is_parked_rests_and_the_next_request_brings_it_back(
    before: Deployment, now: float, policy: Policy, obeys: bool, drains: bool
) -> None:
    world = World(replace(before, parking=True), now, obeys=obeys, drains=drains)
    assert [*world.run(policy, 9)][-1] is State.PARKED
    assert decide(world.row, Observation(), world.now, policy) == Nothing()
    action = decide(world.row, Observation(wake_requested=True), world.now, policy)
    assert action == Release(State.PENDING, "started by a request")
    world.step(action)
    assert [*world.run(policy, 6)][-1] is State.READY


#: Not those that stop or have failed: they may end in failed by right.
HOPEFUL = [State.PENDING, State.STARTING, State.READY]


@given(rows(HOPEFUL, [Desired.RUNNING]), times, policies)
def test_what_is_wanted_and_works_is_ready_after_a_few_steps(
    before: Deployment, now: float, policy: Policy
) -> None:
    assert [*World(before, now).run(policy, 6)][-1] is State.READY


@pytest.mark.parametrize("state", HOPEFUL)
def test_what_always_dies_fails_after_as_many_tries_as_it_has(state: State) -> None:
    world = World(row(state, proven=True), 1000.0, code=1)
    launches = 0
    for _ in range(100):
        world.alive = world.row.state not in LIVE
        action = decide(world.row, world.observe(), world.now, POLICY)
        launches += isinstance(action, Launch)
        world.step(action)
    assert world.row.state is State.FAILED
    assert launches == POLICY.tries - (state is not State.PENDING)
    assert world.row.tries == POLICY.tries


@pytest.mark.parametrize("code", [None, 0, -1, -2, -9, -15, 137, 143])
def test_what_works_and_is_killed_from_outside_is_never_given_up(code: int | None) -> None:
    world = World(row(State.READY, proven=True), 1000.0)
    pauses = []
    for _ in range(20):
        world.alive = world.row.state not in LIVE
        seen = replace(world.observe(), exit=Exit("gone", code) if not world.alive else None)
        action = decide(world.row, seen, world.now, POLICY)
        if isinstance(action, Release):
            assert (action.state, action.tries, action.keeps_port) == (State.PENDING, 0, True)
            pauses.append(max(0.0, action.not_before - world.now))
        world.step(action)
        if world.row.state is State.STARTING:
            world.alive = True
            world.step(Promote())
    assert pauses[: POLICY.free_restarts] == [0, 0, 0]
    assert all(0.5 <= pause <= 33 for pause in pauses[POLICY.free_restarts :])
    assert pauses == sorted(pauses)


@given(rows([State.STARTING, State.READY]), times, policies, st.integers(-64, 255))
def test_an_end_costs_a_try_or_counts_as_a_kill_and_never_both(
    before: Deployment, now: float, policy: Policy, code: int
) -> None:
    rest = after_exit(
        replace(before, desired=Desired.RUNNING), Exit("gone", code), False, now, policy
    )
    up = before.ready_since is not None and now - before.ready_since
    if not up:
        assert (rest.tries - before.tries) + (rest.kills - before.kills) == 1 or not rest.kills
    if rest.state is State.FAILED:
        assert rest.tries >= policy.tries


@given(rows([State.READY, State.STARTING], [Desired.RUNNING]), observations, times, policies)
def test_what_is_stopped_by_a_signal_is_ended_by_the_last_one(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    seen = replace(seen, suspended=True, exit=None, closing=False)
    action = decide(before, seen, now, policy)
    assert isinstance(action, Stop)
    assert (action.step, action.parking) == (Step.KILL, False)
    assert action.kills > 0


def test_what_is_deployed_again_while_it_stops_comes_back_even_with_one_try() -> None:
    # As want_running leaves it: the tries and launches are forgotten, the reason is the undeploy's.
    again = row(State.STOPPING, step=Step.DRAIN, reason="undeployed", tries=0, launches=0)
    assert after_exit(again, LOST, False, 1000.0, Policy(tries=1)).state is State.PENDING


def test_after_failure_minds_the_wish() -> None:
    assert (
        after_failure(row(State.PENDING, Desired.STOPPED), "no", 1000.0, POLICY).state
        is State.STOPPED
    )


def test_back_off_doubles_up_to_its_limit() -> None:
    delays = [backoff(row(State.READY), tries, POLICY) for tries in range(1, 12)]
    jitter = delays[0] / 0.5
    expected = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert delays == pytest.approx([delay * jitter for delay in expected])


@given(st.text(max_size=20), st.integers(1, 10_000))
def test_jitter_adds_up_to_a_tenth_and_is_the_same_each_time(launch_id: str, tries: int) -> None:
    dead = row(State.READY, launch_id=launch_id)
    delay = backoff(dead, tries, POLICY)
    plain = min(30.0, 0.5 * 2.0 ** min(tries - 1, 10))
    assert plain <= delay <= plain * 1.1
    assert backoff(dead, tries, POLICY) == delay


def test_models_that_died_together_start_apart() -> None:
    dead = [row(State.READY, key=ModelKey("m", version)) for version in range(1, 101)]
    delays = {backoff(each, 1, POLICY) for each in dead}
    assert len(delays) == 100
    assert max(delays) - min(delays) > 0.046


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
    action = decide(row(State.READY), seen, 0, POLICY)
    if sickness:
        assert action == Stop(sickness, Step.TERMINATE, POLICY.stop_grace, tries=1)
    else:
        assert action == Nothing()


def test_moves_that_are_not_in_the_table_are_refused() -> None:
    pairs = [*itertools.product([None, *State], State)]
    assert sum(check(*pair) for pair in pairs) == len(TRANSITIONS)
    for source, goal in [
        (None, State.READY),
        (State.STOPPED, State.STARTING),
        (State.PENDING, State.READY),
        (State.STOPPING, State.READY),
        (State.FAILED, State.STARTING),
    ]:
        assert not check(source, goal)


def test_every_state_is_reached_and_none_is_a_dead_end() -> None:
    assert {goal for _, goal in TRANSITIONS} == {*State}
    assert {source for source, _ in TRANSITIONS} == {None, *State}


def test_the_diagram_shows_every_transition() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "  [*] --> pending: deploy"
    assert "  ready --> stopping: undeploy / unhealthy / idle" in lines
    assert len(lines) == 1 + len(TRANSITIONS)
