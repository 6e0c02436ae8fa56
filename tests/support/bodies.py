"""The same rows as JSON, CSV and Parquet, as callers send them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from model_deployment.tabular.body_tables import BodyTable, read
from model_deployment.tabular.input_columns import ModelInputs

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


def spec(type: str, name: str | int | None = None, *, required: bool = True) -> dict[str, Any]:
    """A column as MLflow's signature has it."""
    named = {} if name is None else {"name": name}
    return {"type": type, **named, "required": required}


def records(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """JSON."""
    return json.dumps({"dataframe_records": [dict(row) for row in rows]}).encode()


def csv(frame: pd.DataFrame, **options: Any) -> bytes:
    """CSV as pandas writes it."""
    text: str = frame.to_csv(index=False, **options)
    return text.encode()


def parquet(table: pd.DataFrame | pa.Table, **options: Any) -> bytes:
    """Parquet as pandas or Arrow writes it."""
    file = io.BytesIO()
    if isinstance(table, pd.DataFrame):
        table.to_parquet(file, **options)
    else:
        pq.write_table(table, file, **options)
    return file.getvalue()


def table(media_type: str, body: bytes) -> BodyTable:
    """The table of a body that has one."""
    found = read(media_type, body)
    assert found is not None
    return found


def taken(inputs: ModelInputs, media_type: str, body: bytes) -> dict[str, list[Any]]:
    """What is captured of a body, by column."""
    found = read(media_type, body, nested=inputs.nested)
    assert found is not None
    return {one.name: list(one.values) for one in inputs.take(found)}
