"""Whether associations have their known values, and none is found where there is none."""

import numpy as np
import pandas as pd
import pytest

from model_deployment.degradation.data.columns import harmonise
from model_deployment.degradation.statistics.association import association, encoded

N = 2000
CHANCE = np.random.default_rng(0)
NUMBERS = CHANCE.normal(0, 1, N)
NAMES = CHANCE.choice(["a", "b", "c"], N).astype(object)


def between(one: object, other: object) -> float | None:
    sides = []
    for values in (one, other):
        pair = harmonise("x", pd.Series(values), pd.Series(values))
        sides.append(encoded(pair, pair.current, np.arange(N)))
    assert sides[0] is not None
    assert sides[1] is not None
    return association(sides[0], sides[1])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (NUMBERS, np.exp(NUMBERS), 1),
        (NUMBERS, -NUMBERS, -1),
        (NUMBERS, np.where(CHANCE.random(N) < 0.5, np.nan, NUMBERS), 1),
        (NAMES, pd.Series(NAMES).str.upper(), 1),
        (NUMBERS, np.where(NUMBERS > 0, "x", "y"), 0.866),
        (np.where(NUMBERS > 0, "x", "y"), NUMBERS, 0.866),
        (NUMBERS, NUMBERS + CHANCE.normal(0, 1, N), 0.69),
        (NAMES, np.where(CHANCE.random(N) < 0.5, NAMES, CHANCE.permutation(NAMES)), 0.5),
    ],
)
def test_association_has_its_known_value(one: object, other: object, expected: float) -> None:
    assert between(one, other) == pytest.approx(expected, abs=0.05)


def test_no_association_is_found_by_chance() -> None:
    many = [f"name {place % 40}" for place in range(N)]
    columns = [CHANCE.normal(0, 1, N), CHANCE.permutation(many), CHANCE.permutation(NAMES)]
    for one in columns:
        for other in (NUMBERS, NAMES, CHANCE.permutation(many)):
            assert abs(between(one, other) or 0) < 0.12


def test_without_variation_there_is_no_association() -> None:
    assert between(np.ones(N), NUMBERS) is None
    assert between(np.full(N, 7.5), NUMBERS) is None
    assert between(["a"] * N, NAMES) is None
