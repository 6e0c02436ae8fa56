"""Whole reports on tables: what they say when something moved, broke, or cannot be told."""

from typing import Any

import pandas as pd
import pytest

from model_deployment.monitoring.report.job import parse
from tests.unit.reports import codes, frame, report, with_labels

RUN = {"test_rmse": 0.1, "test_mae": 0.08}


def test_nothing_moved() -> None:
    found = report(frame(300, 1), frame(1000, 2))
    assert found["verdict"] == "ok"
    assert found["share_drifted"] == 0
    assert found["rows"] == {"reference": 1000, "current": 300, "labelled": 0}
    assert codes(found) == ["few_labels"]


def test_a_column_that_moved_is_named_first() -> None:
    found = report(frame(300, 1, shift=1.0), frame(1000, 2))
    assert found["verdict"] == "drift"
    assert found["reasons"][0]["column"] == "a"
    assert "standard deviations above" in found["reasons"][0]["message"]
    first = found["columns"][0]
    assert (first["name"], first["drifted"], first["method"]) == ("a", True, "ks")
    assert first["p_value"] < 1e-6
    assert not found["prediction"]["drifted"]


def test_predictions_that_moved_are_drift() -> None:
    now = frame(300, 1)
    now["__prediction"] += 1
    found = report(now, frame(1000, 2))
    assert found["verdict"] == "drift"
    assert "prediction_drift" in codes(found)


def test_a_column_that_is_gone_is_drift() -> None:
    found = report(frame(300, 1).drop(columns=["b"]), frame(1000, 2), target="y")
    assert found["verdict"] == "drift"
    assert codes(found)[0] == "column_missing"


def test_what_nobody_sends_is_taken_for_the_target() -> None:
    found = report(frame(300, 1), frame(1000, 2).assign(y=1.0))
    assert found["verdict"] == "ok"


def test_only_columns_of_the_signature_count() -> None:
    inputs = [{"name": "a", "type": "double"}, {"name": "late", "type": "double"}]
    found = report(frame(300, 1), frame(1000, 2).assign(id=1), signature={"inputs": inputs})
    assert [column["name"] for column in found["columns"]] == ["a", "late"]
    assert found["columns"][1]["skipped"] == "neither table has it"


def test_an_unnamed_tensor_is_matched_by_position() -> None:
    now = frame(300, 1).rename(columns={"a": "0", "b": "1", "c": "2"})
    found = report(now, frame(1000, 2), signature={"inputs": [{"type": "tensor"}]})
    assert {column["name"] for column in found["columns"]} == {"a", "b", "c"}
    assert found["verdict"] == "ok"


def test_labels_that_are_wrong_degrade() -> None:
    found = report(with_labels(frame(300, 1), 0.5), frame(1000, 2), baseline=RUN)
    assert (found["verdict"], found["worse"]) == ("degraded", True)
    assert codes(found)[0] == "degraded"
    by_name = {metric["name"]: metric for metric in found["metrics"]}
    assert by_name["rmse"]["degraded"]
    assert (by_name["rmse"]["baseline"], by_name["rmse"]["n"]) == (0.1, 300)
    assert by_name["mse"]["baseline"] is None


def test_worse_once_is_not_ok() -> None:
    found = report(with_labels(frame(60, 1), 0.5), frame(1000, 2), baseline=RUN)
    assert (found["verdict"], found["worse"]) == ("insufficient_data", True)
    assert codes(found)[0] == "worse_once"
    again = report(
        with_labels(frame(60, 1), 0.5), frame(1000, 2), baseline=RUN, windows_worse_before=1
    )
    assert again["verdict"] == "degraded"


def test_labels_that_are_right_suffice_without_a_reference() -> None:
    found = report(with_labels(frame(300, 1), 0.1), baseline=RUN)
    assert found["verdict"] == "ok"
    assert "no_reference" in codes(found)


@pytest.mark.parametrize(
    ("error", "job", "verdict"),
    [
        (0.1, {}, "no_reference"),
        (0.1, {"baseline": {"training_rmse": 0.1}}, "insufficient_data"),
        (9.0, {"baseline": {"training_rmse": 0.1}}, "insufficient_data"),
        (9.0, {"baseline": {"profit": 0.1}}, "no_reference"),
    ],
)
def test_without_anything_fair_to_compare_with_it_is_not_ok(
    error: float, job: dict[str, Any], verdict: str
) -> None:
    assert report(with_labels(frame(300, 1), error), **job)["verdict"] == verdict


def test_early_windows_are_the_baseline_where_the_run_has_none() -> None:
    past = {"ts": "2026-01-01T00:00:00Z", "metrics": {"rmse": 0.1}, "n": 500, "source": "feedback"}
    found = report(with_labels(frame(300, 1), 0.5), history=[past], since="2026-01-02T00:00:00Z")
    assert found["verdict"] == "degraded"
    rmse = next(metric for metric in found["metrics"] if metric["name"] == "rmse")
    assert rmse["baseline_source"] == "history"


def test_metrics_that_somebody_sent_are_judged_without_labels() -> None:
    sent = {"ts": "2026-01-02T12:00:00Z", "metrics": {"rmse": 0.5}, "n": 500, "source": "sent"}
    job = {"history": [sent], "since": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
    assert report(frame(300, 1), baseline=RUN, **job)["verdict"] == "insufficient_data"
    job["windows_worse_before"] = 1
    assert report(frame(300, 1), baseline=RUN, **job)["verdict"] == "degraded"
    sent["n"] = None
    assert report(frame(300, 1), baseline=RUN, **job)["verdict"] == "insufficient_data"


def test_a_captured_reference_with_labels_is_a_baseline() -> None:
    before = with_labels(frame(500, 2), 0.1).rename(columns={"__label": "y"}).drop(columns="__ts")
    job = {"reference_source": "captured", "target": "y"}
    found = report(with_labels(frame(300, 1), 0.5), before, **job)
    assert found["verdict"] == "degraded"
    assert {metric["baseline_source"] for metric in found["metrics"]} >= {"reference"}
    assert "captured_reference" in codes(found)


@pytest.mark.parametrize("n", [0, 1, 29])
def test_few_rows_are_not_enough(n: int) -> None:
    found = report(frame(n, 1), frame(1000, 2))
    assert found["verdict"] == "insufficient_data"
    assert "few_rows" in codes(found)
    assert report(frame(300, 1), frame(n, 2))["verdict"] == "insufficient_data"
    assert report(frame(n, 1))["verdict"] == "no_reference"


def test_violations_are_told_and_many_are_drift() -> None:
    some = [{"column": "a", "kind": "type", "count": 5}]
    found = report(frame(300, 1), frame(1000, 2), violations=some, requests=100)
    assert (found["verdict"], codes(found)[0]) == ("ok", "violations")
    some[0]["count"] = 50
    found = report(frame(300, 1), frame(1000, 2), violations=some, requests=100)
    assert found["verdict"] == "drift"


def test_now_is_sampled_down_to_the_reference() -> None:
    found = report(frame(5000, 1), frame(200, 2))
    assert found["columns"][0]["current"]["rows"] == 200
    assert found["columns"][0]["method"] in ("ks", "chi_square")
    assert found["rows"]["current"] == 5000


def test_the_same_job_says_the_same() -> None:
    tables = with_labels(frame(500, 1), 0.2), frame(200, 2)
    assert report(*tables, baseline=RUN) == report(*tables, baseline=RUN)


def test_a_job_of_nulls_has_defaults() -> None:
    nulls: dict[str, Any] = dict.fromkeys(
        ("signature", "reference_source", "target", "task", "baseline", "history", "tolerance")
    )
    job = parse(
        {**nulls, "model": "m", "version": 3, "baseline": {"rmse": None, "r2": float("nan")}}
    )
    assert (job.version, job.max_rows, dict(job.baseline)) == ("3", 20_000, {})


def test_labels_on_some_rows_only() -> None:
    now = with_labels(frame(300, 1), 0.1)
    now["__label"] = now["__label"].where(pd.Series(range(300)) < 50)
    found = report(now, frame(1000, 2), baseline=RUN)
    assert found["rows"]["labelled"] == 50
    assert found["verdict"] == "ok"
