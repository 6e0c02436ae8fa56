"""Whether any two columns can be compared, or are skipped with a reason."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.degradation.data.columns import (
    CATEGORY,
    NUMBER,
    SKIPPED,
    TIME,
    harmonise,
    types,
)
from tests.support.report_jobs import HOSTILE

REAL = pd.Series(np.linspace(0, 1, 40))


def series(values: Any) -> "pd.Series[Any]":
    return pd.Series(values, dtype=object)


def test_numbers_as_text_are_numbers() -> None:
    column = harmonise("a", REAL, series([f"{i / 40}" for i in range(39)] + ["much"]), "double")
    assert (column.kind, column.current.unreadable, column.current.missing) == (NUMBER, 1, 1)


def test_numbers_as_text_are_numbers_without_a_signature_too() -> None:
    column = harmonise("a", series([f"{i / 8}" for i in range(40)]), REAL)
    assert column.kind == NUMBER
    assert column.skipped is None


@pytest.mark.parametrize("token", ["?", "NA", "", " n/a ", "null", "#N/A", "<NA>"])
def test_texts_for_missing_values_are_missing(token: str) -> None:
    column = harmonise("a", REAL, series([*(i / 8 for i in range(39)), token]), "double")
    assert (column.current.tokens, column.current.unreadable) == (1, 0)
    assert column.current.missing == 1


def test_infinite_values_are_missing() -> None:
    column = harmonise("a", REAL, pd.Series([np.inf, -np.inf, np.nan, *range(37)]), "double")
    assert (column.current.infinite, column.current.missing) == (2, 3)


def test_nullable_integers_are_numbers() -> None:
    now = pd.array([*range(38), None, None], dtype="Int64")
    column = harmonise("a", REAL, pd.Series(now), "long")
    assert (column.kind, column.current.missing) == (NUMBER, 2)


def test_few_whole_numbers_are_categories() -> None:
    column = harmonise("a", series([0, 1, 2] * 10), series(["0", "1", "2"] * 10), "long")
    assert (column.kind, column.categories) == (CATEGORY, ("0", "1", "2"))


def test_numbers_that_arrive_as_a_category_have_one_spelling() -> None:
    column = harmonise("a", series(["1", "2", "x"] * 10), series([1, 2.0, "x"] * 10), "string")
    assert column.categories == ("1", "2", "x")


def test_truth_has_one_spelling() -> None:
    column = harmonise("a", pd.Series([True, False]), series([np.bool_(True), None]), "boolean")
    assert column.categories == ("true", "false")
    assert column.current.missing == 1


def test_truth_may_be_written_in_words() -> None:
    column = harmonise("a", series(["yes", "No", "Y"] * 20), series([True, False, 1.0]), "boolean")
    assert column.categories == ("true", "false")


def test_rounding_noise_makes_no_other_value() -> None:
    before = [0.1 * 3, 0.7, 1 - 0.9, -1e-9, 2.0, 1e17, 5e-324, np.inf]
    now = [0.3, 0.7000000000000001, 0.1, -1.0000000000000001e-9, 2 - 2e-16, 1e17, 5e-324, np.inf]
    column = harmonise("a", pd.Series(before), pd.Series(now), "double")
    assert column.reference.present.tolist() == column.current.present.tolist()
    other = harmonise("a", pd.Series(before), pd.Series(now) * (1 + 1e-9), "double")
    assert not np.isin(other.current.present[:-2], other.reference.present).any()
    whole = np.arange(-5000, 5000) * 7.0
    assert harmonise("a", pd.Series(whole), REAL, "double").reference.values.tolist() == [*whole]


@pytest.mark.parametrize("type", ["array", "object", "map", "any", "binary"])
def test_nested_types_are_skipped(type: str) -> None:
    assert harmonise("a", REAL, REAL, type).kind == SKIPPED


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], (1,), Decimal("1.5"), 3 + 2j, object, b"x"])
@pytest.mark.parametrize("type", ["string", "double", None])
def test_harmonise_takes_any_value(value: Any, type: str | None) -> None:
    column = harmonise("a", series([value] * 40), series([value, None] * 20), type)
    assert column.kind in (CATEGORY, NUMBER)


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (None, REAL, "the reference does not have this column"),
        (REAL, None, "the captured requests do not have this column"),
        (None, None, "neither table has this column"),
        (series([None] * 40), REAL, "it has no values in the reference"),
        (REAL, series([np.nan] * 40), "it has no values now"),
        (REAL, pd.Series([np.inf] * 40), "it has no values now"),
        (series([]), REAL, "it has no values in the reference"),
    ],
)
def test_incomparable_column_is_skipped_with_a_reason(before: Any, now: Any, why: str) -> None:
    assert harmonise("a", before, now).skipped == why


def test_free_text_is_skipped() -> None:
    texts = [series([f"{side} {i}" for i in range(100)]) for side in "ab"]
    assert "free text" in (harmonise("a", texts[0], texts[1], "string").skipped or "")


def test_times_are_not_compared() -> None:
    column = harmonise(
        "a", series(["2026-01-01", "never"]), pd.Series([pd.Timestamp(0)]), "datetime"
    )
    assert (column.kind, column.skipped) == (TIME, "timestamps always increase")
    assert column.reference.missing == 1


def test_category_names_are_cut_and_encodable() -> None:
    column = harmonise("a", series(["x" * 500, "\ud800"]), series([HOSTILE]), "string")
    assert [len(name) for name in column.categories] == [81, 1, len(HOSTILE)]
    assert all(name.encode() for name in column.categories)


def test_types_of_a_signature() -> None:
    named = {"name": "a", "type": "double"}
    assert types([named, {"type": "tensor"}, {"name": "t", "type": "tensor"}]) == {"a": "double"}
