"""Whether the tests of drift see what is there, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from model_deployment.degradation.columns import harmonise
from model_deployment.degradation.drift import Score as Result
from model_deployment.degradation.drift import (
    adjusted,
    binned,
    categorical,
    kolmogorov_smirnov,
    merge,
    psi,
    score,
)


def numbers(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, n)


def scored(before: np.ndarray, now: np.ndarray) -> Result:
    result = score(harmonise("a", pd.Series(before), pd.Series(now)))
    assert isinstance(result, Result)
    return result


@pytest.mark.parametrize(("n", "m"), [(30, 30), (50, 2000), (900, 900)])
@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
def test_kolmogorov_smirnov_says_what_scipy_says(n: int, m: int, shift: float) -> None:
    before, now = numbers(m, 1), numbers(n, 2, shift)
    ours, theirs = kolmogorov_smirnov(before, now), stats.ks_2samp(before, now, method="exact")
    assert ours.score == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.35, abs=1e-4)


def test_chi_square_says_what_scipy_says() -> None:
    table = np.array([[50, 30, 20], [40, 45, 15]])
    theirs = stats.chi2_contingency(table, correction=False)
    assert categorical(table, "chi_square").p_value == pytest.approx(theirs.pvalue)
    assert categorical(table, "chi_square").score == pytest.approx(0.15)


def test_benjamini_hochberg_says_what_scipy_says() -> None:
    chances = [0.2, 0.001, 0.03, 0.04, 0.9]
    assert adjusted(chances) == pytest.approx(stats.false_discovery_control(chances))
    assert adjusted([]) == []


@pytest.mark.parametrize(
    ("n", "method"), [(29, None), (30, "ks"), (999, "ks"), (1000, "psi"), (5000, "psi")]
)
def test_the_method_goes_by_the_smaller_side(n: int, method: str | None) -> None:
    column = harmonise("a", pd.Series(numbers(5000, 1)), pd.Series(numbers(n, 2)))
    result = score(column)
    assert (result.method if isinstance(result, Result) else None) == method


@pytest.mark.parametrize("n", [30, 100, 300, 1000, 5000])
def test_what_has_not_moved_is_no_drift(n: int) -> None:
    found = [scored(numbers(2000, 2 * i), numbers(n, 2 * i + 1)) for i in range(60)]
    assert sum(one.p_value < 0.01 and one.notable for one in found) <= 3


@pytest.mark.parametrize("n", [300, 1000])
def test_one_standard_deviation_is_large(n: int) -> None:
    result = scored(numbers(2000, 1), numbers(n, 2, 1.0))
    assert result.large
    assert result.p_value < 1e-9


def test_many_categories_do_not_drift_by_chance() -> None:
    chance = np.random.default_rng(0)
    names = [f"v{i}" for i in range(400)]
    for n in (100, 3000):
        before, now = (pd.Series(chance.choice(names, size)) for size in (3000, n))
        result = score(harmonise("a", before, now, "string"))
        assert isinstance(result, Result)
        assert result.p_value > 0.001


def test_one_rare_value_is_no_wonder() -> None:
    table = merge(np.array([9000, 1000, 1]), np.array([27, 3, 1]))
    assert categorical(table, "chi_square").p_value > 0.05


def test_nothing_but_rare_values_is_one_category() -> None:
    assert merge(np.array([1, 2, 1]), np.array([1, 1, 1])).shape == (2, 1)
    assert categorical(np.array([[40], [30]]), "psi") == Result("psi", 0.0, 1.0)


def test_a_heap_of_equal_values_is_a_bin_of_its_own() -> None:
    before = np.concatenate([np.zeros(900), numbers(100, 1, 9)])
    now = np.concatenate([np.zeros(500), numbers(500, 2, 9)])
    assert psi(binned(before, now)) > 0.5
    assert psi(binned(before, before)) == pytest.approx(0)
