"""The rows that drift comes from: what has become frequent, and which rows have it."""

import math
from bisect import bisect_right
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.datasets.drifted import frequent_now, selector


def histogram(name: str, before: list[int], now: list[int], **more: Any) -> dict[str, Any]:
    edges = [float(edge) for edge in range(len(before) + 1)]
    sides = {
        side: {"histogram": {"edges": edges, "counts": counts}}
        for side, counts in (("reference", before), ("current", now))
    }
    return {"name": name, "drifted": True, **sides, **more}


def bars(name: str, before: dict[str, int], now: dict[str, int]) -> dict[str, Any]:
    sides = {
        side: {
            "rows": sum(counts.values()),
            "missing": 0,
            "top": [[*one] for one in counts.items()],
        }
        for side, counts in (("reference", before), ("current", now))
    }
    return {"name": name, "drifted": True, **sides}


def kinds(column: dict[str, Any]) -> set[Any]:
    (found,) = frequent_now({"columns": [column]})
    return {*found.kinds}


@pytest.mark.parametrize(
    ("before", "now", "bins"),
    [
        ([90, 10, 0], [10, 10, 80], {2}),
        ([50, 50], [60, 40], {0}),  # no share has doubled: the one that rose most
        ([10, 80, 10], [30, 40, 30], {0, 2}),
        ([100, 0], [1000, 0], {0}),
    ],
)
def test_bins_that_have_become_frequent(before: list[int], now: list[int], bins: set[int]) -> None:
    assert kinds(histogram("x", before, now)) == bins


def test_categories_that_have_become_frequent() -> None:
    assert kinds(bars("c", {"a": 90, "b": 10, "c": 0}, {"a": 50, "b": 30, "c": 20})) == {"b", "c"}


def test_columns_that_have_not_drifted_or_have_no_picture_are_left_out() -> None:
    report = {
        "columns": [
            histogram("same", [1, 1], [1, 1], drifted=False),
            {"name": "plain", "drifted": True, "reference": {}, "current": {}},
        ],
        "prediction": None,
    }
    assert frequent_now(report) == []
    assert frequent_now({"verdict": "error", "reasons": []}) == []


def test_rows_name_the_columns_that_they_are_there_for() -> None:
    report = {
        "columns": [
            histogram("x", [90, 10], [10, 90]),
            bars("c", {"a": 9, "1": 1}, {"a": 1, "1": 9}),
        ],
        "prediction": histogram("__prediction", [1, 0], [0, 1]),
    }
    select = selector(frequent_now(report))
    names = ["other", "x", "c"]
    assert select(names, [0, 1.5, 1.0], [1.9]) == ["x", "c", "prediction"]
    assert select(names, [0, 0.5, "a"], {"y": 0.1}) == []
    # Values beyond the ends are in the last bins; what is no number is in none.
    assert select(names, [0, 1e9, None], None) == ["x"]
    assert select(names, [0, -1e9, True], [1, 2]) == []
    assert select(names, [0, "much", None], math.nan) == []


@given(
    counts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=24),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_value_is_in_the_bin_of_the_histogram(
    counts: list[tuple[int, int]], value: float
) -> None:
    before, now = ([one[side] for one in counts] for side in (0, 1))
    (found,) = frequent_now({"columns": [histogram("x", before, now)]})
    edges = [*range(len(counts) + 1)]
    place = bisect_right(edges, min(max(value, 0), len(counts))) - 1
    assert found.has(value) == (min(place, len(counts) - 1) in found.kinds)
