"""What predictions are like in a few figures, and how far two samples are apart."""

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.devices.predictions import FEWEST, difference, summary, values_of


def test_values_of_captures_are_taken_row_by_row_up_to_a_limit() -> None:
    captures = [[1, 2.5], ["cat"], [[3]], None, {"a": 1}, [[1, 2]], [{"p": 1}], [True]]
    assert values_of(captures, 100) == [1, 2.5, "cat", 3, True]
    assert values_of(captures, 3) == [1, 2.5, "cat"]


def test_numbers_are_summed_up() -> None:
    values = [float(n) for n in range(101)]
    found = summary(values)
    assert found is not None
    assert (found["count"], found["mean"], found["min"], found["max"]) == (101, 50.0, 0.0, 100.0)
    assert found["std"] == pytest.approx(statistics.pstdev(values))
    assert found["quantiles"] == {"0.05": 5, "0.25": 25, "0.5": 50, "0.75": 75, "0.95": 95}


def test_infinite_predictions_are_left_out() -> None:
    found = summary([1.0, float("nan"), float("inf"), 3.0])
    assert found is not None
    assert (found["count"], found["mean"]) == (2, 2.0)


def test_most_frequent_classes_have_their_shares() -> None:
    values = ["a"] * 50 + ["b"] * 30 + [f"c{n}" for n in range(20)]
    found = summary(values)
    assert found is not None
    assert (found["count"], found["classes"], len(found["shares"])) == (100, 22, 10)
    assert (found["shares"]["a"], found["shares"]["b"], found["shares"]["c0"]) == (0.5, 0.3, 0.01)


def test_classes_are_called_alike_wherever_they_come_from() -> None:
    assert summary([True, "true", 1.0, "1", 1])["shares"] == {"true": 0.4, "1": 0.6}  # type: ignore[index]


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_nothing_is_said_of_no_predictions(values: list[Any]) -> None:
    assert summary(values) is None


def test_alike_samples_are_not_apart_and_disjoint_ones_are_wholly() -> None:
    low, high = [n / 100 for n in range(100)], [5 + n / 100 for n in range(100)]
    assert difference(low, low) == (0.0, "predictions are alike")
    assert difference(low, high) == (
        1.0, "predictions on devices differ much from those on the server",
    )  # fmt: skip
    apart, why = difference(["a"] * 60 + ["b"] * 40, ["a"] * 40 + ["b"] * 60)
    assert apart == pytest.approx(0.2)
    assert why == "predictions on devices differ somewhat from those on the server"


def test_shifted_numbers_are_as_far_apart_as_the_largest_gap_of_their_shares() -> None:
    apart, _ = difference([float(n) for n in range(100)], [float(n) for n in range(25, 125)])
    assert apart == pytest.approx(0.25)


def test_too_few_predictions_are_not_compared() -> None:
    assert difference([1.0] * (FEWEST - 1), [1.0] * 100) == (
        None, "too few predictions to compare: 29 on devices, 100 on the server, of 30 each",
    )  # fmt: skip


def test_numbers_are_not_compared_with_classes() -> None:
    apart, why = difference([1.0] * 50, ["a"] * 50)
    assert (apart, why) == (None, "predictions are numbers in one place, and classes in the other")


samples = st.lists(st.floats(-5, 5), min_size=FEWEST, max_size=60) | st.lists(
    st.sampled_from("abc"), min_size=FEWEST, max_size=60
)


@given(samples, samples)
def test_difference_is_a_share_and_symmetric(some: list[Any], others: list[Any]) -> None:
    apart, _ = difference(some, others)
    back, _ = difference(others, some)
    assert apart == (None if back is None else pytest.approx(back))
    assert apart is None or 0 <= apart <= 1
