"""Windows of a series: in the order of time, and without anything made up."""

import numpy as np
import pandas as pd
import pytest
from model_deployment_flows.experiment import UnusableData
from model_deployment_flows.series.windows import (
    even_series,
    longest_stretch,
    season_of,
    windows_of,
)

NAN = float("nan")


def series(times: object, values: object = None) -> list[float]:
    given = pd.Series(times)
    numbers = pd.Series(range(len(given)) if values is None else values)
    found: list[float] = even_series(given, numbers).tolist()
    return found


def test_values_are_in_the_order_of_time() -> None:
    assert series(["2026-01-03", "2026-01-01", "2026-01-02"]) == [1, 2, 0]
    assert series([30, 10, 20]) == [1, 2, 0]


def test_a_gap_in_time_is_a_missing_value() -> None:
    days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-06"]
    assert np.array_equal(series(days), [0, 1, 2, NAN, NAN, 3], equal_nan=True)


def test_months_are_evenly_spaced_though_they_differ() -> None:
    months = pd.date_range("2020-01-01", periods=60, freq="MS")
    assert series(months) == [*range(60)]
    without = months.delete(30)
    assert np.isnan(series(without)).sum() == 1


def test_what_is_no_number_is_missing() -> None:
    values = ["1", "x", None, float("inf"), 2]
    found = series(range(5), values)
    assert np.array_equal(found, [1, NAN, NAN, NAN, 2], equal_nan=True)


@pytest.mark.parametrize(
    ("times", "why"),
    [
        (["2026-01-01", "2026-01-01", "2026-01-02"], "2026-01-01 occurs twice"),
        (["2026-01-01", None, "2026-01-03"], "has no time"),
        (["2026-01-01", "soon", "2026-01-03"], "cannot read the times"),
        ([0, 10, 20, 35, 50, 58], "not evenly spaced"),
        ([0, 1, 2, 100_000], "99 % of the times"),
    ],
)
def test_times_that_make_no_series_are_refused(times: object, why: str) -> None:
    with pytest.raises(UnusableData, match=why):
        series(times)


def test_windows_do_not_reach_across_a_gap() -> None:
    X, y = windows_of(np.array([0, 1, 2, NAN, 4, 5, 6, 7.0]), 2, 1)
    assert X.to_numpy().tolist() == [[0, 1], [4, 5], [5, 6]]
    assert y.to_numpy().tolist() == [[2], [6], [7]]
    assert [*X.columns, *y.columns] == ["value_1", "value_2", "step_1"]
    with pytest.raises(UnusableData, match="no 4 values in a row"):
        windows_of(np.array([0, 1, 2, NAN, 4.0]), 2, 2)


def test_windows_are_joined_to_the_series_again() -> None:
    values = np.arange(20.0)
    X, _ = windows_of(np.concatenate([values, [NAN], values[:6]]), 4, 1)
    assert longest_stretch(X.to_numpy()).tolist() == values[:-1].tolist()


def test_the_season_is_found() -> None:
    days = np.arange(200)
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    for season in (1, 5, 7, 12):
        wave = np.sin(2 * np.pi * days / season) if season > 1 else days / 10
        X, _ = windows_of(wave + noise, 30, 1)
        assert season_of(X.to_numpy(), 20) == season
