"""The moves of a launch: which are legal, and how the diagram shows them."""

import itertools

from model_deployment.core.domain import LaunchState
from model_deployment.core.launch_lifecycle import TRANSITIONS, check, diagram


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
