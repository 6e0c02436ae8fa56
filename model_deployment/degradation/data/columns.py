"""Makes a column of the reference comparable with the same column of the captured requests.

Handles the values that break comparisons: numbers sent as text, nullable integers, nested values, columns
of nulls. A column that cannot be compared is skipped with a reason.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment.gate.csv_text import MISSING
from model_deployment.gate.nested_rules import COMPLEX
from model_deployment.tabular.category_names import category_name

NUMBER, CATEGORY, TIME, SKIPPED = "number", "category", "time", "skipped"

#: Whole numbers with at most so many distinct values are categories.
_MAX_WHOLE_CATEGORIES = 5
#: Significant digits that are compared; further digits are rounding noise.
_DIGITS = 12
#: Share of distinct values above which a text column holds ids or free text.
_UNIQUE = 0.5
#: Texts that stand for a missing value.
TOKENS = frozenset({"?", "-", "missing", *map(str.lower, MISSING)})
#: Other spellings of truth values.
_TRUTHS = {
    **dict.fromkeys(("1", "1.0", "yes", "y", "t", "on"), "true"),
    **dict.fromkeys(("0", "0.0", "no", "n", "f", "off"), "false"),
}

_NUMERIC = frozenset({"integer", "long", "float", "double"})
_NAMED = frozenset({"string", "boolean"})
_NOT_COMPARED = COMPLEX | {"binary", "any"}

#: Types of values that may be read as a number; nested values never are.
_SCALARS = (str, int, float, np.number, np.bool_, Decimal)

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of a column in one of the two tables, with counts of what was set to missing."""

    #: Numbers and times (seconds since 1970), missing ones NaN; places in ``categories``, missing ones -1.
    values: NDArray[Any]
    #: Texts like "?" and "NA".
    tokens: int = 0
    infinite: int = 0
    #: Texts in a column of numbers that are not numbers.
    unreadable: int = 0

    @property
    def present(self) -> NDArray[Any]:
        """The values that are not missing."""
        numbers = self.values.dtype.kind == "f"
        return np.asarray(self.values[~np.isnan(self.values) if numbers else self.values >= 0])

    @property
    def missing(self) -> int:
        return len(self.values) - len(self.present)


EMPTY_SAMPLE = Sample(np.empty(0))


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """A column of the reference and the same column now."""

    name: str
    kind: str
    #: MLflow's type of the signature, or the type of the values.
    type: str
    reference: Sample = EMPTY_SAMPLE
    current: Sample = EMPTY_SAMPLE
    categories: tuple[str, ...] = ()
    #: Why it is not compared.
    skipped: str | None = None
    #: Whether the tables have the column.
    in_reference: bool = True
    in_current: bool = True

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each category, in the reference and now."""
        size = len(self.categories)
        reference, current = self.reference.present, self.current.present
        return np.bincount(reference, minlength=size), np.bincount(current, minlength=size)


@dataclass(slots=True)
class _Raw:
    """The values of a column as they came: those of the reference, then those of now."""

    values: "pd.Series[Any]"
    #: The number of values of the reference.
    cut: int
    #: Which values were texts like "?".
    tokens: NDArray[np.bool_]

    def split_into(
        self, column: ColumnPair, values: NDArray[Any], *marks: NDArray[np.bool_]
    ) -> ColumnPair:
        """Give a column its harmonised values; ``marks`` say which were infinite and unreadable."""
        reference, current = (
            Sample(values[part], *(int(mark[part].sum()) for mark in (self.tokens, *marks)))
            for part in (slice(None, self.cut), slice(self.cut, None))
        )
        return replace(column, reference=reference, current=current)


def types(inputs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """MLflow's types by column name, without those of tensors, whose columns have no types."""
    return {
        str(entry["name"]): str(entry.get("type", "any"))
        for entry in inputs
        if entry.get("name") is not None and entry.get("type") != "tensor"
    }


def harmonise(
    name: str,
    reference: "pd.Series[Any] | None",
    current: "pd.Series[Any] | None",
    type: str | None = None,
) -> ColumnPair:
    """Make one column comparable.

    Args:
        reference: None if the reference has no such column.
        current: None if the captured requests have no such column.
        type: MLflow's type; None to find it from the values.
    """
    nothing = ColumnPair(
        name,
        SKIPPED,
        type or "any",
        in_reference=reference is not None,
        in_current=current is not None,
    )
    if type in _NOT_COMPARED:
        return replace(nothing, skipped=f"values of type {type} are not compared")
    both = [side for side in (reference, current) if side is not None]
    if not both:
        return replace(nothing, skipped="neither table has this column")
    found = type or _kind_of(both)
    raw = _raw(both, 0 if reference is None else len(reference), found)
    if found == "datetime":
        column = _time(nothing, raw)
    elif found in _NUMERIC or (type is None and found == "string" and _all_numbers(raw)):
        column = _number(replace(nothing, type=found if found in _NUMERIC else "double"), raw)
    else:
        column = _category(replace(nothing, type=found if found in _NAMED else "string"), raw)
    if why := _why_missing(column):
        return replace(column, skipped=why)
    if column.kind == CATEGORY and _is_free_text(column.reference.present):
        why = "most values are unique: ids or free text"
        return replace(nothing, type=column.type, skipped=why)
    return column


def _why_missing(column: ColumnPair) -> str | None:
    if not column.in_reference:
        return "the reference does not have this column"
    if not column.in_current:
        return "the captured requests do not have this column"
    for side, where in ((column.reference, "in the reference"), (column.current, "now")):
        if not len(side.present):
            return f"it has no values {where}"
    return None


def _is_free_text(codes: Codes) -> bool:
    distinct = len(np.unique(codes))
    return distinct > 50 and distinct > _UNIQUE * len(codes)


def _raw(both: "list[pd.Series[Any]]", cut: int, type: str) -> _Raw:
    """The values of both sides, with texts like "?" set to missing."""
    if type in _NUMERIC and all(_dtype_kind(side) == "double" for side in both):
        plain = pd.concat([side.astype("float64") for side in both], ignore_index=True)
        return _Raw(plain, cut, np.zeros(len(plain), dtype=bool))
    values = pd.concat([side.astype(object) for side in both], ignore_index=True)
    tokens = _each(values, is_token).astype(bool)
    return _Raw(values.mask(tokens | values.isna(), None), cut, tokens)


def is_token(value: Any) -> bool:
    """Whether a value is a text that stands for a missing value."""
    return isinstance(value, str) and value.strip().lower() in TOKENS


def _each(values: "pd.Series[Any]", function: Callable[[Any], Any]) -> NDArray[Any]:
    """What a function says of each value; it is asked once for each distinct text."""
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        places, texts = pd.factorize(values)
        each = np.array([*map(function, texts), function(None)], dtype=object)
        return np.asarray(each[places])
    return np.array([function(one) for one in values], dtype=object)


def _kind_of(both: "list[pd.Series[Any]]") -> str:
    """The MLflow type of the values of both sides."""
    kinds = {_dtype_kind(side) for side in both if side.notna().any()} or {"double"}
    return kinds.pop() if len(kinds) == 1 else "string"


def _dtype_kind(side: "pd.Series[Any]") -> str:
    if pd.api.types.is_bool_dtype(side.dtype):
        return "boolean"
    if pd.api.types.is_numeric_dtype(side.dtype) and side.dtype.kind != "c":
        return "double"
    return "datetime" if pd.api.types.is_datetime64_any_dtype(side.dtype) else "string"


def to_numbers(values: "pd.Series[Any]") -> Floats:
    """Values as floats; NaN where a value is not a number."""
    if values.dtype == np.float64:
        return np.array(values, dtype=np.float64)
    plain = [value if isinstance(value, _SCALARS) else None for value in values]
    return np.array(
        pd.to_numeric(pd.Series(plain, dtype=object), errors="coerce"), dtype=np.float64
    )


def _all_numbers(raw: _Raw) -> bool:
    """Whether a column of unknown type holds only numbers, possibly as text."""
    present = raw.values.notna().to_numpy()
    if not present.any() or any(isinstance(value, bool) for value in raw.values[present][:100]):
        return False
    return not np.isnan(to_numbers(raw.values[present])).any()


def _number(column: ColumnPair, raw: _Raw) -> ColumnPair:
    numbers = to_numbers(raw.values)
    if column.type == "float":
        # Rounded as for the model: one table may have 0.1, the other 0.10000000149011612.
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32).astype(np.float64)
    elif column.type == "double":
        numbers = _without_noise(numbers)
    infinite = np.isinf(numbers)
    numbers[infinite] = np.nan
    unreadable = raw.values.notna().to_numpy() & np.isnan(numbers) & ~infinite
    if (found := _whole_categories(numbers)) is not None:
        codes, categories = found
        column = replace(column, kind=CATEGORY, categories=categories)
        return raw.split_into(column, codes, infinite, unreadable)
    return raw.split_into(replace(column, kind=NUMBER), numbers, infinite, unreadable)


def _without_noise(numbers: Floats) -> Floats:
    """Rounded to significant digits, so that 0.1 * 3 equals 0.3."""
    with np.errstate(all="ignore"):
        # The addition rounds 0.1 and a slightly smaller number to the same number of places.
        places = _DIGITS - 1 - np.floor(np.log10(np.abs(numbers)) + 1e-12)
        scale = 10.0 ** np.maximum(places, 0)
        rounded = np.round(numbers * scale) / scale
    return np.where(np.isfinite(rounded), rounded, numbers)


def _whole_categories(numbers: Floats) -> tuple[Codes, tuple[str, ...]] | None:
    """Codes and names of a few whole numbers; None for other numbers."""
    present = numbers[~np.isnan(numbers)]
    if (present != np.round(present)).any():
        return None
    values = np.unique(present)
    if not 0 < len(values) <= _MAX_WHOLE_CATEGORIES:
        return None
    codes = np.where(np.isnan(numbers), -1, np.searchsorted(values, numbers)).astype(np.int64)
    return codes, tuple(f"{value:.0f}" for value in values)


def _category(column: ColumnPair, raw: _Raw) -> ColumnPair:
    as_name = _as_truth if column.type == "boolean" else _as_name
    names = _each(raw.values, lambda one: None if one is None else as_name(one))
    codes, found = pd.factorize(names)
    column = replace(column, kind=CATEGORY, categories=tuple(map(str, found)))
    return raw.split_into(column, np.asarray(codes, dtype=np.int64))


def _as_truth(value: Any) -> str:
    name = _as_name(value).strip().lower()
    return _TRUTHS.get(name, name)


def _as_name(value: Any) -> str:
    return category_name(bool(value) if isinstance(value, np.bool_) else value)


def as_guessed(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Texts as an earlier release captured them from CSV: texts that look like numbers are numbers."""
    return values.astype(object).map(_guess, na_action="ignore")


def _guess(value: Any) -> str:
    name = _as_name(value)
    try:
        number = float(name) if "_" not in name else math.nan
    except ValueError:
        return name
    return _as_name(number) if math.isfinite(number) else name


def _time(column: ColumnPair, raw: _Raw) -> ColumnPair:
    times = pd.to_datetime(raw.values, errors="coerce", utc=True, format="mixed")
    seconds = times.astype("datetime64[us, UTC]").astype("int64").to_numpy(np.float64) / 1e6
    seconds[times.isna().to_numpy()] = np.nan
    why = "timestamps always increase"
    return raw.split_into(replace(column, kind=TIME, type="datetime", skipped=why), seconds)
