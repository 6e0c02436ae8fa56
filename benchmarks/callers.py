"""Windows for ``verdicts.py`` that go the whole way: bodies, captures, tables, report.

The rows have the columns that callers write in different ways: truth values, codes with zeros in front,
days, telephone numbers, whole numbers beyond floats.
"""

import io
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import ROOT
from windows import World, drawn

sys.path.insert(0, str(ROOT))

from model_deployment.degradation.data.collect import collect
from model_deployment.degradation.data.tables import PREDICTION, read, read_labelled
from model_deployment.degradation.job import ReportJob, parse
from model_deployment.degradation.report import ReportInputs, make_report
from model_deployment.recording.capture import document, encode
from model_deployment.tabular.input_columns import ModelInputs

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
FORMS = {"JSON": (JSON,), "CSV": (CSV,), "Parquet": (PARQUET,), "mixed": (JSON, CSV, PARQUET)}
#: Rows of one request, and of the reference.
_ROWS, _REFERENCE = 10, 1000
_TYPES = {"float64": "double", "float32": "float", "int64": "long", "bool": "boolean"}

Make = Callable[[World, np.random.Generator], str]


def dressed(frame: pd.DataFrame, now: World, chance: np.random.Generator) -> pd.DataFrame:
    """Rows with columns of other types beside the numbers."""
    size = len(frame)
    names = frame.pop("names")
    answers = frame.pop(PREDICTION)
    return frame.assign(
        names=names,
        above=frame["c0"] > now.quartiles[1],
        code=chance.choice(["00501", "01234", "10001", "99501"], size, p=[0.4, 0.3, 0.2, 0.1]),
        phone=chance.choice(["+4930", "+4989", "0049"], size),
        day=chance.choice(["2026-01-01", "2026-01-02", "2026-01-03"], size),
        flag=chance.choice(["True", "False", "1"], size),
        id=2**53 + chance.integers(0, 1000, size),
        tenths=(chance.integers(0, 10, size) / 10).astype("float32"),
        answers=answers,
    )


def called(form: str, n: int, **more: Any) -> Make:
    """A window of callers who send the forms in turn.

    Args:
        form: of :data:`FORMS`.
        n: rows.
        more: as :func:`_verdict` takes them.
    """

    def one(now: World, chance: np.random.Generator) -> str:
        reference = dressed(drawn(now, _REFERENCE, chance)[0], now, chance)
        rows, _ = drawn(now, n, chance, more.get("shift", 0.0))
        window = dressed(rows, now, chance)
        with tempfile.TemporaryDirectory() as folder:
            return _verdict(Path(folder), FORMS[form], window, reference, **more)

    return one


def _verdict(
    folder: Path,
    forms: Sequence[str],
    window: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    training: str = "csv",
    refused: float = 0.0,
    shift: float = 0.0,
) -> str:
    """The verdict.

    Args:
        forms: of the bodies, in turn.
        training: ``csv`` or ``parquet``, or ``captured``: rows that were sent as JSON.
        refused: share of the requests that were refused, with a violation for each column.
        shift: told here so that it may be a keyword of a case.
    """
    specs = _specs(window)
    _capture(folder / "captures.jsonl", window, forms, specs)
    if training == "captured":
        _capture(folder / "reference.jsonl", reference, (JSON,), specs)
    elif training == "csv":
        reference.drop(columns="answers").to_csv(folder / "training.csv", index=False)
    else:
        reference.drop(columns="answers").to_parquet(folder / "training.parquet")
    answered = len(window) // _ROWS
    wrong = round(answered * refused / (1 - refused))
    job = parse(
        {
            "signature": {"inputs": specs},
            "reference_source": "captured" if training == "captured" else "training",
            "requests": answered + wrong,
            "refused": {"refused": wrong},
            "violations": [
                {"column": spec["name"], "kind": "missing", "count": wrong}
                for spec in specs
                if wrong
            ],
            "max_columns": 1,
        }
    )
    return _judged(folder, job)


def _judged(folder: Path, job: ReportJob) -> str:
    collected = collect(folder, job.inputs)
    tables = [read(folder / f"{name}.parquet", 20_000, 0) for name in ("current", "reference")]
    inputs = ReportInputs(
        tables[0], tables[1], read_labelled(folder / "current.parquet"), collected=collected
    )
    return str(make_report(job, inputs)[0]["verdict"])


def _specs(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"name": name, "type": _TYPES.get(str(frame[name].dtype), "string"), "required": True}
        for name in frame
        if name != "answers"
    ]


def _capture(
    path: Path, frame: pd.DataFrame, forms: Sequence[str], specs: Sequence[dict[str, Any]]
) -> None:
    """What the drain makes of the requests."""
    inputs = ModelInputs(specs)
    with path.open("w") as file:
        for number, start in enumerate(range(0, len(frame), _ROWS)):
            part = frame[start : start + _ROWS].reset_index(drop=True)
            answers = part.pop("answers").tolist()
            media_type = forms[number % len(forms)]
            head = {
                "model": "m", "version": 1, "launch_id": "l", "artifact": "m-1-0", "at": number,
                "request_id": str(number), "latency_ms": 1, "media_type": media_type,
            }  # fmt: skip
            answer = json.dumps({"predictions": answers}).encode()
            payload = b"".join(encode(head, _body(media_type, part), answer))
            found = document(str(number), payload, 10**7, b"", lambda artifact: inputs)
            file.write(json.dumps({**found, "ts": found["ts"].isoformat()}) + "\n")


def _body(media_type: str, part: pd.DataFrame) -> bytes:
    if media_type == PARQUET:
        packed = io.BytesIO()
        part.to_parquet(packed)
        return packed.getvalue()
    if media_type == CSV:
        return part[list(part)[::-1]].to_csv(index=False).encode()
    rows = part.assign(tenths=part["tenths"].astype(float).round(1)).to_dict("records")
    return json.dumps({"dataframe_records": rows}).encode()
