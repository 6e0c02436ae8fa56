"""Whether the tests of drift see what is there, and nothing else."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from model_deployment.degradation.data.columns import harmonise
from model_deployment.degradation.statistics.drift import (
    DriftScore,
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


def scored(before: np.ndarray, now: np.ndarray) -> DriftScore:
    result = score(harmonise("a", pd.Series(before), pd.Series(now)))
    assert isinstance(result, DriftScore)
    return result


@pytest.mark.parametrize(("n", "m"), [(30, 30), (50, 2000), (900, 900)])
@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
def test_kolmogorov_smirnov_agrees_with_scipy(n: int, m: int, shift: float) -> None:
    before, now = numbers(m, 1), numbers(n, 2, shift)
    ours, theirs = kolmogorov_smirnov(before, now), stats.ks_2samp(before, now, method="exact")
    assert ours.score == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.45, abs=1e-4)


def test_chi_square_agrees_with_scipy() -> None:
    table = np.array([[50, 30, 20], [40, 45, 15]])
    theirs = stats.chi2_contingency(table, correction=False)
    assert categorical(table, "chi_square").p_value == pytest.approx(theirs.pvalue)
    assert categorical(table, "chi_square").score == pytest.approx(0.15)


def test_benjamini_hochberg_agrees_with_scipy() -> None:
    p_values = [0.2, 0.001, 0.03, 0.04, 0.9]
    assert adjusted(p_values) == pytest.approx(stats.false_discovery_control(p_values))
    assert adjusted([]) == []


@pytest.mark.parametrize(
    ("n", "method"), [(29, None), (30, "ks"), (999, "ks"), (1000, "psi"), (5000, "psi")]
)
def test_method_depends_on_the_smaller_sample(n: int, method: str | None) -> None:
    column = harmonise("a", pd.Series(numbers(5000, 1)), pd.Series(numbers(n, 2)))
    result = score(column)
    assert (result.method if isinstance(result, DriftScore) else None) == method


@pytest.mark.parametrize("n", [30, 100, 300, 1000, 5000])
def test_unmoved_column_has_not_drifted(n: int) -> None:
    found = [scored(numbers(2000, 2 * i), numbers(n, 2 * i + 1)) for i in range(60)]
    assert sum(one.drifted for one in found) <= 3


@pytest.mark.parametrize("n", [300, 1000])
def test_shift_of_one_standard_deviation_is_large(n: int) -> None:
    result = scored(numbers(2000, 1), numbers(n, 2, 1.0))
    assert result.alarming
    assert result.p_value < 1e-9


def test_many_categories_do_not_drift_by_chance() -> None:
    chance = np.random.default_rng(0)
    names = [f"v{i}" for i in range(400)]
    for n in (100, 3000):
        before, now = (pd.Series(chance.choice(names, size)) for size in (3000, n))
        result = score(harmonise("a", before, now, "string"))
        assert isinstance(result, DriftScore)
        assert result.p_value > 0.001


def test_rare_value_is_not_significant() -> None:
    table = merge(np.array([9000, 1000, 1]), np.array([27, 3, 1]))
    assert categorical(table, "chi_square").p_value > 0.05


def test_rare_values_alone_are_one_category() -> None:
    assert merge(np.array([1, 2, 1]), np.array([1, 1, 1])).shape == (2, 1)
    assert categorical(np.array([[40], [30]]), "psi") == DriftScore("psi", 0.0, 1.0)


def test_frequent_value_is_a_bin_of_its_own() -> None:
    before = np.concatenate([np.zeros(900), numbers(100, 1, 9)])
    now = np.concatenate([np.zeros(500), numbers(500, 2, 9)])
    assert psi(binned(before, now)) > 0.5
    assert psi(binned(before, before)) == pytest.approx(0)
