"""Makes the tables of a report from the files of the controller: captures, labels, training data.

``captures.jsonl`` has a captured request in each line (``columns``, ``data``, ``predictions``, ``ts``,
``request_id``), ``labels.jsonl`` a label. The reference is ``training.csv``, ``training.parquet``, or
earlier captures in ``reference.jsonl``. If the reference has no predictions, those of the earlier captures
in ``predictions.jsonl`` are used.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_deployment.datasets.formats import unique
from model_deployment.degradation.data.tables import (
    LABEL,
    PREDICTION,
    REQUEST,
    SEEN,
    TIME,
    is_prediction,
    is_reserved,
    renamed,
)
from model_deployment.recording.capture import left_out
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
Judged = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Collected:
    """What the report has to know beside the tables."""

    #: Labels that were left out because several captured requests have their id.
    ambiguous: int = 0
    #: Captured requests whose inputs are unknown, by reason.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Text columns that an earlier release captured as numbers: ``501`` for ``00501``.
    guessed: frozenset[str] = frozenset()
    #: Whether some digests were made by an earlier release, which read values differently.
    two_digests: bool = False


@dataclass(slots=True)
class _CaptureStats:
    """What was found while reading captures."""

    left_out: Counter[str] = field(default_factory=Counter)
    guessed: set[str] = field(default_factory=set)
    #: Whether values were read by the types of the signature.
    typed: set[bool] = field(default_factory=set)


def collect(
    folder: Path, specs: Sequence[Mapping[str, Any]] = (), judged: Judged = lambda row: row
) -> Collected:
    """Write ``current.parquet`` and, if there are any, ``reference.parquet`` and ``predictions.parquet``.

    Args:
        specs: the columns of the model's signature in MLflow's JSON form.
        judged: what is judged of the prediction of a row.
    """
    inputs = _parse_inputs(specs)
    captures, frozen = folder / "captures.jsonl", folder / "reference.jsonl"
    labels, ambiguous = _labels(folder / "labels.jsonl", [captures, frozen])
    now, before = _CaptureStats(), _CaptureStats()
    if captures.exists():
        _write(folder / "current.parquet", list(_rows(captures, labels, inputs, now, judged)))
    reference = folder / "reference.parquet"
    if (folder / "training.parquet").exists():
        _move_parquet(folder / "training.parquet", reference, inputs.names)
    elif (folder / "training.csv").exists():
        _convert_csv(folder / "training.csv", reference, inputs)
    elif frozen.exists():
        _write(reference, list(_rows(frozen, labels, inputs, before, judged)))
    predictions = folder / "predictions.parquet"
    if (folder / "predictions.jsonl").exists() and not predictions.exists():
        rows = _rows(folder / "predictions.jsonl", {}, inputs, _CaptureStats(), judged)
        _write(
            predictions, [{name: row[name] for name in row if is_prediction(name)} for row in rows]
        )
    guessed = frozenset(now.guessed | before.guessed)
    return Collected(ambiguous, now.left_out, guessed, len(now.typed | before.typed) > 1)


def _parse_inputs(specs: Sequence[Mapping[str, Any]]) -> ModelInputs:
    try:
        return ModelInputs(specs)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ModelInputs()  # not as MLflow writes a signature: types are found from the values


def _convert_csv(path: Path, reference: Path, inputs: ModelInputs) -> None:
    """Write training data in CSV as Parquet, read by the types of the signature."""
    columns = read_columns(path, inputs)
    names = [_encodable(name) for name in unique(_unreserved(columns.names, inputs.names))]
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


def _move_parquet(path: Path, reference: Path, inputs: Iterable[str]) -> None:
    """Make training data the reference, with columns renamed like those of callers."""
    names = pq.read_schema(path).names
    new_names = _unreserved(names, inputs)
    if new_names == names:
        path.rename(reference)
    else:
        pq.write_table(pq.read_table(path).rename_columns(new_names), reference)


def _unreserved(names: list[str], inputs: Iterable[str]) -> list[str]:
    """Names of training data: inputs of the model with a reserved name are renamed."""
    known = {name: new for name, new in renamed(inputs).items() if is_reserved(name)}
    return [known.get(name, name) for name in names]


def _labels(path: Path, captures: Iterable[Path]) -> tuple[Labels, int]:
    """Labels by request and row, and the number of those left out for a repeated request id."""
    found: dict[str, dict[int, Any]] = {}
    if path.exists():
        for one in _lines(path):
            found.setdefault(one["request_id"], {}).setdefault(one["row"], one["label"])
    again = _repeated([path for path in captures if path.exists()]) if found else set()
    dropped = [found.pop(id) for id in again & found.keys()]
    return found, sum(map(len, dropped))


def _repeated(paths: Iterable[Path]) -> set[str]:
    """Request ids of several captures. The same capture may be in several files."""
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


def _rows(
    path: Path, labels: Labels, inputs: ModelInputs, stats: _CaptureStats, judged: Judged
) -> Iterator[Row]:
    """The rows of captured requests, oldest first."""
    columns: list[str] = []
    names: list[str] = []
    for capture in _lines(path):
        predictions = _by_row(capture["predictions"], len(capture["data"]))
        known = labels.get(capture["request_id"], {})
        unknown = left_out(capture)
        if unknown:
            stats.left_out[str(unknown)] += 1
        sent, data = capture["columns"], capture["data"]
        if data:
            stats.typed.add(bool(capture.get("typed")))
        if not capture.get("typed") and data:
            sent, data = inputs.retyped(sent, data)
            stats.guessed |= _guessed(sent, data, inputs)
        if sent != columns:
            columns = sent
            new = renamed(columns)
            names = [new[name] for name in columns]
        height = max(len(data), len(predictions) if type(predictions) is list else 0)
        for place in range(height):
            row: Row = {TIME: capture["ts"], REQUEST: capture["request_id"], SEEN: not unknown}
            if place < len(data):
                row |= zip(names, data[place], strict=True)
            if type(predictions) is list and place < len(predictions):
                row |= _outputs(judged(predictions[place]))
            row[LABEL] = known.get(place)
            yield row


def _guessed(names: Sequence[str], data: Sequence[Sequence[Any]], inputs: ModelInputs) -> set[str]:
    """Text columns that contain numbers."""
    texts = [
        (place, name)
        for place, name in enumerate(names)
        if (spec := inputs.spec(name)) is not None and spec.get("type") == "string"
    ]
    return {name for place, name in texts if any(type(row[place]) in (int, float) for row in data)}


def _by_row(predictions: Any, rows: int) -> Any:
    """Predictions as rows: ``{"low": [1, 2], "high": [3, 4]}`` has two."""
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
    """An array of numbers, truth values or text; other values become JSON text."""
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
    """A float; whole numbers beyond its range become infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and UTF-8 cannot, with ``?``."""
    return text.encode("utf-8", "replace").decode()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                parsed = json.loads(line)
            except json.JSONDecodeError:
                raise
            except ValueError:  # a whole number of more digits than Python converts
                parsed = json.loads(line, parse_int=float)
            yield parsed
