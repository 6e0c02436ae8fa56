"""Whether faults that were planted in the data are found, and none where there are none."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.degradation.data.columns import harmonise
from model_deployment.degradation.statistics import quality
from tests.support.report_jobs import frame

N = 200
REAL = np.linspace(0, 1, N)
NAMES = np.array(["x", "y"] * (N // 2), dtype=object)


def codes(before: Any, now: Any) -> list[str]:
    sides = [None if one is None else pd.Series(one) for one in (before, now)]
    return [f"{one.code}:{one.severity.name}" for one in quality.findings(harmonise("a", *sides))]


def changed(values: np.ndarray, share: float, value: Any) -> np.ndarray:
    result = values.astype(object)
    result[: int(share * len(result))] = value
    return result


@pytest.mark.parametrize(
    ("before", "now", "code"),
    [
        (REAL, None, "column_missing:ERROR"),
        (None, REAL, "column_added:INFO"),
        (REAL, changed(REAL, 1, None), "column_empty:ERROR"),
        (REAL, changed(REAL, 0.1, None), "missing_rose:WARNING"),
        (REAL, changed(REAL, 0.3, None), "missing_rose:ERROR"),
        (REAL, changed(REAL, 0.1, "?"), "missing_tokens:WARNING"),
        (REAL, changed(REAL, 0.05, np.inf), "infinite:WARNING"),
        (NAMES, changed(NAMES, 0.1, "new"), "new_categories:WARNING"),
        (NAMES, changed(NAMES, 1, "x"), "gone_categories:INFO"),
        (REAL, REAL + 0.2, "out_of_range:WARNING"),
        (REAL, changed(REAL, 1, 0.5), "column_constant:ERROR"),
        (NAMES, changed(NAMES, 0.98, "x"), "nearly_constant:WARNING"),
    ],
)
def test_fault_is_found(before: Any, now: Any, code: str) -> None:
    assert code in codes(before, now)


def test_texts_in_a_column_of_numbers_are_found() -> None:
    column = harmonise("a", pd.Series(REAL), pd.Series(changed(REAL, 0.1, "much")), "double")
    assert "not_numbers" in [one.code for one in quality.findings(column)]


def test_fault_of_the_reference_too_is_no_fault() -> None:
    for values in (changed(REAL, 0.3, None), changed(REAL, 0.1, "?"), changed(REAL, 1, 0.5)):
        assert codes(values, values) == []


@pytest.mark.parametrize("n", [30, 100, 1000])
def test_second_sample_has_no_serious_fault(n: int) -> None:
    for seed in range(40):
        before, now = frame(500, 2 * seed), frame(n, 2 * seed + 1)
        for name in before:
            found = quality.findings(harmonise(name, before[name], now[name]))
            assert [one for one in found if one.severity == 2] == []


def test_repeated_rows_are_found() -> None:
    before, now = frame(100), pd.concat([frame(20)] * 5)
    columns = [harmonise(name, before[name], now[name]) for name in before]
    assert [one.code for one in quality.duplicates(columns)] == ["duplicates"]
    same = [harmonise(name, before[name], before[name]) for name in before]
    assert quality.duplicates(same) == []
    assert quality.duplicates([]) == []
