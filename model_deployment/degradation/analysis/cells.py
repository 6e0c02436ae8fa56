"""The cells of one column of one table: which are missing, and what the others hold."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from model_deployment.degradation.data.columns import is_token, to_numbers
from model_deployment.gate.csv_text import MISSING

#: What the cells of a column hold.
NUMBERS, TRUTHS, TIMES, TEXTS, NESTED, NOTHING = (
    "numbers",
    "truth values",
    "times",
    "texts",
    "nested values",
    "nothing",
)
#: The types by which columns are harmonised.
TYPES = {NUMBERS: "double", TRUTHS: "boolean", TIMES: "datetime", TEXTS: "string", NOTHING: None}
_TRUTHS = {"true", "false"}
#: How a text begins that is a time: ISO 8601.
_TIME = re.compile(r"\s*\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}|\s*$)")
#: Texts that are looked at to find whether a column holds times.
_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Cells:
    #: Missing ones are None or NaN.
    values: "pd.Series[Any]"
    holds: str
    #: How often each text occurs that the experiment reads as missing, without the empty text.
    listed: dict[str, int]
    #: How often each text occurs that looks like a missing value and is not listed.
    unlisted: dict[str, int]

    @property
    def missing(self) -> int:
        return int(self.values.isna().sum())


def read_cells(values: "pd.Series[Any]", missing_values: Collection[str]) -> Cells:
    """Find the missing cells of a column, and what the others hold."""
    if isinstance(values.dtype, pd.CategoricalDtype | pd.PeriodDtype):
        values = values.astype(object) if values.dtype.name == "category" else values.astype(str)
    if not _textual(values):
        return Cells(values, _of_dtype(values), {}, {})
    values = values.astype(object)
    is_listed = values.isin({*missing_values, *MISSING})
    listed = values[is_listed & (values != "")].value_counts()
    values = values.mask(is_listed | values.isna(), None)
    if (plain := _as_numbers(values)) is not None:
        return Cells(plain, NUMBERS, _counts(listed), {})
    distinct = [one for one in values.dropna().unique() if is_token(one)]
    unlisted = values[values.isin(distinct)].value_counts()
    if len(unlisted):
        values = values.mask(values.isin(unlisted.index), None)
        if (plain := _as_numbers(values)) is not None:
            return Cells(plain, NUMBERS, _counts(listed), _counts(unlisted))
    holds = _of_objects(values.dropna())
    if holds == TRUTHS:  # CSV writes True where Parquet has a truth value
        values = values.map(lambda one: str(one).lower() == "true", na_action="ignore")
    return Cells(values, holds, _counts(listed), _counts(unlisted))


def _as_numbers(values: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """The cells as numbers; None if one is something else, or all are missing."""
    present = values.dropna()
    if present.empty or any(isinstance(one, bool) for one in present.iloc[:_LOOKED_AT]):
        return None
    if pd.isna(to_numbers(present.iloc[:_LOOKED_AT])).any():
        return None
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    else:
        numbers = pd.Series(to_numbers(values), index=values.index)
    return None if (numbers.isna() & values.notna()).any() else numbers


def unreadable(cells: Cells) -> "pd.Series[Any]":
    """The cells that are not numbers."""
    present = cells.values.dropna()
    return present[pd.isna(to_numbers(present))]


def is_binary(cells: Cells) -> bool:
    """Whether a column of numbers or truth values holds two values at most, 0 and 1."""
    return cells.holds == TRUTHS or set(cells.values.dropna().unique()) <= {0, 1}


def _counts(found: "pd.Series[Any]") -> dict[str, int]:
    return {str(text): int(count) for text, count in found.items()}


def _textual(values: "pd.Series[Any]") -> bool:
    return bool(values.dtype == object or pd.api.types.is_string_dtype(values.dtype))


def _of_dtype(values: "pd.Series[Any]") -> str:
    if not values.notna().any():
        return NOTHING
    if pd.api.types.is_bool_dtype(values.dtype):
        return TRUTHS
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return TIMES
    plain = pd.api.types.is_numeric_dtype(values.dtype) and values.dtype.kind not in "cm"
    return NUMBERS if plain else TEXTS


def _of_objects(present: "pd.Series[Any]") -> str:
    """What cells hold that are not all numbers."""
    if present.empty:
        return NOTHING
    first = present.iloc[:_LOOKED_AT]
    if all(isinstance(one, date) or _is_time(one) for one in first):
        return TIMES
    if {str(one).lower() for one in first} <= _TRUTHS:
        return TRUTHS if {str(one).lower() for one in present.unique()} <= _TRUTHS else TEXTS
    return TEXTS


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and _TIME.match(value) is not None
