"""What holds for every row and every observation; and the figures of back-off and diagnosis."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.actions import (
    Artifact,
    CheckBatching,
    Forget,
    GiveUp,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    RowIndependence,
    Start,
    Stop,
    Switch,
    Vacate,
)
from model_deployment.core.domain import (
    LOST,
    Deployment,
    Desired,
    Exit,
    Launch,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.launch_ends import after_exit, backoff
from model_deployment.core.launch_lifecycle import (
    TRANSITIONS,
    after_failure,
    check,
    decide_launch,
    diagnose,
    diagram,
)
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.names import ModelKey
from tests.support.rows import (
    HANDLE,
    LAUNCH,
    LIVE,
    PORT,
    launch,
    observations,
    only,
    policies,
    replicated_rows,
    row,
    rows,
    times,
)

POLICY = Policy()


def target(action: LaunchAction, launch: Launch) -> LaunchState | None:
    """The state an action leads to; None where the row is gone."""
    match action:
        case Nothing() | CheckBatching():
            return launch.state
        case Prepare():
            return LaunchState.PENDING
        case Start():
            return LaunchState.STARTING
        case Promote() | Switch():
            return LaunchState.READY
        case Stop():
            return LaunchState.STOPPING
        case Vacate(state):
            return LaunchState.PENDING if state is State.PENDING else None
        case GiveUp() | Forget():
            return None


def decided(
    row: Deployment, seen: Observation, now: float, policy: Policy
) -> list[tuple[Launch, LaunchAction]]:
    """What is decided of each launch if all are seen alike."""
    return [(one, decide_launch(row, one, seen, now, policy)) for one in row.launches]


@given(replicated_rows(), observations, times, policies)
def test_every_action_is_a_legal_move(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    for one, action in decided(before, seen, now, policy):
        after = target(action, one)
        same = isinstance(action, Nothing | CheckBatching)
        assert same or check(one.state, after), (one.state, after)


@given(replicated_rows(), observations, times, policies)
def test_each_role_has_actions_of_its_own(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    common = (Nothing, Stop)
    of = {
        LaunchRole.SERVING: (*common, Prepare, Start, CheckBatching, Promote, Vacate),
        LaunchRole.COMING: (
            *common, Prepare, Start, CheckBatching, Switch, GiveUp, Forget,
        ),
        LaunchRole.RETIRING: (*common, Forget),
    }  # fmt: skip
    for one, action in decided(before, seen, now, policy):
        assert isinstance(action, of[one.role]), (one.role, action)


@given(replicated_rows(), observations, times, policies)
def test_the_same_is_decided_of_the_same(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    again = decided(replace(before), replace(seen), now, policy)
    assert decided(before, seen, now, policy) == again


@given(replicated_rows(), observations, times, policies)
def test_deadlines_and_back_offs_lie_ahead(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    for _, action in decided(before, seen, now, policy):
        match action:
            case Start(deadline) | Stop(_, _, deadline):
                assert deadline >= now
            case Vacate(State.PENDING, _, tries, not_before):
                assert tries < policy.tries
                assert not_before == 0 or not_before > now
            case _:
                pass


@given(replicated_rows(), observations, times, policies)
def test_nothing_starts_or_is_published_against_the_wish(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    unwanted = replace(before, desired=Desired.STOPPED)
    for _, action in (
        *decided(unwanted, seen, now, policy),
        *decided(before, replace(seen, closing=True), now, policy),
    ):
        assert not isinstance(action, Start | Promote | Prepare | Switch)


@given(replicated_rows(), observations, times, policies)
def test_a_stop_never_goes_back_a_step(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    for one, action in decided(before, seen, now, policy):
        if isinstance(action, Stop) and one.step is not None:
            assert (one.step, action.step) in {
                (Step.DRAIN, Step.KILL if seen.suspended else Step.TERMINATE),
                (Step.TERMINATE, Step.KILL),
                (Step.KILL, Step.KILL),
            }


@given(replicated_rows([Desired.RUNNING]), observations, times, policies)
def test_a_place_is_given_up_only_where_no_other_replica_serves(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    before = replace(before, parking="", proven=True)
    for one, action in decided(before, seen, now, policy):
        match action:
            case Vacate(State.PENDING):
                pass
            case Vacate():
                assert not [other for other in before.ready if other.id != one.id]


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
            self.step(self.decide(policy))

    def decide(self, policy: Policy, **seen: object) -> LaunchAction:
        """What is decided of its launch, if it has one."""
        if self.row.rest is not None:
            return Nothing()
        observed = replace(self.observe(), **seen)  # type: ignore[arg-type]
        return decide_launch(self.row, only(self.row), observed, self.now, policy)

    def observe(self) -> Observation:
        busy = not self.drains and self.row.state in LIVE
        return Observation(
            exit=None if self.alive else Exit("the process is over", self.code),
            health=Health(healthy=self.alive),
            traffic=LaunchTraffic(in_flight=int(busy)),
            artifact=Artifact.READY,
            row_independence=self.compared,
        )

    def step(self, action: LaunchAction) -> None:
        match action:
            case Nothing() | Prepare():
                self.now = self._next()
            case Start(deadline):
                self.alive = True
                self._become(
                    LaunchState.STARTING,
                    launch_id=LAUNCH,
                    handle=HANDLE,
                    port=PORT,
                    deadline=deadline,
                )
            case CheckBatching():
                self.compared = RowIndependence.KEPT
            case Promote():
                self._become(LaunchState.READY, ready_since=self.now, deadline=None)
                self.row = replace(self.row, proven=True)
            case Stop(reason, step, deadline, tries, kills):
                self._become(
                    LaunchState.STOPPING, step=step, deadline=deadline, reason=reason,
                    tries=tries, kills=kills,
                )  # fmt: skip
                if step is Step.KILL or (step is Step.TERMINATE and self.obeys):
                    self.alive = False
            case Vacate(State.PENDING, reason, tries, not_before, _, kills):
                self._become(
                    LaunchState.PENDING, reason=reason, tries=tries, kills=kills,
                    not_before=not_before, launch_id=None, handle=None, port=None, step=None,
                )  # fmt: skip
            case Vacate(state, reason, tries):
                assert check(only(self.row).state, None)
                self.row = replace(
                    self.row, launches=(), rest=Rest(state, reason, tries), parking=""
                )
            case _:
                raise AssertionError(action)

    def _become(self, state: LaunchState, **changes: object) -> None:
        launch = only(self.row)
        assert check(launch.state, state)
        changed = replace(launch, state=state, **changes)  # type: ignore[arg-type]
        self.row = replace(self.row, launches=(changed,))

    def _next(self) -> float:
        times = [(one.deadline, one.not_before) for one in self.row.launches]
        ahead = [at for both in times for at in both if at is not None and at > self.now]
        return min(ahead, default=self.now + 1)


#: A failed or parked deployment is settled elsewhere.
WITH_LAUNCH = [State.PENDING, State.STARTING, State.READY, State.STOPPING]


@given(rows(WITH_LAUNCH, [Desired.STOPPED]), times, policies, st.booleans(), st.booleans())
def test_what_is_not_wanted_is_stopped_after_a_few_steps(
    before: Deployment, now: float, policy: Policy, obeys: bool, drains: bool
) -> None:
    world = World(before, now, obeys=obeys, drains=drains)
    # Drain, its deadline, terminate, its deadline, kill, gone.
    states = [*world.run(policy, 9)]
    assert states[-1] is State.STOPPED
    assert not {State.READY, State.STARTING, State.PENDING} & {*states[1:]} - {before.state}


@given(rows(WITH_LAUNCH), observations, times, policies)
def test_nothing_rests_parked_that_is_not_to_be(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    action = decide_launch(before, only(before), seen, now, policy)
    if isinstance(action, Vacate) and action.state is State.PARKED:
        assert before.parking


@given(rows(WITH_LAUNCH, [Desired.RUNNING]), times, policies, st.booleans(), st.booleans())
def test_what_is_parked_rests(
    before: Deployment, now: float, policy: Policy, obeys: bool, drains: bool
) -> None:
    world = World(replace(before, parking="idle"), now, obeys=obeys, drains=drains)
    assert [*world.run(policy, 9)][-1] is State.PARKED
    assert world.row.rest == Rest(State.PARKED, "idle")


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
        action = world.decide(POLICY)
        launches += isinstance(action, Start)
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
        action = world.decide(POLICY, exit=Exit("gone", code) if not world.alive else None)
        if isinstance(action, Vacate):
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
    before, launch = replace(before, desired=Desired.RUNNING), only(before)
    rest = after_exit(before, launch, Exit("gone", code), False, now, policy)
    assert isinstance(rest, Vacate)
    up = launch.ready_since is not None and now - launch.ready_since
    if not up:
        assert (rest.tries - launch.tries) + (rest.kills - launch.kills) == 1 or not rest.kills
    if rest.state is State.FAILED:
        assert rest.tries >= policy.tries


@given(rows([State.READY, State.STARTING], [Desired.RUNNING]), observations, times, policies)
def test_what_is_stopped_by_a_signal_is_ended_by_the_last_one(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    seen = replace(seen, suspended=True, exit=None, closing=False)
    action = decide_launch(before, only(before), seen, now, policy)
    assert isinstance(action, Stop)
    assert action.step is Step.KILL
    assert action.kills > 0


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


def test_replicas_that_died_together_start_apart() -> None:
    places = [launch(LaunchState.PENDING, replica=number) for number in range(50)]
    dead = replace(row(State.PENDING), launches=tuple(places))
    assert len({backoff(dead, one, 1, POLICY) for one in places}) == 50


def test_moves_that_are_not_in_the_table_are_refused() -> None:
    pairs = [*itertools.product([None, *LaunchState], [None, *LaunchState])]
    assert sum(check(*pair) for pair in pairs) == len(TRANSITIONS)
    for source, goal in [
        (None, LaunchState.READY),
        (None, None),
        (LaunchState.PENDING, LaunchState.READY),
        (LaunchState.PENDING, LaunchState.STOPPING),
        (LaunchState.STOPPING, LaunchState.READY),
    ]:
        assert not check(source, goal)


def test_every_state_is_reached_and_none_is_a_dead_end() -> None:
    assert {goal for _, goal in TRANSITIONS} == {None, *LaunchState}
    assert {source for source, _ in TRANSITIONS} == {None, *LaunchState}


def test_the_diagram_shows_every_transition() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "  [*] --> pending: deploy / wake-up / change / one more replica"
    assert "  ready --> stopping: not wanted / unhealthy / idle / replaced" in lines
    assert "  stopping --> [*]: gone, tries used up / idle / not wanted" in lines
    assert len(lines) == 1 + len(TRANSITIONS)
