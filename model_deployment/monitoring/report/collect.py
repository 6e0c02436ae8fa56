"""Makes the two tables of a report from what the controller laid down: captures, labels, training data.

``captures.jsonl`` has one captured request a line (``columns``, ``data``, ``predictions``, ``ts``,
``request_id``), ``labels.jsonl`` one label. The reference is ``training.csv``, ``training.parquet``, or
frozen captures in ``reference.jsonl``.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from model_deployment.monitoring.report.read import LABEL, PREDICTION, REQUEST, TIME

Row = dict[str, Any]


def collect(folder: Path) -> None:
    """Write ``current.parquet`` and, if there is one, ``reference.parquet``, where they are missing."""
    labels = _labels(folder / "labels.jsonl")
    captures = folder / "captures.jsonl"
    if captures.exists():
        _write(folder / "current.parquet", list(_rows(captures, labels)))
    reference = folder / "reference.parquet"
    if (folder / "training.parquet").exists():
        (folder / "training.parquet").rename(reference)
    elif (folder / "training.csv").exists():
        pq.write_table(pa_csv.read_csv(folder / "training.csv"), reference)
    elif (folder / "reference.jsonl").exists():
        _write(reference, list(_rows(folder / "reference.jsonl", labels)))


def _labels(path: Path) -> dict[str, dict[int, Any]]:
    found: dict[str, dict[int, Any]] = {}
    if path.exists():
        for one in _lines(path):
            found.setdefault(one["request_id"], {}).setdefault(one["row"], one["label"])
    return found


def _rows(path: Path, labels: Mapping[str, Mapping[int, Any]]) -> Iterator[Row]:
    """The rows of captured requests, oldest first."""
    for capture in _lines(path):
        predictions = capture["predictions"]
        known = labels.get(capture["request_id"], {})
        height = max(len(capture["data"]), len(predictions) if type(predictions) is list else 0)
        for place in range(height):
            row: Row = {TIME: capture["ts"], REQUEST: capture["request_id"]}
            if place < len(capture["data"]):
                row |= zip(capture["columns"], capture["data"][place], strict=True)
            if type(predictions) is list and place < len(predictions):
                row |= _outputs(predictions[place])
            row[LABEL] = known.get(place)
            yield row


def _outputs(prediction: Any) -> Row:
    """One column for each output."""
    if type(prediction) is list:
        return {f"{PREDICTION}_{place}": one for place, one in enumerate(prediction)}
    if type(prediction) is dict:
        return {f"{PREDICTION}_{name}": one for name, one in prediction.items()}
    return {PREDICTION: prediction}


def _write(path: Path, rows: list[Row]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([row.get(name) for row in rows]) for name in names or (PREDICTION,)}
    pq.write_table(pa.table(columns), path)


def _column(values: list[Any]) -> "pa.Array[Any]":
    """Of one type: numbers, truth values or text; whatever else there is as JSON text."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {int, float} and kinds:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    texts = [v if v is None or type(v) is str else json.dumps(v) for v in values]
    return pa.array(texts, pa.string())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
