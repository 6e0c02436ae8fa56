"""The state machine of the warm parent: every event in every state, and any sequence of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.runtime.parent_lifecycle import (
    FIRST_PAUSE,
    FIRST_REST,
    LONGEST_PAUSE,
    LONGEST_REST,
    PATIENCE,
    PATIENCE_WHEN_BUILT,
    STABLE,
    Absent,
    Action,
    Event,
    Failed,
    ParentEvent,
    ParentState,
    Ready,
    Resting,
    Starting,
    launches_wait,
    next_state,
)

NOW = 1000.0
CONNECT, NOTIFY = Action.CONNECT, Action.NOTIFY
WHY = "the warm parent ended with status 1"
#: One state of each kind; the rest is over, and the parent was stable.
ABSENT = Absent()
STARTING = Starting(since=990.0, due=995.0, failures=2, losses=1)
READY = Ready(since=NOW - STABLE, losses=3)
RESTING = Resting(until=NOW, why=WHY, failures=2, losses=1)
STATES: tuple[ParentState, ...] = (ABSENT, STARTING, READY, RESTING)
EVENTS: tuple[ParentEvent, ...] = (
    *Event,
    Failed(WHY, holds_missing=False),
    Failed(WHY, holds_missing=True),
)

#: Every transition; any other event changes nothing.
TRANSITIONS: dict[tuple[ParentState, ParentEvent], tuple[ParentState, set[Action]]] = {
    (ABSENT, Event.WANTED): (Starting(NOW, NOW), {CONNECT}),
    (RESTING, Event.WANTED): (Starting(NOW, NOW, WHY, 2, 1), {CONNECT}),
    (STARTING, Event.CONNECTED): (Ready(NOW, 1), {NOTIFY}),
    (STARTING, Failed(WHY, False)): (Resting(NOW + 4.0, WHY, 3, 1), {NOTIFY}),
    (STARTING, Failed(WHY, True)): (
        Starting(990.0, NOW + 4.0, WHY, 3, 1),
        {CONNECT, NOTIFY},
    ),
    (READY, Event.LOST): (Starting(NOW, NOW), {CONNECT, NOTIFY}),
}


@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_every_event_in_every_state(state: ParentState, event: ParentEvent) -> None:
    after, actions = next_state(state, event, NOW)
    expected, wanted = TRANSITIONS.get((state, event), (state, set()))
    assert (after, {*actions}) == (expected, wanted)


def test_rest_is_not_ended_early_by_a_launch() -> None:
    assert next_state(RESTING, Event.WANTED, NOW - 0.1) == (RESTING, ())


def test_rests_double_up_to_the_longest_and_begin_again_after_a_success() -> None:
    state: ParentState = Starting(NOW, NOW)
    rests = []
    for _ in range(100):
        resting, _ = next_state(state, Failed(WHY, holds_missing=False), NOW)
        assert isinstance(resting, Resting)
        rests.append(resting.until - NOW)
        state, _ = next_state(resting, Event.WANTED, resting.until)
    assert rests[:7] == [FIRST_REST * 2**n for n in range(6)] + [LONGEST_REST]
    assert rests[-1] == LONGEST_REST
    ready, _ = next_state(state, Event.CONNECTED, NOW)
    state, _ = next_state(ready, Event.LOST, NOW + STABLE)
    resting, _ = next_state(state, Failed(WHY, holds_missing=False), NOW)
    assert resting == Resting(NOW + FIRST_REST, WHY, 1)


def test_pauses_after_short_lives_double_up_to_the_longest() -> None:
    ready, pauses = Ready(NOW), []
    for _ in range(100):
        starting, _ = next_state(ready, Event.LOST, NOW + STABLE - 0.1)
        assert isinstance(starting, Starting)
        pauses.append(round(starting.due - starting.since, 6))
        found, _ = next_state(starting, Event.CONNECTED, NOW)
        assert isinstance(found, Ready)
        ready = found
    assert pauses[:5] == [
        FIRST_PAUSE,
        2 * FIRST_PAUSE,
        4 * FIRST_PAUSE,
        8 * FIRST_PAUSE,
        LONGEST_PAUSE,
    ]
    assert pauses[-1] == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("state", "waits"),
    [
        (ABSENT, False),
        (STARTING, True),
        (Starting(NOW - PATIENCE, NOW), False),
        (READY, False),
        (RESTING, False),
    ],
)
def test_launches_wait_for_a_start_up_to_a_limit(state: ParentState, waits: bool) -> None:
    assert launches_wait(state, NOW) is waits


@pytest.mark.parametrize(
    ("failures", "waited", "waits"),
    [
        (0, PATIENCE + 1, True),
        (0, PATIENCE_WHEN_BUILT, False),
        (1, PATIENCE - 1, True),
        (1, PATIENCE, False),
    ],
)
def test_launches_wait_longer_for_the_first_imports_of_a_built_environment(
    failures: int, waited: float, waits: bool
) -> None:
    state = Starting(NOW - waited, NOW, failures=failures)
    assert launches_wait(state, NOW, PATIENCE_WHEN_BUILT) is waits


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.floats(0, 200)), max_size=60))
def test_no_sequence_of_events_leads_to_an_invalid_state(
    steps: list[tuple[ParentEvent, float]],
) -> None:
    state: ParentState = ABSENT
    now, connecting = NOW, False
    for event, passed in steps:
        now += passed
        before = state
        state, actions = next_state(state, event, now)
        # An attempt is under way exactly while the state says so: none is forgotten, and no two run.
        if CONNECT in actions:
            connecting = True
        elif not isinstance(state, Starting):
            connecting = False
        assert connecting is isinstance(state, Starting)
        # The controller is told whenever what launches do changes by itself.
        moved = type(state) is not type(before)
        assert not (moved and event is not Event.WANTED) or NOTIFY in actions
        match state:
            case Starting():
                assert state.since <= now
                assert 0 <= state.due - now <= LONGEST_REST or state == before
                assert min(state.failures, state.losses) >= 0
            case Resting():
                assert state.why
                assert state.failures > 0
                assert 0 < state.until - now <= LONGEST_REST or state == before
            case Ready():
                assert state.since <= now
            case Absent():
                assert isinstance(before, Absent)
