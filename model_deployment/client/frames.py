"""Data frames of pandas as bodies, and answers as data frames. pandas is imported only if it is used."""

import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from model_deployment.client.errors import Unsendable
from model_deployment.client.plain import plain

if TYPE_CHECKING:
    import pandas as pd

#: Names of columns that JSON has.
_NAMES = (str, int, float)
#: Types of values that :func:`plain` returns as they are, unless they are infinite or no UTF-8.
_AS_THEY_ARE = {bool, float, int, str, type(None)}


def is_frame(value: Any) -> "TypeGuard[pd.DataFrame]":
    loaded = sys.modules.get("pandas")
    return loaded is not None and isinstance(value, loaded.DataFrame)


def is_series(value: Any) -> "TypeGuard[pd.Series]":
    loaded = sys.modules.get("pandas")
    return loaded is not None and isinstance(value, loaded.Series)


def split_of(frame: "pd.DataFrame") -> dict[str, Any]:
    """A frame as ``dataframe_split``, without its index.

    Missing values of any kind become null, categories their values, times with a zone times in UTC. Whole
    numbers keep all digits. A frame whose columns have no names but 0, 1, 2, ... is sent without names,
    as an array is.

    Raises:
        Unsendable: two columns have one name, a name is no text or number, or JSON has not the value.
    """
    names = list(frame.columns)
    _check_names(names)
    columns = [_values(frame.iloc[:, place], name) for place, name in enumerate(names)]
    data = [list(row) for row in zip(*columns, strict=True)]
    if names == list(range(len(names))) and not any(isinstance(name, bool) for name in names):
        return {"data": data}
    return {
        "columns": [name.item() if hasattr(name, "item") else name for name in names],
        "data": data,
    }


def _check_names(names: list[Any]) -> None:
    if not names:
        raise Unsendable("cannot send the data frame: it has no columns")
    for name in names:
        if isinstance(name, tuple):
            raise Unsendable(
                f"cannot send the data frame: its columns have several levels, as {name!r}; flatten them"
            )
        kind = name.item() if hasattr(name, "item") else name
        if not isinstance(kind, _NAMES) or (isinstance(kind, float) and math.isnan(kind)):
            raise Unsendable(
                f"cannot send the data frame: a column is called {name!r} ({type(name).__name__}); "
                "columns need names that are text"
            )
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise Unsendable(
            f"cannot send the data frame: several columns are called {', '.join(twice)}; "
            "give each a name of its own"
        )


def _values(column: "pd.Series", name: Any) -> list[Any]:
    """The values of a column as JSON has them."""
    where = f"column {name!r}"
    kind = getattr(column.dtype, "kind", "O")
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
        kind = "M"
    if kind in "mM":
        return list(plain(column.to_numpy(), where))
    if kind == "c":
        raise Unsendable(f"cannot send {where}: JSON has no complex numbers")
    missing = column.isna()
    if kind in "iub" and not missing.any():
        return list(column.tolist())
    values: list[Any] = column.astype(object).where(~missing, None).tolist()
    if set(map(type, values)) <= _AS_THEY_ARE and _is_sendable(values):
        return values
    return [plain(value, f"row {row} of {where}") for row, value in enumerate(values)]


def _is_sendable(values: list[Any]) -> bool:
    """Whether JSON has all of these numbers and texts: quick, for columns of many rows."""
    if any(type(value) is float and math.isinf(value) for value in values):
        return False
    try:
        "".join(value for value in values if type(value) is str).encode()
    except UnicodeEncodeError:
        return False
    return True


def matched(values: "pd.Series", index: "pd.Index") -> "pd.Series":
    """The values in the order of an index; missing where they have none. Whole numbers stay what they are.

    Raises:
        Unsendable: which value belongs to which row cannot be told.
    """
    if values.index.equals(index):
        return values
    if values.index.has_duplicates:
        raise Unsendable(
            "cannot match the labels: their index has a row twice; pass them in the order of the "
            "predictions, as a list"
        )
    return values.astype(object).reindex(index)


def frame_of(rows: list[Any], index: Any) -> "pd.DataFrame":
    """Predictions as a table: one column for each output, or one called ``prediction``.

    Raises:
        ImportError: pandas is not installed.
    """
    pandas = _pandas()
    index = _fitting(index, rows)
    if rows and all(isinstance(row, dict) for row in rows):
        return pandas.DataFrame.from_records(rows, index=index)
    if _is_table(rows):
        return pandas.DataFrame(rows, index=index)
    return pandas.DataFrame({"prediction": _objects(rows, pandas, index)}, index=index)


def _is_table(rows: list[Any]) -> bool:
    if not rows or not all(isinstance(row, list) for row in rows):
        return False
    nested = any(isinstance(value, list) for row in rows for value in row)
    return not nested and len(set(map(len, rows))) == 1


def series_of(rows: list[Any], index: Any) -> "pd.Series":
    """Predictions as one column; rows with several outputs are objects in it."""
    pandas = _pandas()
    return _objects(rows, pandas, _fitting(index, rows)).rename("prediction")


def _objects(rows: list[Any], pandas: Any, index: Any) -> Any:
    nested = any(isinstance(row, list | dict) for row in rows)
    return pandas.Series(rows, index=index, dtype=object if nested or not rows else None)


def _fitting(index: Any, rows: list[Any]) -> Any:
    """The index of the input, if there is one prediction for each of its rows."""
    return index if index is not None and len(index) == len(rows) else None


def parts(frame: "pd.DataFrame", rows: int | None) -> "Iterator[pd.DataFrame]":
    """The frame in pieces of at most so many rows."""
    if rows is None or len(frame) <= rows:
        yield frame
        return
    for start in range(0, len(frame), rows):
        yield frame.iloc[start : start + rows]


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "cannot make a data frame: pandas is not installed (pip install pandas); "
            "to_list() works without it"
        ) from error
    return pandas
