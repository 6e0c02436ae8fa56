"""A release's ONNX form, called as its manifest says. Runs in the process of the model only: numpy is
imported here."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from model_deployment_agent.errors import BadInput
from model_deployment_agent.json_values import plain

_TYPES: Mapping[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "int32": np.int32,
    "int64": np.int64,
    "bool": np.bool_,
    "string": np.object_,
}


class OnnxModel:
    """A session of onnxruntime with one thread: devices are small, and rows come one by one."""

    def __init__(
        self, path: Path, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[str]
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Both take memory once and for all, for speed that single rows do not need.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = inputs
        self._shapes = {one.name: list(one.shape) for one in self._session.get_inputs()}
        self._output = outputs[0]

    def predict(self, columns: Sequence[str] | None, rows: list[Any]) -> list[Any]:
        """One prediction for each row, JSON-ready.

        Raises:
            BadInput: a column is missing, a value is not of its type, or a tensor has another shape.
        """
        feeds = {one["name"]: self._tensor(one, columns, rows) for one in self._inputs}
        (found,) = self._session.run([self._output], feeds)
        if (
            isinstance(found, np.ndarray)
            and found.ndim > 1
            and found.shape[1:] == (1,) * (found.ndim - 1)
        ):
            found = found.reshape(-1)
        predictions = plain(found.tolist() if isinstance(found, np.ndarray) else found)
        return predictions if isinstance(predictions, list) else [predictions]

    def _tensor(
        self, described: Mapping[str, Any], columns: Sequence[str] | None, rows: list[Any]
    ) -> Any:
        name, kind, wanted = described["name"], described["type"], described["columns"]
        if wanted is None:
            if columns is not None and len(self._inputs) > 1 and name not in columns:
                raise BadInput(f"cannot predict: the input {name!a:.100} is missing")
            place = columns.index(name) if columns is not None and name in columns else None
            values = rows if place is None else [row[place] for row in rows]
            tensor = _array(values, kind, f"input {name!a:.100}")
            self._check_shape(name, list(tensor.shape))
            return tensor
        if columns is None:
            raise BadInput(
                f"cannot predict: the model takes named columns ({', '.join(wanted)[:200]})"
            )
        missing = [one for one in wanted if one not in columns]
        if missing:
            raise BadInput(f"cannot predict: the columns {', '.join(missing)[:300]} are missing")
        places = [columns.index(one) for one in wanted]
        stacked = [
            [_value(row[place], kind, column) for place, column in zip(places, wanted, strict=True)]
            for row in rows
        ]
        return np.array(stacked, dtype=_TYPES[kind])

    def _check_shape(self, name: str, found: list[int]) -> None:
        """What onnxruntime would refuse is the fault of the request, not of the model."""
        wanted = self._shapes.get(name) or []  # empty: the model does not say
        fits = len(found) == len(wanted) and all(
            have == want
            for have, want in zip(found, wanted, strict=True)
            if isinstance(want, int) and want >= 0
        )
        if wanted and not fits:
            shown = ", ".join(str(one) if isinstance(one, int) else "any" for one in wanted)
            raise BadInput(
                f"cannot predict: the input {name!a:.100} has the shape {found}, "
                f"and the model takes [{shown}]"
            )


def _array(values: Any, kind: str, what: str) -> Any:
    def converted(value: Any) -> Any:
        return (
            [converted(one) for one in value]
            if isinstance(value, list)
            else _value(value, kind, what)
        )

    try:
        return np.array(converted(values), dtype=_TYPES[kind])
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"cannot predict: {what} is not a tensor of {kind}") from error


def _value(value: Any, kind: str, column: str) -> Any:
    """A JSON value as one of a tensor; missing numbers are NaN, other missing values have no form in
    ONNX."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "float32" | "float64" if value is None:
            return math.nan
        case "float32" | "float64" if number or isinstance(value, bool):
            return _float(value, kind, column)
        case "int32" | "int64" if number or isinstance(value, bool):
            bits = 31 if kind == "int32" else 63
            if math.isfinite(value) and value == int(value) and -(2**bits) <= value < 2**bits:
                return int(value)
        case "bool" if isinstance(value, bool):
            return value
        case "string" if isinstance(value, str) and _is_unicode(value):
            return value
    shown = "missing" if value is None else f"{value!a:.60}"
    raise BadInput(f"cannot predict: {column!a:.100} has to be {kind}, and is {shown}")


def _is_unicode(text: str) -> bool:
    """JSON may have halves of surrogate pairs, which are no characters."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


def _float(value: float, kind: str, column: str) -> float:
    limit = float(np.finfo(_TYPES[kind]).max)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if abs(found) > limit:
        raise BadInput(f"cannot predict: {column!a:.100} is too large for {kind}")
    return found
