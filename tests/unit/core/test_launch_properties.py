"""What holds for every row of a launch and every observation."""

from dataclasses import replace

from hypothesis import given

from model_deployment.core.actions import (
    CheckBatching,
    Forget,
    GiveUp,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    Start,
    Stop,
    Switch,
    Vacate,
)
from model_deployment.core.domain import (
    Deployment,
    Desired,
    Launch,
    LaunchRole,
    LaunchState,
    State,
    Step,
)
from model_deployment.core.launch_lifecycle import check, decide_launch
from tests.support.rows import observations, only, policies, replicated_rows, rows, times


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


#: A failed or parked deployment is settled elsewhere.
WITH_LAUNCH = [State.PENDING, State.STARTING, State.READY, State.STOPPING]


@given(rows(WITH_LAUNCH), observations, times, policies)
def test_nothing_rests_parked_that_is_not_to_be(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    action = decide_launch(before, only(before), seen, now, policy)
    if isinstance(action, Vacate) and action.state is State.PARKED:
        assert before.parking


@given(rows([State.READY, State.STARTING], [Desired.RUNNING]), observations, times, policies)
def test_what_is_stopped_by_a_signal_is_ended_by_the_last_one(
    before: Deployment, seen: Observation, now: float, policy: Policy
) -> None:
    seen = replace(seen, suspended=True, exit=None, closing=False)
    action = decide_launch(before, only(before), seen, now, policy)
    assert isinstance(action, Stop)
    assert action.step is Step.KILL
    assert action.kills > 0
