"""What an ONNX form takes, made from a request in MLflow's scoring protocol, as devices make it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: The element types of inputs, as numpy names them; texts are objects there.
FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
_FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class NoForm(Exception):
    """There can be no ONNX form; the message says why, and goes behind "because"."""


@dataclass(frozen=True, slots=True)
class FormInput:
    """An input: of columns, or (None) of the tensor as it is; see ``docs/reference/device-protocol.md``."""

    name: str
    columns: tuple[str, ...] | None
    type: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def feeds(request: Mapping[str, Any], inputs: Sequence[FormInput]) -> dict[str, Any]:
    """An array for each input.

    Raises:
        NoForm: the request has a value that an input cannot take.
    """
    found = {}
    table: dict[str, list[Any]] | None = None
    for one in inputs:
        if one.columns is None:
            found[one.name] = _tensor(request, one)
            continue
        table = columns_of(request) if table is None else table
        found[one.name] = _stacked(table, one)
    return found


def columns_of(request: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each column of a request.

    Raises:
        NoForm: it has no rows with columns.
    """
    format = next((name for name in _FORMATS if name in request), None)
    value: Any = request[format] if format else None
    match format, value:
        case "dataframe_split", {"data": [list(first), *_] as rows}:
            # MLflow leaves the columns out that have numbers for names.
            names = value.get("columns", range(len(first)))
            return {str(name): [row[at] for row in rows] for at, name in enumerate(names)}
        case _, [{}, *_]:
            names = list(dict.fromkeys(name for row in value for name in row))
            return {str(name): [row.get(name) for row in value] for name in names}
        case "inputs" | "instances", {}:
            return {str(name): list(values) for name, values in value.items()}
    raise NoForm("its example is no table")


def _stacked(table: Mapping[str, list[Any]], one: FormInput) -> Any:
    import numpy as np

    names = one.columns or ()
    if missing := [name for name in names if name not in table]:
        raise NoForm(f"its example lacks the column {missing[0][:60]!a}")
    rows = len(next(iter(table.values()), []))
    columns = [[_value(value, one.type, name) for value in table[name]] for name in names]
    made = np.empty((rows, len(columns)), dtype=object if one.type == "string" else one.type)
    for at, values in enumerate(columns):
        made[:, at] = values
    return made


def _value(value: Any, type: str, column: str) -> Any:
    """A cell as an input of this type takes it; what is missing is NaN, which only floats have."""
    if value is None and type in FLOATS:
        return float("nan")
    if value is None:
        raise NoForm(f"the column {column!a} of its example has missing values, and is no float")
    match type:
        case "string":
            fits = isinstance(value, str)
        case "bool":
            fits = isinstance(value, bool)
        case "int32" | "int64":
            fits = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        case _:
            fits = isinstance(value, (int, float))
    if not fits:
        raise NoForm(f"the column {column!a} of its example has values that are no {type}")
    return value


def _tensor(request: Mapping[str, Any], one: FormInput) -> Any:
    """The tensor of a request; of several by name, the one with the name of the input."""
    import numpy as np

    value = next((request[name] for name in ("inputs", "instances") if name in request), None)
    if isinstance(value, Mapping):
        value = value.get(one.name)
    if value is None:
        raise NoForm(f"its example has no tensor for the input {one.name!a}")
    try:
        if one.type == "string":
            return np.array(value, dtype=object)
        # Null becomes NaN, which integers do not have.
        return np.array(np.array(value, dtype="float64") if one.type in FLOATS else value, one.type)
    except (TypeError, ValueError) as error:
        raise NoForm(f"the tensor of its example is none of {one.type}") from error
