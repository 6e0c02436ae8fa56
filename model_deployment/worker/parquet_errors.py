"""Why a Parquet body does not fit a signature, where MLflow let it through and the model then failed.

Nothing checks the values of Parquet before, and MLflow checks only the types of pandas columns: it lets
missing values pass, and any object in columns of text, booleans and bytes.
"""

import io
import math
from typing import Any

PARQUET = "application/vnd.apache.parquet"
_LONGEST_NAME = 60


def signature_mismatch(body: bytes, model: Any) -> str:
    """The first thing in a body that the model's signature does not allow; empty if there is none."""
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(body))
        if len(frame) == 0:
            return "it has no rows"
        schema = model.metadata.get_input_schema()
        if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
            return ""
        gaps = _columns_with_gaps(model)
        for spec in schema.inputs:
            if spec.name in frame.columns:
                found = _mismatch(frame[spec.name], spec, spec.required and spec.name not in gaps)
                if found:
                    return found
    except Exception:  # an odd file: the model's own message stays
        return ""
    return ""


def _columns_with_gaps(model: Any) -> frozenset[Any]:
    """Columns in which the model's own example has missing values."""
    import pandas as pd

    example = getattr(model, "input_example", None)  # MLflow 2.9 has no such thing
    if not isinstance(example, pd.DataFrame):
        return frozenset()
    return frozenset(name for name in example.columns if example[name].isna().any())


def _mismatch(column: Any, spec: Any, required: bool) -> str:
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
    """The types that values of a column have to have, where MLflow accepts any object."""
    from mlflow.types import DataType

    return {DataType.string: (str,), DataType.boolean: (bool,), DataType.binary: (bytes,)}.get(
        kind, ()
    )


def _name(kind: Any) -> str:
    return str(getattr(kind, "name", None) or kind)[:_LONGEST_NAME]
