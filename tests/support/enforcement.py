"""What MLflow itself makes of a request, and whether that is what was sent: the oracle of the gate.

MLflow is called in this process, at the two places its server calls, without a model behind.
"""

import base64
import io
import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

Spec = Mapping[str, Any]


def enforced(
    body: bytes, inputs: Sequence[Spec] | None, params: Sequence[Spec] | None = None
) -> tuple[Any, Any]:
    """Data and params as the model would get them.

    Raises:
        Exception: of any kind, where MLflow's server would answer 400 or 500.
    """
    with warnings.catch_warnings():
        # MLflow on pandas 3, and pandas and NumPy on what is sent here, warn a lot.
        warnings.simplefilter("ignore")
        from mlflow.pyfunc import _validate_prediction_input
        from mlflow.pyfunc.scoring_server import _parse_json_data
        from mlflow.types.schema import ParamSchema, Schema

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        schema = Schema.from_json(json.dumps(inputs)) if inputs else None
        param_schema = ParamSchema.from_json(json.dumps(params)) if params else None
        parsed = _parse_json_data(body, None, schema)
        data, given = _validate_prediction_input(parsed.data, parsed.params, schema, param_schema)
    return data, given


def enforced_csv(text: str, inputs: Sequence[Spec]) -> pd.DataFrame:
    """The frame that the model would get of a CSV body.

    Raises:
        Exception: of any kind, where MLflow's server would answer 400 or 500.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.pyfunc import _validate_prediction_input
        from mlflow.pyfunc.scoring_server import parse_csv_input
        from mlflow.types.schema import Schema

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        schema = Schema.from_json(json.dumps(inputs))
        data = parse_csv_input(io.StringIO(text), schema)
        return _validate_prediction_input(data, None, schema, None)[0]


def same_table(
    rows: Sequence[Mapping[str, Any]], got: pd.DataFrame, inputs: Sequence[Spec]
) -> bool:
    """Whether a frame holds what was sent, column by column of the signature."""
    if len(got) != len(rows):
        return False
    for spec in inputs:
        name = spec["name"]
        if name not in got.columns:
            # Nothing at all is the same as null in each row.
            if any(row.get(name) is not None for row in rows):
                return False
            continue
        for row, value in zip(rows, got[name].tolist(), strict=True):
            if not same(row.get(name), value, spec):
                return False
    return True


def same(sent: Any, got: Any, spec: Spec) -> bool:
    """Whether a value is what was sent, or what that says without doubt."""
    try:
        return _same(sent, got, spec)
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return False  # What was sent says nothing of that type.


def _same(sent: Any, got: Any, spec: Spec) -> bool:
    kind = spec["type"]
    if kind == "object":
        return _same_object(sent, got, spec)
    if kind == "map":
        return _same_items(sent, got, lambda _: spec["values"])
    if kind == "array":
        if sent is None or got is None:
            return sent is None and got is None
        return len(sent) == len(got) and all(
            same(one, other, spec["items"]) for one, other in zip(sent, got, strict=True)
        )
    if kind == "any":
        return same_json(sent, got)
    if sent is None:
        return bool(pd.isnull(got))
    return _SAME[kind](sent, got)


def _same_object(sent: Any, got: Any, spec: Spec) -> bool:
    return _same_items(sent, got, lambda name: spec["properties"][name])


def _same_items(sent: Any, got: Any, spec_of: Any) -> bool:
    if sent is None or got is None:
        return sent is None and got is None
    return sent.keys() == got.keys() and all(
        same(sent[name], got[name], spec_of(name)) for name in sent
    )


def same_json(sent: Any, got: Any) -> bool:
    """For a column of type any: the same to Python, but for null, which pandas has its own of."""
    match sent:
        case None:
            return got is None or (isinstance(got, float) and math.isnan(got))
        case bool():
            return isinstance(got, bool | np.bool_) and sent == got
        case int() | float():
            return isinstance(got, int | float | np.number) and sent == got
        case list():
            return len(sent) == len(got) and all(map(same_json, sent, got))
        case dict():
            return sent.keys() == got.keys() and all(same_json(sent[k], got[k]) for k in sent)
    return bool(sent == got)


def _whole(sent: Any, got: Any) -> bool:
    if type(sent) is str:
        sent = int(sent)
    return type(sent) in (int, float) and isinstance(got, int | np.integer) and sent == int(got)


def _double(sent: Any, got: Any) -> bool:
    if type(sent) is str:
        sent = float(sent) if set(sent) & set(".eE") else int(sent)
    return type(sent) in (int, float) and sent == float(got)


def _float(sent: Any, got: Any) -> bool:
    if type(sent) is str:
        sent = float(sent) if set(sent) & set(".eE") else int(sent)
    if type(sent) is int:
        return sent == float(got)
    with np.errstate(over="ignore"):
        kept = np.float32(sent)
    vanished = bool(sent) and not got
    return type(sent) is float and bool(kept == got) and not math.isinf(got) and not vanished


def _string(sent: Any, got: Any) -> bool:
    return type(sent) is str and isinstance(got, str) and sent == got


def _boolean(sent: Any, got: Any) -> bool:
    meant = (
        {"true": True, "false": False, "True": True, "False": False}.get(sent, sent)
        if type(sent) is str
        else sent
    )
    return meant in (0, 1) and isinstance(got, bool | np.bool_) and bool(meant) == bool(got)


def _binary(sent: Any, got: Any) -> bool:
    return bool(base64.b64decode("".join(sent.split("\n")), validate=True) == got)


def _datetime(sent: Any, got: Any) -> bool:
    return type(sent) is str and nanoseconds(sent) == pd.Timestamp(got).value


def nanoseconds(text: str) -> int:
    """Of an ISO 8601 time since 1970, in UTC if it has an offset; with all its digits."""
    whole, point, rest = text.replace(",", ".").partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))] if point else ""
    time = datetime.fromisoformat((whole + rest[len(digits) :]).upper())
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86400 + since.seconds
    return seconds * 10**9 + int(f"{digits:0<9}")


_SAME = {
    "integer": _whole,
    "long": _whole,
    "float": _float,
    "double": _double,
    "string": _string,
    "boolean": _boolean,
    "binary": _binary,
    "datetime": _datetime,
}
