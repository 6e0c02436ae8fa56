"""From what the controller lays down to tables: whatever callers sent, nothing of ours is lost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.core.series import next_value
from model_deployment.degradation.build import build
from model_deployment.degradation.data.collect import Collected, collect
from model_deployment.degradation.job import parse


def capture(
    id: str, columns: dict[str, list[Any]], predictions: Any, **more: Any
) -> dict[str, Any]:
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    common = {"request_id": id, "ts": "2026-01-01T00:00:00+00:00", "predictions": predictions}
    return {**common, "columns": list(columns), "data": rows, **more}


def label(id: str, row: int, value: Any) -> dict[str, Any]:
    return {"request_id": id, "row": row, "label": value}


def lay(folder: Path, name: str, documents: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(one) + "\n" for one in documents)
    (folder / f"{name}.jsonl").write_text(text, encoding="ascii")


def current(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "current.parquet")


def made(folder: Path, collected: Collected | None = None, **job: Any) -> dict[str, Any]:
    build(folder, parse({"deep": False, **job}), collected or Collected())
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_whole_numbers_beyond_floats_are_infinite(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"a": [10**400, -(10**400), 1.5], "b": [10**400, "x", None]}
    lay(tmp_path, "captures", [capture("r", columns, [10**400, 1, 2])])
    lay(tmp_path, "labels", [label("r", 0, 10**400), label("r", 1, 1.0)])
    collect(tmp_path)
    table = current(tmp_path)
    assert table["a"].tolist() == [np.inf, -np.inf, 1.5]
    assert table["b"].tolist()[:2] == ["1" + "0" * 400, "x"]
    assert table["__prediction"].tolist() == [np.inf, 1, 2]
    assert made(tmp_path, task="regression")["rows"]["labelled"] == 1


def test_whole_numbers_that_python_does_not_read(tmp_path: Path) -> None:
    lay(tmp_path, "captures", [capture("r", {"a": [7, 1.5]}, [1, 2])])
    path = tmp_path / "captures.jsonl"
    path.write_text(path.read_text().replace("[7]", f"[{'9' * 5000}]"))
    collect(tmp_path)
    assert current(tmp_path)["a"].tolist() == [np.inf, 1.5]


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"a": ["\ud800x", "\U0001f600"], "\udfff": [1, 2], "?": [3, 4]}
    lay(tmp_path, "captures", [capture("r", columns, ["\udc00", {"n\ud800": 1}])])
    lay(tmp_path, "labels", [label("r", 0, "\udc00")])
    collect(tmp_path)
    table = current(tmp_path)
    assert table["a"].tolist() == ["?x", "\U0001f600"]
    assert table["?"].tolist() == [3, 4]
    assert table["??"].tolist() == [1, 2]
    assert table["__prediction_n?"].tolist()[1] == 1
    assert table["__label"].tolist()[0] == "?"
    made(tmp_path)


def test_of_a_series_the_next_value_is_judged(tmp_path: Path) -> None:
    signature = {"inputs": [], "params": [{"name": "prediction_step", "default": 3}]}
    assert parse({"signature": signature}).predicts_series
    assert not parse({"signature": {"inputs": []}}).predicts_series
    lay(
        tmp_path,
        "captures",
        [capture(f"r{n}", {"a": [n]}, [[n + 0.5, 9.0, 9.0][: 1 + n % 3]]) for n in range(30)],
    )
    lay(tmp_path, "labels", [label(f"r{n}", 0, float(n)) for n in range(30)])
    collect(tmp_path, (), next_value)
    assert current(tmp_path)["__prediction"].tolist() == [n + 0.5 for n in range(30)]
    report = made(tmp_path, task="regression")
    assert (report["rows"]["labelled"], report["rows"]["unmeasured"]) == (30, 0)


OURS = ("__prediction", "__prediction_9", "__label", "__ts", "__request_id")


@pytest.mark.parametrize("name", OURS)
def test_column_with_a_reserved_name_is_renamed(tmp_path: Path, name: str) -> None:
    columns = {name: [7.0] * 40, f"_{name}": [8.0] * 40, "b": [1.0, 2.0] * 20}
    lay(tmp_path, "captures", [capture("r", columns, [5.0] * 40)])
    lay(tmp_path, "labels", [label("r", 0, 6.0)])
    collect(tmp_path)
    table = current(tmp_path)
    assert table["__prediction"].tolist() == [5.0] * 40
    assert table["__label"][0] == 6.0
    assert table["__ts"][0].startswith("2026")
    assert table["__request_id"][0] == "r"
    assert table[f"_{name}"].tolist() == [8.0] * 40
    assert table[f"__{name}"].tolist() == [7.0] * 40
    assert "__prediction_9" not in table


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_column_with_a_reserved_name_is_compared_with_the_training_data(
    tmp_path: Path, name: str, form: str
) -> None:
    training = pd.DataFrame({name: np.arange(100.0), "b": np.arange(100.0)})
    if form == "csv":
        training.to_csv(tmp_path / "training.csv", index=False)
    else:
        training.to_parquet(tmp_path / "training.parquet")
    columns = {name: list(np.arange(100.0)), "b": list(np.arange(100.0))}
    lay(tmp_path, "captures", [capture("r", columns, [5.0] * 100)])
    inputs = [{"name": one, "type": "double"} for one in (name, "b")]
    collect(tmp_path, inputs)
    found = made(tmp_path, signature={"inputs": inputs})
    assert {one["name"]: one["score"] for one in found["columns"]} == {f"_{name}": 0, "b": 0}
    assert found["verdict"] == "ok"


def test_labels_of_a_repeated_request_id_are_left_out_and_counted(tmp_path: Path) -> None:
    twice = [capture("twice", {"a": [1.0, 2.0]}, [1.0, 2.0], _id=place) for place in "ab"]
    lay(tmp_path, "captures", [*twice, capture("once", {"a": [3.0]}, [3.0])])
    labels = [label("twice", 0, 1.0), label("twice", 1, 2.0), label("once", 0, 3.0)]
    lay(tmp_path, "labels", labels)
    collected = collect(tmp_path)
    assert collected.ambiguous == 2
    assert current(tmp_path)["__label"].dropna().tolist() == [3.0]
    found = made(tmp_path, collected)
    assert (found["rows"]["labelled"], found["rows"]["ambiguous"]) == (1, 2)
    reason = next(one for one in found["reasons"] if one["code"] == "ambiguous_labels")
    assert reason["severity"] == "info"


def test_capture_in_two_files_counts_once(tmp_path: Path) -> None:
    one = capture("r", {"a": [1.0]}, [1.0], _id="1")
    lay(tmp_path, "labels", [label("r", 0, 1.0)])
    lay(tmp_path, "captures", [one])
    lay(tmp_path, "reference", [one])
    assert collect(tmp_path).ambiguous == 0
    lay(tmp_path, "reference", [{**one, "_id": "2"}])
    assert collect(tmp_path).ambiguous == 1


def test_earlier_captures_become_predictions_only(tmp_path: Path) -> None:
    lay(tmp_path, "captures", [capture("r", {"a": [1.0] * 50}, [9.0, 8.0] * 25)])
    earlier = {"a": [1.0] * 50, "__prediction_2": [4.0] * 50}
    lay(tmp_path, "predictions", [capture("e", earlier, [1.0, 2.0] * 25)])
    pd.DataFrame({"a": [1.0] * 50, "y": [1.0] * 50}).to_parquet(tmp_path / "training.parquet")
    collect(tmp_path)
    assert list(pd.read_parquet(tmp_path / "predictions.parquet")) == ["__prediction"]
    found = made(tmp_path, target="y")
    assert (found["verdict"], found["prediction_against"]) == ("drift", "captured")


def test_predictions_parquet_is_kept(tmp_path: Path) -> None:
    lay(tmp_path, "captures", [capture("r", {"a": [1.0] * 50}, [9.0, 8.0] * 25)])
    pd.DataFrame({"a": [1.0] * 50}).to_parquet(tmp_path / "training.parquet")
    pd.DataFrame({"__prediction": [9.0, 8.0] * 25, "a": 1}).to_parquet(
        tmp_path / "predictions.parquet"
    )
    collect(tmp_path)
    found = made(tmp_path)
    assert (found["prediction"]["drifted"], found["prediction_against"]) == (False, "captured")


def outputs(predictions: Any, tmp_path: Path) -> dict[str, Any]:
    lay(tmp_path, "captures", [capture(f"r{n}", {"a": [1, 2]}, predictions) for n in range(20)])
    lay(tmp_path, "labels", [label(f"r{n}", row, 2.0) for n in range(20) for row in (0, 1)])
    return made(tmp_path, collect(tmp_path))


@pytest.mark.parametrize(
    ("predictions", "why"),
    [
        ({"low": [1.0, 2.0], "high": [3.0, 4.0]}, "predicts 2 values for each row"),
        ([{"low": 1.0, "high": 2.0}] * 2, "predicts 2 values for each row"),
        ({"sum": 4.0}, "does not answer with one value for each row"),
        (7.5, "does not answer with one value for each row"),
        ([None, None], "the predictions of these rows are missing"),
    ],
)
def test_labels_without_a_usable_prediction_are_counted(
    tmp_path: Path, predictions: Any, why: str
) -> None:
    found = outputs(predictions, tmp_path)
    assert (found["rows"]["labelled"], found["rows"]["unmeasured"]) == (0, 40)
    (message,) = [one["message"] for one in found["reasons"] if one["code"] == "not_measured"]
    assert message.startswith("40 labels are known")
    assert why in message
    assert "few_labels" not in {one["code"] for one in found["reasons"]}


@pytest.mark.parametrize(
    "predictions", [{"y": [1.5, 2.0]}, [{"y": 1.5}, {"y": 2.0}], [[1.5], [2.0]]]
)
def test_single_output_is_measured(tmp_path: Path, predictions: Any) -> None:
    assert outputs(predictions, tmp_path)["rows"]["labelled"] == 40
