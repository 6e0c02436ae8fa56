"""Inputs are compared by the signature: how training data and requests were written is no drift."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.degradation.build import build
from model_deployment.degradation.data.collect import collect
from model_deployment.degradation.job import parse
from model_deployment.recording.capture import document, encode
from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import CSV, JSON, PARQUET, csv, parquet, records, spec

SPECS = [
    spec("string", "zip"), spec("string", "day"), spec("string", "phone"), spec("boolean", "ok"),
    spec("long", "n"), spec("float", "tenths"), spec("string", "text", required=False),
]  # fmt: skip


def rows(size: int, seed: int) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "zip": chance.choice(["00501", "01234", "99501"], size),
            "day": chance.choice(["2024-01-01", "2024-01-02", "2024-01-03"], size),
            "phone": chance.choice(["+4912", "+4913", "0049"], size),
            "ok": chance.random(size) < 0.3,
            "n": 2**53 + chance.integers(0, 1000, size),
            "tenths": (chance.integers(0, 5, size) / 10).astype("float32"),
            "text": chance.choice(["True", "1", "2.50", "NA", "-"], size),
        }
    )


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{**row, "tenths": round(row["tenths"], 1)} for row in frame.to_dict("records")]


def captured(folder: Path, bodies: list[tuple[str, bytes]], **options: Any) -> None:
    """Lay down what the drain makes of requests with these bodies."""
    lines = []
    for number, (media_type, body) in enumerate(bodies):
        head = {
            "model": "m", "version": 1, "launch_id": "l", "at": number, "request_id": str(number),
            "latency_ms": 1, "media_type": media_type, "artifact": "m-1-0", **options,
        }  # fmt: skip
        payload = b"".join(encode(head, body, b'{"predictions": [1]}'))
        limit = options.get("limit", 10**7)
        found = document(str(number), payload, limit, b"s", lambda artifact: ModelInputs(SPECS))
        lines.append(json.dumps({**found, "ts": found["ts"].isoformat()}) + "\n")
    (folder / "captures.jsonl").write_text("".join(lines))


def report(folder: Path, **job: Any) -> dict[str, Any]:
    common = {"deep": False, "signature": {"inputs": SPECS}, "reference_source": "training"}
    wanted = parse(common | job)
    build(folder, wanted, collect(folder, wanted.inputs))
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def codes(found: dict[str, Any]) -> set[str]:
    return {one["code"] for one in found["reasons"]}


def three_callers(frame: pd.DataFrame, size: int = 100) -> list[tuple[str, bytes]]:
    parts = [frame[start : start + size] for start in range(0, len(frame), size)]
    ways: list[tuple[str, Callable[[pd.DataFrame], bytes]]] = [
        (JSON, lambda part: records(plain(part))),
        (CSV, lambda part: csv(part[list(part)[::-1]])),
        (PARQUET, parquet),
    ]
    return [
        (ways[place % 3][0], ways[place % 3][1](part.reset_index(drop=True)))
        for place, part in enumerate(parts)
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("way", [0, 1, 2, None])
def test_requests_of_all_forms_do_not_drift(tmp_path: Path, form: str, way: int | None) -> None:
    training = rows(600, 1).assign(y=1.0)
    training.to_csv(tmp_path / "training.csv", index=False) if form == "csv" else (
        training.to_parquet(tmp_path / "training.parquet")
    )
    bodies = three_callers(rows(900, 2))
    captured(tmp_path, bodies if way is None else bodies[way::3])
    found = report(tmp_path, target="y")
    assert found["verdict"] == "ok"
    assert [one["drifted"] for one in found["columns"]] == [False] * len(SPECS)
    assert codes(found) <= {"few_labels", "predictions_not_compared"}


def test_drift_is_found_in_all_forms(tmp_path: Path) -> None:
    rows(600, 1).to_csv(tmp_path / "training.csv", index=False)
    captured(tmp_path, three_callers(rows(900, 2).assign(zip="00502", ok=True)))
    found = report(tmp_path)
    assert found["verdict"] == "drift"
    assert {one["name"] for one in found["columns"] if one["drifted"]} == {"zip", "ok"}


def test_values_of_training_data_are_those_of_the_signature(tmp_path: Path) -> None:
    text = 'zip,ok,n,day,tenths,y\n00501,True,9007199254740993,2024-01-01,0.5,1\n"",,NA,NA,x,2\n'
    (tmp_path / "training.csv").write_text(text)
    collect(tmp_path, SPECS)
    found = pd.read_parquet(tmp_path / "reference.parquet", dtype_backend="pyarrow")
    assert found.astype(object).where(found.notna(), None).to_dict("list") == {
        "zip": ["00501", None],
        "ok": [True, None],
        "n": [9007199254740993, None],
        "day": ["2024-01-01", "NA"],
        "tenths": ["0.5", "x"],
        "y": [1, 2],
    }


def test_training_data_with_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "training.csv").write_text("zip,zip,n\n01,2,3\n")
    collect(tmp_path, SPECS)
    found = pd.read_parquet(tmp_path / "reference.parquet")
    assert found.to_dict("list") == {"zip": ["01"], "zip_1": [2], "n": [3]}


# Requests that cannot be compared


def test_requests_without_inputs_are_left_out_and_counted(tmp_path: Path) -> None:
    rows(600, 1).to_csv(tmp_path / "training.csv", index=False)
    frame = rows(400, 2)
    bodies = [(JSON, records(plain(frame[start : start + 10]))) for start in range(0, 400, 10)]
    odd = [(PARQUET, b"PAR1")] * 20 + [(JSON, b'{"inputs": {"x": [[1], 2]}, "instances": 1}')] * 5
    captured(tmp_path, bodies + odd)
    found = report(tmp_path)
    assert (found["verdict"], found["left_out"]) == ("ok", {"unreadable": 25})
    assert [one["drifted"] for one in found["columns"]] == [False] * len(SPECS)
    assert {one["current"]["missing"] for one in found["columns"] if one["name"] != "text"} == {0}
    (message,) = [one["message"] for one in found["reasons"] if one["code"] == "left_out"]
    assert message == (
        "25 requests are not in the comparison of inputs, because their bodies contain no "
        "readable table of rows."
    )


def test_left_out_requests_have_all_reasons(tmp_path: Path) -> None:
    rows(600, 1).to_csv(tmp_path / "training.csv", index=False)
    captured(tmp_path, [(PARQUET, b"PAR1")] * 2 + [(JSON, b'{"inputs": [[1]]}')], exclude=["zip"])
    path = tmp_path / "captures.jsonl"
    old: dict[str, Any] = {
        "columns": [],
        "data": [],
        "predictions": None,
        "ts": "2026-01-01",
        "truncated": True,
    }
    path.write_text(path.read_text() + json.dumps({**old, "request_id": "old"}) + "\n")
    found = report(tmp_path)
    assert found["left_out"] == {"unreadable": 2, "secret": 1, "too_large": 1}
    assert found["verdict"] == "insufficient_data"
    (message,) = [one["message"] for one in found["reasons"] if one["code"] == "left_out"]
    assert "(2)" in message
    assert "max_capture_bytes (1)" in message


def test_requests_without_inputs_miss_no_column(tmp_path: Path) -> None:
    rows(600, 1).to_csv(tmp_path / "training.csv", index=False)
    captured(tmp_path, [(PARQUET, b"PAR1")] * 50)
    found = report(tmp_path)
    assert found["verdict"] != "drift"
    assert {one["skipped"] for one in found["columns"]} == {"no inputs were captured"}
    assert "column_missing" not in codes(found)


@pytest.mark.parametrize("options", [{"exclude": ["zip", "ok"]}, {"hash": ["zip", "ok", "n"]}])
def test_columns_that_are_not_captured_are_not_missing(tmp_path: Path, options: Any) -> None:
    rows(600, 1).to_csv(tmp_path / "training.csv", index=False)
    captured(tmp_path, three_callers(rows(900, 2)), **options)
    found = report(tmp_path, excluded=options.get("exclude", ()), hashed=options.get("hash", ()))
    assert found["verdict"] == "ok"
    skipped = {one["name"] for one in found["columns"] if one["skipped"]}
    assert skipped == set(*options.values())
    assert "column_missing" not in codes(found)


def test_digests_are_compared_with_digests(tmp_path: Path) -> None:
    captured(tmp_path, three_callers(rows(600, 1)), hash=["n", "zip"])
    (tmp_path / "captures.jsonl").rename(tmp_path / "reference.jsonl")
    captured(tmp_path, three_callers(rows(900, 2)), hash=["n", "zip"])
    found = report(tmp_path, hashed=["n", "zip"], reference_source="captured")
    methods = {one["name"]: (one["method"], one["drifted"]) for one in found["columns"]}
    assert methods["zip"][0] is not None
    assert not any(drifted for _, drifted in methods.values())


# What earlier releases captured


def test_captures_of_earlier_releases_do_not_drift(tmp_path: Path) -> None:
    rows(600, 1).to_csv(tmp_path / "training.csv", index=False)
    frame = rows(400, 2).drop(columns=["zip", "phone"])
    old: dict[str, Any] = {
        "predictions": [1] * 400,
        "ts": "2026-01-01",
        "request_id": "a",
        "truncated": False,
    }
    guessed = frame.astype({"ok": str, "n": float, "tenths": float}).round({"tenths": 1})
    data = [list(row.values()) for row in guessed.to_dict("records")]
    lines = [
        {**old, "columns": list(frame), "data": data, "note": ""},
        {**old, "columns": [], "data": [], "note": "no table of rows in the body (x)"},
    ]
    (tmp_path / "captures.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    found = report(tmp_path, excluded=["zip", "phone"])
    assert (found["verdict"], found["left_out"]) == ("ok", {"unreadable": 1})


@pytest.mark.parametrize("reference", ["training", "captured"])
def test_texts_read_as_numbers_by_an_earlier_release_do_not_drift(
    tmp_path: Path, reference: str
) -> None:
    captured(tmp_path, three_callers(rows(600, 1)))
    lines = (tmp_path / "captures.jsonl").read_text().splitlines()
    for line, old in [(one, json.loads(one)) for one in lines]:
        del old["typed"]
        for row in old["data"]:
            row[0], row[2] = int(row[0]), int(row[2])
        lines[lines.index(line)] = json.dumps(old)
    frozen = "\n".join(lines) + "\n"
    captured(tmp_path, three_callers(rows(900, 2)))
    if reference == "captured":
        (tmp_path / "reference.jsonl").write_text(frozen)
    else:
        rows(600, 3).to_csv(tmp_path / "training.csv", index=False)
        path = tmp_path / "captures.jsonl"
        path.write_text(frozen + path.read_text())
    found = report(tmp_path, reference_source=reference)
    assert found["verdict"] == "ok"
    tested = {one["name"]: one["drifted"] for one in found["columns"] if one["method"]}
    assert (tested["zip"], tested["phone"]) == (False, False)


def test_digests_of_an_earlier_release_are_compared_where_values_were_read_alike(
    tmp_path: Path,
) -> None:
    captured(tmp_path, three_callers(rows(600, 1)), hash=["n", "zip"])
    frozen = (tmp_path / "captures.jsonl").read_text().replace('"typed": true', '"typed": false')
    (tmp_path / "reference.jsonl").write_text(frozen)
    captured(tmp_path, three_callers(rows(900, 2)), hash=["n", "zip"])
    found = report(tmp_path, hashed=["n", "zip"], reference_source="captured")
    skipped = {one["name"]: one["skipped"] for one in found["columns"]}
    assert "earlier release" in skipped["zip"]
    assert "earlier release" not in str(skipped["n"])
    assert found["verdict"] == "ok"
