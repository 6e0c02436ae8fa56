"""When a target is left out, and when it is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.proxy.standing import (
    ERRORS_IN_ROW,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Standing,
    Tally,
)


def standings(number: int = 2) -> list[Standing]:
    """Targets of one deployment."""
    tally = Tally()
    return [Standing(tally) for _ in range(number)]


def test_a_target_that_breaks_is_left_out_until_it_answers() -> None:
    (one,) = standings(1)
    assert one.left_out_until is None
    one.broke(10.0)
    assert one.left_out_until == 10.0 + FIRST_PAUSE
    one.answered(200, 10.1)
    assert one.left_out_until is None


def test_pauses_double_up_to_a_limit() -> None:
    (one,) = standings(1)
    now, pauses = 100.0, []
    for _ in range(9):
        one.broke(now)
        assert one.left_out_until is not None
        pauses.append(one.left_out_until - now)
        now = one.left_out_until
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_calls_that_were_under_way_make_the_pause_no_longer() -> None:
    (one,) = standings(1)
    for _ in range(10):
        one.broke(5.0)
    assert one.left_out_until == 5.0 + FIRST_PAUSE


def test_a_target_that_answers_now_and_then_keeps_its_pause() -> None:
    (one,) = standings(1)
    one.broke(100.0)
    one.answered(200, 101.0)
    one.broke(102.0)
    assert one.left_out_until == 102.0 + 2 * FIRST_PAUSE
    one.answered(200, 103.0)
    one.broke(1000.0)
    assert one.left_out_until == 1000.0 + FIRST_PAUSE


def test_another_launch_begins_anew() -> None:
    (one,) = standings(1)
    one.broke(100.0)
    one.reset()
    assert one.left_out_until is None
    one.broke(101.0)
    assert one.left_out_until == 101.0 + FIRST_PAUSE


def test_a_target_that_alone_answers_errors_is_left_out_until_a_good_answer() -> None:
    bad, good = standings()
    for n in range(ERRORS_IN_ROW):
        assert bad.left_out_until is None
        good.answered(200, n)
        bad.answered(500, n)
    until = bad.left_out_until
    assert until == pytest.approx(ERRORS_IN_ROW - 1 + FIRST_PAUSE)
    bad.answered(500, 6.0)
    assert bad.left_out_until == 6.0 + 2 * FIRST_PAUSE
    bad.answered(422, 9.0)
    assert bad.left_out_until is None
    assert good.left_out_until is None


def test_errors_that_all_targets_answer_leave_none_out() -> None:
    targets = standings(3)
    for n in range(100):
        for one in targets:
            one.answered(500, n)
    assert [one.left_out_until for one in targets] == [None] * 3


def test_a_single_target_is_not_left_out_for_errors() -> None:
    (one,) = standings(1)
    for n in range(100):
        one.answered(500, n)
    assert one.left_out_until is None


def test_a_broken_target_that_answers_an_error_is_tried_further() -> None:
    one, _ = standings()
    one.broke(1.0)
    one.answered(500, 2.0)
    assert one.left_out_until is None


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0, 200, 404, 500, 503]), st.floats(0, 100))
    )
)
def test_a_pause_is_never_longer_than_the_longest(
    steps: list[tuple[int, int, float]],
) -> None:
    targets, now = standings(3), 0.0
    for which, status, passed in steps:
        now += passed
        if status:
            targets[which].answered(status, now)
        else:
            targets[which].broke(now)
        until = targets[which].left_out_until
        assert until is None or until <= now + LONGEST_PAUSE
        if 0 < status < 500:
            assert until is None
