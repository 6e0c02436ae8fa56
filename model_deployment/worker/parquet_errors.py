"""Why a Parquet body does not fit a signature, where MLflow let it through and the model then failed.

Nothing checks the values of Parquet beforehand, and MLflow checks only the types of pandas columns: missing
values pass as values, and in columns of text, booleans and bytes any object does.
"""

import io
import math
from typing import Any

PARQUET = "application/vnd.apache.parquet"
_LONGEST_NAME = 60


def unfit(body: bytes, model: Any) -> str:
    """What of a body the signature of a model does not allow; empty if nothing is found."""
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(body))
        if len(frame) == 0:
            return "it has no rows"
        schema = model.metadata.get_input_schema()
        if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
            return ""
        gaps = _gaps(model)
        for spec in schema.inputs:
            if spec.name in frame.columns:
                found = _flaw(frame[spec.name], spec, spec.required and spec.name not in gaps)
                if found:
                    return found
    except Exception:  # whatever is in the file: what the model said of it stays
        return ""
    return ""


def _gaps(model: Any) -> frozenset[Any]:
    """Columns in which the model's own example has missing values."""
    import pandas as pd

    example = model.input_example
    if not isinstance(example, pd.DataFrame):
        return frozenset()
    return frozenset(name for name in example.columns if example[name].isna().any())


def _flaw(column: Any, spec: Any, required: bool) -> str:
    takes = _python_types(spec.type)
    missing = column.isna().tolist()
    for row, value in enumerate(column.tolist()):
        got = ""
        if missing[row]:
            got = "a missing value" if required else ""
        elif takes and not isinstance(value, takes):
            got = f"a value of type {type(value).__name__}"
        elif isinstance(value, float) and math.isinf(value):
            got = "an infinity"
        if got:
            name = str(spec.name)[:_LONGEST_NAME]
            return f"column {name!a} row {row}: expected {_name(spec.type)}, got {got}"
    return ""


def _python_types(kind: Any) -> tuple[type, ...]:
    """What the values of a column are, where MLflow takes any object for them."""
    from mlflow.types import DataType

    return {DataType.string: (str,), DataType.boolean: (bool,), DataType.binary: (bytes,)}.get(
        kind, ()
    )


def _name(kind: Any) -> str:
    return str(getattr(kind, "name", None) or kind)[:_LONGEST_NAME]
