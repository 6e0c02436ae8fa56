"""Reads a table of training data with pandas."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from model_deployment.gate.csv_text import MISSING
from model_deployment_flows.experiment import UnusableData

#: Rows of a CSV file that say what its columns are.
_ROWS_OF_TYPES = 200_000


def read_frame(
    path: Path,
    missing_values: Sequence[str],
    rows: int | None = None,
    texts: Collection[str] = (),
) -> pd.DataFrame:
    """The table of a CSV or Parquet file, with NaN where a cell is one of ``missing_values``.

    Spaces before a cell of a CSV file do not count.

    Args:
        rows: of a CSV file at most; None: all.
        texts: columns of a CSV file that are texts whatever they look like: ``007`` is no number there.

    Raises:
        UnusableData: the file is not there, or is no table.
    """
    missing = {*MISSING, *missing_values}
    try:
        if path.suffix.lower() == ".parquet":
            return _without(pd.read_parquet(path), missing)
        return pd.read_csv(
            path,
            na_values=sorted(missing),
            keep_default_na=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
            low_memory=False,
            float_precision="round_trip",  # as Parquet has them
            nrows=rows,
            dtype=dict.fromkeys(texts, "str"),
        )
    except FileNotFoundError:
        raise UnusableData(
            f"cannot read {path}: there is no such file; upload the data again, or mend `data` in the "
            "settings of the project"
        ) from None
    except MemoryError:
        raise UnusableData(
            f"cannot read {path}: the table does not fit into memory; raise `resources.memory` in the "
            "settings of the project, or upload fewer rows"
        ) from None
    except (OSError, ValueError) as error:  # pandas and pyarrow raise these
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnusableData(f"cannot read {path} as a table: {first[:300]}") from error


def read_like(path: Path, original: Path, missing_values: Sequence[str]) -> pd.DataFrame:
    """As :func:`read_frame`, with the columns of the original data, in their order and of their types.

    Otherwise the same row would be another one in another format: a CSV file has times as texts, and
    tells numbers from texts by what they look like.

    Raises:
        UnusableData: a file is no table, or a column cannot be read as a time.
    """
    types = _column_types(original, missing_values)
    texts = [name for name, type_ in types.items() if pa.types.is_string(type_)]
    frame = read_frame(path, missing_values, texts=texts)
    frame = frame[[name for name in types if name in frame.columns]]
    return frame.assign(
        **{name: _like(frame[name], types[name]) for name in frame.columns if _differs(frame[name])}
    )


def _column_types(path: Path, missing_values: Sequence[str]) -> Mapping[str, pa.DataType]:
    """Arrow's types of the columns; of a CSV file by its first rows."""
    if path.suffix.lower() == ".parquet":
        try:
            schema = pq.read_schema(path)
        except (OSError, ValueError) as error:
            raise UnusableData(f"cannot read {path} as a table: {error}") from error
        return {str(one.name): _plain(one.type) for one in schema}
    frame = read_frame(path, missing_values, rows=_ROWS_OF_TYPES)
    return {
        str(name): pa.string() if _is_text(frame[name]) else pa.null() for name in frame.columns
    }


def _plain(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return pa.string() if pa.types.is_large_string(type_) else type_


def _is_text(column: pd.Series) -> bool:
    return bool(pd.api.types.infer_dtype(column, skipna=True) == "string")


def _differs(column: pd.Series) -> bool:
    """Whether a column can have another type than in the other format."""
    return not bool(pd.api.types.is_numeric_dtype(column))


def _like(column: pd.Series, type_: pa.DataType) -> pd.Series:
    """Times as texts, or texts as times, if a column of the type has them so."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if pa.types.is_string(type_) and kind in ("datetime64", "datetime", "date"):
        return column.astype("str").where(column.notna())
    if not (pa.types.is_timestamp(type_) or pa.types.is_date(type_)) or kind != "string":
        return column
    zone = getattr(type_, "tz", None)
    try:
        times = pd.to_datetime(column, format="ISO8601", utc=zone is not None)
    except ValueError as error:
        raise UnusableData(
            f"cannot read the column {column.name!r} as times, which it has in the original data: "
            f"{str(error)[:200]}"
        ) from error
    if pa.types.is_date(type_):
        return times.dt.date.astype(object).where(times.notna(), None)
    return (times.dt.tz_convert(zone) if zone else times).dt.as_unit(type_.unit)


def _without(frame: pd.DataFrame, missing: set[str]) -> pd.DataFrame:
    """A Parquet file has typed columns; only those of texts can hold such words."""
    frame.columns = frame.columns.map(str)
    for name in frame.select_dtypes(["object", "string"]).columns:
        frame[name] = frame[name].where(~frame[name].isin(missing))
    return frame
