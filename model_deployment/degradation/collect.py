"""Makes the tables of a report from what the controller laid down: captures, labels, training data.

``captures.jsonl`` has one captured request a line (``columns``, ``data``, ``predictions``, ``ts``,
``request_id``), ``labels.jsonl`` one label. The reference is ``training.csv``, ``training.parquet``, or
frozen captures in ``reference.jsonl``. Earlier captures in ``predictions.jsonl`` are what predictions
are compared with where the reference has none.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_deployment.datasets.formats import unique
from model_deployment.degradation.tables import (
    LABEL,
    PREDICTION,
    REQUEST,
    SEEN,
    TIME,
    is_ours,
    is_prediction,
    renamed,
)
from model_deployment.recording.record import left_out
from model_deployment.tabular.csv_file import read_columns
from model_deployment.tabular.input_columns import ModelInputs
from model_deployment.tabular.text_cells import ColumnKind

_ARROW = {
    ColumnKind.BOOL: pa.bool_(),
    ColumnKind.INT: pa.int64(),
    ColumnKind.FLOAT: pa.float64(),
    ColumnKind.TEXT: pa.string(),
}

Row = dict[str, Any]
Labels = Mapping[str, Mapping[int, Any]]


@dataclass(frozen=True, slots=True)
class Collected:
    """What is not in the tables."""

    #: Labels that were left out, since several captured requests have their id.
    ambiguous: int = 0
    #: Captured requests whose inputs are not known, by the reason.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Columns of text of which an earlier release captured numbers: ``501`` for ``00501``.
    guessed: frozenset[str] = frozenset()
    #: Whether some digests are of values that an earlier release had read otherwise.
    two_digests: bool = False


@dataclass(slots=True)
class _Noted:
    """What was met in captures."""

    missed: Counter[str] = field(default_factory=Counter)
    guessed: set[str] = field(default_factory=set)
    #: Whether the signature was asked what their values are.
    typed: set[bool] = field(default_factory=set)


def collect(folder: Path, specs: Sequence[Mapping[str, Any]] = ()) -> Collected:
    """Write ``current.parquet`` and, if there are any, ``reference.parquet`` and ``predictions.parquet``.

    Args:
        folder: where everything is.
        specs: the columns that the model takes, in MLflow's JSON form.
    """
    inputs = _inputs(specs)
    captures, frozen = folder / "captures.jsonl", folder / "reference.jsonl"
    labels, ambiguous = _labels(folder / "labels.jsonl", [captures, frozen])
    now, before = _Noted(), _Noted()
    if captures.exists():
        _write(folder / "current.parquet", list(_rows(captures, labels, inputs, now)))
    reference = folder / "reference.parquet"
    if (folder / "training.parquet").exists():
        _training(folder / "training.parquet", reference, inputs.names)
    elif (folder / "training.csv").exists():
        _typed(folder / "training.csv", reference, inputs)
    elif frozen.exists():
        _write(reference, list(_rows(frozen, labels, inputs, before)))
    predictions = folder / "predictions.parquet"
    if (folder / "predictions.jsonl").exists() and not predictions.exists():
        rows = _rows(folder / "predictions.jsonl", {}, inputs, _Noted())
        _write(predictions, [_only_predictions(row) for row in rows])
    guessed = frozenset(now.guessed | before.guessed)
    return Collected(ambiguous, now.missed, guessed, len(now.typed | before.typed) > 1)


def _inputs(specs: Sequence[Mapping[str, Any]]) -> ModelInputs:
    try:
        return ModelInputs(specs)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ModelInputs()  # not as MLflow writes them: then values are looked at


def _typed(path: Path, reference: Path, inputs: ModelInputs) -> None:
    """Training data in CSV, whose values are what the signature says."""
    columns = read_columns(path, inputs)
    names = [_encodable(name) for name in unique(_freed(columns.names, inputs.names))]
    types = [_ARROW[kind] for kind in columns.kinds]
    schema = pa.schema([pa.field(*one) for one in zip(names, types, strict=True)])
    with pq.ParquetWriter(reference, schema) as writer:
        for values in columns.parts():
            arrays = [_array(*one) for one in zip(values, types, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _array(values: list[Any], type: pa.DataType) -> "pa.Array[Any]":
    if type == pa.string():
        values = [None if value is None else _encodable(str(value)) for value in values]
    return pa.array(values, type)


def _training(path: Path, reference: Path, inputs: Iterable[str]) -> None:
    """Move training data to where the reference is, its columns renamed as those of callers are."""
    names = pq.read_schema(path).names
    freed = _freed(names, inputs)
    if freed == names:
        path.rename(reference)
    else:
        pq.write_table(pq.read_table(path).rename_columns(freed), reference)


def _freed(names: list[str], inputs: Iterable[str]) -> list[str]:
    """Names of training data. Columns with a name of ours are ours there unless the model takes them."""
    theirs = {name for name in inputs if is_ours(name)}
    known = renamed(inputs)
    return [known[name] if name in theirs else name for name in names]


def _labels(path: Path, captures: Iterable[Path]) -> tuple[Labels, int]:
    """Labels by request and row, without those of ids that are not of one request; how many those are."""
    found: dict[str, dict[int, Any]] = {}
    if path.exists():
        for one in _lines(path):
            found.setdefault(one["request_id"], {}).setdefault(one["row"], one["label"])
    again = _repeated([path for path in captures if path.exists()]) if found else set()
    dropped = [found.pop(id) for id in again & found.keys()]
    return found, sum(map(len, dropped))


def _repeated(paths: Iterable[Path]) -> set[str]:
    """Request ids of more than one capture. The same capture may be in several files."""
    first: dict[str, Any] = {}
    again = set()
    for path in paths:
        here = set()
        for capture in _lines(path):
            id, identity = capture["request_id"], capture.get("_id", capture["ts"])
            if id in here or first.setdefault(id, identity) != identity:
                again.add(id)
            here.add(id)
    return again


def _rows(path: Path, labels: Labels, inputs: ModelInputs, noted: _Noted) -> Iterator[Row]:
    """The rows of captured requests, oldest first."""
    columns: list[str] = []
    names: list[str] = []
    for capture in _lines(path):
        predictions = _by_row(capture["predictions"], len(capture["data"]))
        known = labels.get(capture["request_id"], {})
        unseen = left_out(capture)
        if unseen:
            noted.missed[str(unseen)] += 1
        sent, data = capture["columns"], capture["data"]
        if data:
            noted.typed.add(bool(capture.get("typed")))
        if not capture.get("typed") and data:
            sent, data = inputs.retyped(sent, data)  # the signature was not asked
            noted.guessed |= _guessed(sent, data, inputs)
        if sent != columns:
            columns = sent
            new = renamed(columns)
            names = [new[name] for name in columns]
        height = max(len(data), len(predictions) if type(predictions) is list else 0)
        for place in range(height):
            row: Row = {TIME: capture["ts"], REQUEST: capture["request_id"], SEEN: not unseen}
            if place < len(data):
                row |= zip(names, data[place], strict=True)
            if type(predictions) is list and place < len(predictions):
                row |= _outputs(predictions[place])
            row[LABEL] = known.get(place)
            yield row


def _guessed(names: Sequence[str], data: Sequence[Sequence[Any]], inputs: ModelInputs) -> set[str]:
    """Columns of text with numbers in them."""
    texts = [
        (place, name)
        for place, name in enumerate(names)
        if (spec := inputs.spec(name)) is not None and spec.get("type") == "string"
    ]
    return {name for place, name in texts if any(type(row[place]) in (int, float) for row in data)}


def _by_row(predictions: Any, rows: int) -> Any:
    """Answers that come output by output, ``{"low": [1, 2], "high": [3, 4]}``, row by row."""
    if type(predictions) is not dict or any(type(one) is not list for one in predictions.values()):
        return predictions
    sizes = set(map(len, predictions.values()))
    if len(sizes) != 1 or (rows and sizes != {rows}):
        return predictions
    return [
        dict(zip(predictions, row, strict=True)) for row in zip(*predictions.values(), strict=True)
    ]


def _outputs(prediction: Any) -> Row:
    """One column for each output."""
    if type(prediction) is list:
        return {f"{PREDICTION}_{place}": one for place, one in enumerate(prediction)}
    if type(prediction) is dict:
        return {f"{PREDICTION}_{name}": one for name, one in prediction.items()}
    return {PREDICTION: prediction}


def _only_predictions(row: Row) -> Row:
    return {name: value for name, value in row.items() if is_prediction(name)}


def _write(path: Path, rows: list[Row]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, pa.Array[Any]] = {}
    for name in names or (PREDICTION,):
        plain = _encodable(name)
        while plain in columns or (plain != name and plain in names):
            plain += "?"
        columns[plain] = _column([row.get(name) for row in rows])
    pq.write_table(pa.table(columns), path)


def _column(values: list[Any]) -> "pa.Array[Any]":
    """Of one type: numbers, truth values or text; whatever else there is as JSON text."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {int, float} and kinds:
        return pa.array([None if v is None else _float(v) for v in values], pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    texts = [v if v is None or type(v) is str else json.dumps(v) for v in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([None if v is None else _encodable(v) for v in texts], pa.string())


def _float(value: float) -> float:
    """A number; a whole one that is too large is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _encodable(text: str) -> str:
    """Half characters (lone surrogates), which JSON can have and UTF-8 cannot, as ``?``."""
    return text.encode("utf-8", "replace").decode()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            yield _parsed(line)


def _parsed(line: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Thousands of digits, which Python does not read as a whole number.
        parsed = json.loads(line, parse_int=float)
    return parsed
