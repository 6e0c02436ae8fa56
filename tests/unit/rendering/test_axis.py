"""Where an axis begins and ends, and where its lines are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.rendering import axis

FINITE = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(st.lists(FINITE, min_size=1, max_size=5))
def test_ticks_are_few_even_and_within_the_axis(values: list[float]) -> None:
    low, high = axis.edges(values)
    ticks = axis.ticks(low, high)
    slack = 1e-5 * (high - low)
    assert 2 <= len(ticks) <= 6
    assert low - slack <= ticks[0]
    assert ticks[-1] <= high + slack
    steps = [after - before for before, after in pairwise(ticks)]
    assert max(steps) - min(steps) <= slack


@pytest.mark.parametrize(
    ("high", "ticks"),
    [(1.0, (0, 0.25, 0.5, 0.75, 1)), (150.0, (0, 50, 100, 150)), (8.0, (0, 2, 4, 6, 8))],
)
def test_ticks_are_round(high: float, ticks: tuple[float, ...]) -> None:
    assert axis.ticks(0, high) == ticks
