"""The rules by which runs begin, end, and are written off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from model_deployment_flows.service.decide import (
    CANCEL_GRACE,
    CRASH_AFTER,
    LINGER,
    SLOW_START,
    Ask,
    Explain,
    Finish,
    Kill,
    Living,
    PutBack,
    Run,
    RunState,
    Start,
    TimeUp,
    Wait,
    decide,
)

NOW = 1000.0


def _run(
    state: RunState, name: str = "a", *, since: float = 0.0, due: float = 0.0, owner: str = ""
) -> Run:
    return Run(name, state, since, due, owner or name)


def test_one_run_at_a_time_begins_in_the_order_in_which_they_are_due() -> None:
    runs = [
        _run(RunState.SCHEDULED, name, due=due)
        for name, due in (("late", 9), ("first", 5), ("future", 2000))
    ]
    assert decide(runs, {}, NOW, "") == [Start("first")]
    assert decide(runs, {}, NOW, "no memory") == [Wait("first", "no memory", 5)]
    assert decide(runs, {"other": Living(True, NOW)}, NOW, "") == []


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.RUNNING])
def test_run_without_process_is_crashed_after_a_while_and_the_slot_is_free_then(
    state: RunState,
) -> None:
    runs = [_run(state, since=NOW - CRASH_AFTER + 1), _run(RunState.SCHEDULED, "next")]
    assert decide(runs, {}, NOW, "", {"a"}) == []
    assert decide(runs, {}, NOW + 1, "", {"a"}) == [Finish("a", RunState.CRASHED)]
    # A process that it left behind does not count, but has to end before the next begins.
    assert decide(runs, {"a": Living(False, NOW)}, NOW + 1, "") == [Finish("a", RunState.CRASHED)]
    assert decide(runs[1:], {"a": Living(False, NOW)}, NOW + 1, "") == [Ask("a")]


def test_run_that_never_had_a_process_is_put_back() -> None:
    run = _run(RunState.PENDING, since=NOW - CRASH_AFTER + 1, due=5)
    assert decide([run], {}, NOW, "") == []
    assert decide([run], {}, NOW + 1, "") == [PutBack("a", 5)]
    assert decide([run], {}, NOW + 1, "", {"a"}) == [Finish("a", RunState.CRASHED)]
    running = _run(RunState.RUNNING, since=NOW - CRASH_AFTER)
    assert decide([running], {}, NOW, "") == [Finish("a", RunState.CRASHED)]


def test_process_that_does_not_get_on_is_explained() -> None:
    run, living = _run(RunState.PENDING, since=NOW), {"a": Living(True, NOW)}
    assert decide([run], living, NOW + SLOW_START - 1, "") == []
    assert decide([run], living, NOW + SLOW_START, "") == [Explain("a")]


def test_flow_within_a_flow_lives_in_the_process_of_the_outer_one() -> None:
    outer, inner = _run(RunState.RUNNING), _run(RunState.RUNNING, "inner", owner="a")
    assert decide([outer, inner], {"a": Living(True, NOW)}, NOW, "") == []
    # Without the outer one there is no doubt.
    assert decide([_run(RunState.RUNNING, "inner", since=NOW, owner="a")], {}, NOW, "") == [
        Finish("inner", RunState.CRASHED)
    ]


def test_cancelled_run_is_asked_then_killed_then_written_down() -> None:
    run = _run(RunState.CANCELLING)
    assert decide([run], {"a": Living(True, 0.0)}, NOW, "") == [Ask("a")]
    assert decide([run], {"a": Living(True, NOW, asked=True)}, NOW + CANCEL_GRACE - 1, "") == []
    assert decide([run], {"a": Living(True, NOW, asked=True)}, NOW + CANCEL_GRACE, "") == [
        Kill("a")
    ]
    assert decide([run], {}, NOW, "") == [Finish("a", RunState.CANCELLED)]


def test_run_that_goes_on_for_too_long_is_asked_then_killed_and_gives_its_slot_back() -> None:
    runs = [_run(RunState.RUNNING), _run(RunState.SCHEDULED, "next")]
    inner = _run(RunState.RUNNING, "inner", owner="a")
    living = Living(True, NOW, began=NOW - 60)
    assert decide([*runs, inner], {"a": living}, NOW - 1, "", most_time=60) == []
    assert decide([*runs, inner], {"a": living}, NOW, "", most_time=60) == [TimeUp("a")]
    assert decide([_run(RunState.PENDING)], {"a": living}, NOW, "", most_time=60) == [TimeUp("a")]
    asked = replace(living, asked=True)
    assert decide(runs, {"a": asked}, NOW + CANCEL_GRACE - 1, "", most_time=60) == []
    assert decide(runs, {"a": asked}, NOW + CANCEL_GRACE, "", most_time=60) == [Kill("a")]
    # Its end is written down, and the next one begins.
    assert decide(runs, {}, NOW, "", most_time=60) == [Finish("a", RunState.CRASHED)]
    assert decide(runs[1:], {}, NOW, "", most_time=60) == [Start("next")]


def test_process_that_outlives_its_run_is_ended() -> None:
    assert decide([], {"a": Living(True, NOW)}, NOW + LINGER - 1, "") == []
    assert decide([], {"a": Living(True, NOW)}, NOW + LINGER, "") == [Ask("a")]
    assert decide([], {"a": Living(True, NOW, asked=True)}, NOW + CANCEL_GRACE, "") == [Kill("a")]
