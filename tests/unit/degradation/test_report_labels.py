"""Reports on labels: when a model counts as worse than its baseline."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.report_jobs import RUN, codes, frame, report, with_labels


def test_wrong_labels_are_degraded() -> None:
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


def test_right_labels_are_ok_without_a_reference() -> None:
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
def test_report_without_a_fair_baseline_is_not_ok(
    error: float, job: dict[str, Any], verdict: str
) -> None:
    assert report(with_labels(frame(300, 1), error), **job)["verdict"] == verdict


def test_worse_window_of_another_metric_does_not_count() -> None:
    now = with_labels(frame(60, 1), 0.5)
    job: dict[str, Any] = {"baseline": {"test_rmse": 0.1}, "windows_worse_before": 1}
    assert report(now, **job)["verdict"] == "degraded"
    for before in ({}, {"mae": 2}, {"rmse": 0}):
        found = report(now, worse_before=before, **job)
        assert (found["verdict"], found["worse_metrics"]) == ("insufficient_data", ["rmse"])
    found = report(now, worse_before={"test_rmse": 1}, **job)
    assert found["verdict"] == "degraded"
    assert "worse in the window before as well" in found["reasons"][0]["message"]


def test_worse_metrics_are_named() -> None:
    now = with_labels(frame(60, 1), 0.5)
    found = report(now, baseline={"test_rmse": 0.1, "test_mae": 9.0})
    assert (found["worse"], found["worse_metrics"]) == (True, ["rmse"])
    found = report(now, baseline={"test_rmse": 9.0})
    assert (found["worse"], found["worse_metrics"]) == (False, [])


def test_captured_reference_with_labels_is_a_baseline() -> None:
    before = with_labels(frame(500, 2), 0.1).rename(columns={"__label": "y"}).drop(columns="__ts")
    job = {"reference_source": "captured", "target": "y"}
    found = report(with_labels(frame(300, 1), 0.5), before, **job)
    assert found["verdict"] == "degraded"
    assert {metric["baseline_source"] for metric in found["metrics"]} >= {"reference"}
    assert "captured_reference" in codes(found)


def test_good_labels_come_before_drift() -> None:
    now = with_labels(frame(700, 1, shift=1.0), 0.1)
    found = report(now, frame(1000, 2), baseline=RUN)
    assert found["verdict"] == "drift"
    assert (
        found["headline"]
        == "As good as its baseline on 700 labelled rows, but the data has drifted"
    )
    assert codes(found)[0] == "as_good"
    assert found["reasons"][0]["message"].startswith("On 700 labelled rows the model is as good")
    assert found["reasons"][1]["column"] == "a"
    without = report(now.drop(columns=["__label", "__ts"]), frame(1000, 2), baseline=RUN)
    assert without["headline"] == "Data drift"
    assert without["summary"].endswith(
        "Only labels can show whether the predictions are still right."
    )


def several(n: int, labels: bool = True) -> pd.DataFrame:
    table = with_labels(frame(n, 1), 0.1)
    said = table.pop("__prediction")
    table = table.assign(__prediction_price=said, __prediction_days=said * 3)
    return table if labels else table.drop(columns=["__label", "__ts"])


def test_several_outputs_are_reported_as_not_measured() -> None:
    found = report(several(150), frame(1000, 2), baseline=RUN)
    [reason] = [one for one in found["reasons"] if one["code"] == "not_measured"]
    assert reason["message"].startswith("150 labels are known, but no metric could be measured")
    assert "2 values for each row" in reason["message"]
    assert (found["rows"]["labelled"], found["rows"]["unmeasured"]) == (0, 150)
    assert "few_labels" not in codes(found)
    none = report(several(150, labels=False), frame(1000, 2), baseline=RUN)
    assert "not_measured" not in codes(none)
    assert "few_labels" in codes(none)


def test_labels_without_a_prediction_are_reported() -> None:
    now = with_labels(frame(300, 1), 0.1)
    now.loc[:49, "__prediction"] = np.nan
    found = report(now, frame(1000, 2), baseline=RUN)
    [reason] = [one for one in found["reasons"] if one["code"] == "unpaired"]
    assert reason["message"].startswith("50 of 300 labels")


def test_exact_model_does_not_degrade_by_rounding() -> None:
    now = with_labels(frame(400, 1), 0)
    now["__prediction"] = now["__label"] * (1 + 3e-15)
    found = report(now, frame(1000, 2), baseline={"test_rmse": 1e-16, "test_mae": 0.0})
    assert (found["verdict"], found["worse"]) == ("ok", False)


def test_labels_on_some_rows_only() -> None:
    now = with_labels(frame(300, 1), 0.1)
    now["__label"] = now["__label"].where(pd.Series(range(300)) < 50)
    found = report(now, frame(1000, 2), baseline=RUN)
    assert found["rows"]["labelled"] == 50
    assert found["verdict"] == "ok"
