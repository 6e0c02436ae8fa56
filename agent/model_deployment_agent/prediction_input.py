"""Requests in the forms of MLflow's scoring protocol: ``dataframe_split``, ``dataframe_records``,
``instances``, ``inputs``. As on the controller, a row by itself and a list of rows are requests, too."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment_agent.errors import BadInput

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


@dataclass(frozen=True, slots=True)
class PredictionInput:
    """Rows for a model."""

    #: Names of the columns; None where the rows are a tensor.
    columns: tuple[str, ...] | None
    #: A list of rows; each is a list as long as ``columns``, or anything within a tensor.
    rows: list[Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"columns": None if self.columns is None else list(self.columns), "rows": self.rows}


def parse(body: bytes) -> PredictionInput:
    """Read the body of a request.

    Raises:
        BadInput: it is no JSON, or of none of the four forms.
    """
    try:
        found = json.loads(body, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"cannot read the request: it is not JSON ({error!a:.100})") from error
    return of_json(found)


def of_example(body: bytes) -> PredictionInput:
    """Read the example of a model: one of the forms, or a data frame or a tensor by itself.

    Raises:
        BadInput: it is something else.
    """
    try:
        found = json.loads(body, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"cannot read the example: it is not JSON ({error!a:.100})") from error
    if isinstance(found, Mapping) and not any(form in found for form in FORMS):
        return of_json(
            {"dataframe_split" if {"columns", "data"} <= found.keys() else "inputs": found}
        )
    return of_json({"inputs": found} if isinstance(found, list) else found)


def of_json(found: Any) -> PredictionInput:
    """Rows from a request that was read.

    Raises:
        BadInput: it is of none of the four forms, and no row or list of rows.
    """
    if isinstance(found, list):
        return _records(found, "the list of rows")
    given = [form for form in FORMS if isinstance(found, Mapping) and form in found]
    if isinstance(found, Mapping) and found and not given:
        return _records([found], "the row")
    if len(given) != 1:
        raise BadInput(
            f"cannot read the request: it has to be an object with one of {', '.join(FORMS)}"
        )
    content = found[given[0]]
    match given[0]:
        case "dataframe_split":
            return _split(content)
        case "dataframe_records":
            return _records(content, "dataframe_records")
        case "instances" | "inputs" as form if isinstance(content, list) and any(
            isinstance(row, Mapping) for row in content
        ):
            return _records(content, form)
        case "instances" | "inputs" as form if isinstance(content, Mapping):
            return _columnar(content, form)
        case form:
            return PredictionInput(None, _rows(content, form))


def _split(content: Any) -> PredictionInput:
    if not isinstance(content, Mapping) or "data" not in content:
        raise BadInput("cannot read dataframe_split: it has to be an object with columns and data")
    rows = _rows(content["data"], "dataframe_split")
    # MLflow leaves the columns out that have numbers for names.
    numbers = range(len(rows[0]) if isinstance(rows[0], list) else 0)
    columns = _names(content.get("columns", numbers))
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BadInput(
                f"cannot read row {place} of dataframe_split: it has to have {len(columns)} values"
            )
    return PredictionInput(columns, rows)


def _records(content: Any, form: str) -> PredictionInput:
    """Rows by name; a column that a row lacks is missing there, as in pandas."""
    columns: dict[str, None] = {}
    for row in _rows(content, form):
        if not isinstance(row, Mapping):
            raise BadInput(f"cannot read {form}: each row has to be an object")
        columns |= dict.fromkeys(row)
    return PredictionInput(
        _names(list(columns)), [[row.get(one) for one in columns] for row in content]
    )


def _columnar(content: Mapping[str, Any], form: str) -> PredictionInput:
    if not any(isinstance(value, list) for value in content.values()):
        return _records([content], form)
    lengths = {len(value) if isinstance(value, list) else -1 for value in content.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise BadInput(
            f"cannot read {form}: each column has to be a list, and all have to be of one length"
        )
    rows = [list(row) for row in zip(*content.values(), strict=True)]
    return PredictionInput(_names(list(content)), _rows(rows, form))


def _rows(content: Any, form: str) -> list[Any]:
    if not isinstance(content, list) or not content:
        raise BadInput(f"cannot read {form}: it has to be a list of at least one row")
    return content


def _names(found: Any) -> tuple[str, ...]:
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise BadInput("cannot read the request: columns have to be a list of names")
    names = tuple(str(one) if type(one) is int else one for one in found)
    if not all(isinstance(one, str) for one in names) or len(set(names)) != len(names):
        raise BadInput(
            "cannot read the request: names of columns have to be texts or whole numbers, each there once"
        )
    return names


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is not a number of JSON")
