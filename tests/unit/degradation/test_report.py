"""Whole reports on tables: verdict, headline and findings."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.degradation.job import parse, recorded_metrics
from model_deployment.metrics.scores import comparison
from tests.support.report_jobs import codes, frame, report, with_labels

RUN = {"test_rmse": 0.1, "test_mae": 0.08}


def test_unmoved_tables_are_ok() -> None:
    found = report(frame(300, 1), frame(1000, 2))
    assert found["verdict"] == "ok"
    assert found["share_drifted"] == 0
    rows = {"labelled": 0, "unmeasured": 0, "ambiguous": 0}
    assert found["rows"] == {"reference": 1000, "current": 300, **rows}
    assert codes(found) == ["few_labels"]


def test_drifted_column_comes_first() -> None:
    found = report(frame(300, 1, shift=1.0), frame(1000, 2))
    assert found["verdict"] == "drift"
    assert found["reasons"][0]["column"] == "a"
    assert "its mean rose from" in found["reasons"][0]["message"]
    first = found["columns"][0]
    assert (first["name"], first["drifted"], first["method"]) == ("a", True, "ks")
    assert first["p_value"] < 1e-6
    assert not found["prediction"]["drifted"]


def test_drifted_predictions_are_drift() -> None:
    now = frame(300, 1)
    now["__prediction"] += 1
    found = report(now, frame(1000, 2))
    assert found["verdict"] == "drift"
    assert "prediction_drift" in codes(found)


def test_missing_column_is_drift() -> None:
    found = report(frame(300, 1).drop(columns=["b"]), frame(1000, 2), target="y")
    assert found["verdict"] == "drift"
    assert codes(found)[0] == "column_missing"


def test_column_that_no_caller_sends_is_taken_for_the_target() -> None:
    found = report(frame(300, 1), frame(1000, 2).assign(y=1.0))
    assert found["verdict"] == "ok"


def test_index_and_ids_are_no_missing_inputs() -> None:
    trained = frame(1000, 2).assign(**{"Unnamed: 0": range(1000), "id": 1, "y": 1.0})
    assert report(frame(300, 1), trained)["verdict"] == "ok"
    found = report(frame(300, 1), trained, reference_source="captured")
    assert [one["column"] for one in found["reasons"] if one["code"] == "column_missing"] == [
        "id", "y",
    ]  # fmt: skip


def test_only_columns_of_the_signature_count() -> None:
    inputs = [{"name": "a", "type": "double"}, {"name": "late", "type": "double"}]
    found = report(frame(300, 1), frame(1000, 2).assign(id=1), signature={"inputs": inputs})
    assert [column["name"] for column in found["columns"]] == ["a", "late"]
    assert found["columns"][1]["skipped"] == "neither table has this column"


def test_an_unnamed_tensor_is_matched_by_position() -> None:
    now = frame(300, 1).rename(columns={"a": "0", "b": "1", "c": "2"})
    found = report(now, frame(1000, 2), signature={"inputs": [{"type": "tensor"}]})
    assert {column["name"] for column in found["columns"]} == {"a", "b", "c"}
    assert found["verdict"] == "ok"


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


def test_early_windows_are_the_baseline_where_the_run_has_none() -> None:
    past = {"ts": "2026-01-01T00:00:00Z", "metrics": {"rmse": 0.1}, "n": 500, "source": "set"}
    found = report(with_labels(frame(300, 1), 0.5), history=[past], since="2026-01-02T00:00:00Z")
    assert found["verdict"] == "degraded"
    rmse = next(metric for metric in found["metrics"] if metric["name"] == "rmse")
    assert rmse["baseline_source"] == "history"


def entry(ts: str, rmse: float, source: str = "set", n: int = 500) -> dict[str, Any]:
    """Of the history."""
    return {"ts": f"2026-01-{ts}Z", "metrics": {"test_rmse": rmse}, "n": n, "source": source}


WINDOW = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}


@pytest.mark.parametrize("rows", [0, 300])
@pytest.mark.parametrize("rmse", [0.1, 9.0])
def test_feedback_of_any_age_is_no_metric_of_this_window(rows: int, rmse: float) -> None:
    past = [entry(f"02T1{hour}:00:00", rmse, "feedback") for hour in range(3)]
    job = {"baseline": RUN, "worse_before": {"rmse": 3}, "history": past, **WINDOW}
    found = report(frame(rows, 1), **job)
    assert found["verdict"] == ("no_reference" if rows else "insufficient_data")
    assert all(metric["current"] is None for metric in found["metrics"])


def test_feedback_is_never_the_baseline() -> None:
    past = [entry("01T00:00:00", 0.1, "feedback")]
    found = report(with_labels(frame(300, 1), 0.5), history=past, **WINDOW)
    assert found["verdict"] == "no_reference"
    assert all(metric["baseline"] is None for metric in found["metrics"])


@pytest.mark.parametrize(
    ("ts", "counts"),
    [
        ("01T23:59:59", False),
        ("02T00:00:00", True),
        ("02T23:59:59", True),
        ("03T00:00:00", False),
    ],
)
def test_set_metrics_count_in_their_window_only(ts: str, counts: bool) -> None:
    found = report(frame(0, 1), frame(500, 2), baseline=RUN, history=[entry(ts, 0.1)], **WINDOW)
    assert found["verdict"] == ("ok" if counts else "insufficient_data")


def test_history_baseline_is_the_first_that_was_set() -> None:
    past = [
        entry("01T01:00:00", 0.05, n=29),
        entry("01T02:00:00", 0.1),
        entry("01T03:00:00", 0.5),
    ]
    now = with_labels(frame(300, 1), 0.5)
    for history in (past, past[::-1]):
        found = report(now, history=history, **WINDOW)
        rmse = next(metric for metric in found["metrics"] if metric["name"] == "rmse")
        assert (found["verdict"], rmse["baseline"]) == ("degraded", 0.1)
    # The oldest is of this window: then there is none.
    found = report(frame(0, 1), history=[entry("02T01:00:00", 9.0)], **WINDOW)
    assert found["verdict"] == "insufficient_data"
    assert found["metrics"][0]["baseline"] is None


def test_job_may_have_an_older_baseline_than_its_history() -> None:
    now = with_labels(frame(300, 1), 0.5)
    past = [entry("01T03:00:00", 0.5)]
    assert report(now, history=past, **WINDOW)["verdict"] == "ok"
    first = {"ts": "2025-06-01T00:00:00Z", "metrics": {"test_rmse": 0.1}, "n": 500, "source": "set"}
    found = report(now, history=past, first_set=first, **WINDOW)
    assert found["verdict"] == "degraded"
    fair = report(now, first_set=first, baseline={"test_rmse": 0.5}, **WINDOW)
    assert fair["verdict"] == "ok"
    # Set in this window it is no baseline of its labels.
    inside = {**first, "ts": "2026-01-02T01:00:00Z"}
    assert report(now, first_set=inside, **WINDOW)["verdict"] == "no_reference"


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


@pytest.mark.parametrize("reference", [None, frame(1000, 2)])
def test_unreadable_baseline_is_reported_and_not_ok(
    reference: pd.DataFrame | None,
) -> None:
    job = {"baseline_error": "MLflow does not answer", **WINDOW}
    found = report(with_labels(frame(300, 1), 0.1), reference, **job)
    assert found["verdict"] == "insufficient_data"
    reason = next(one for one in found["reasons"] if one["code"] == "baseline_unreadable")
    assert reason["severity"] == "warning"
    assert "MLflow does not answer" in reason["message"]
    # Held to something else, or without labels, it is what it was.
    past = [entry("01T03:00:00", 0.1)]
    found = report(with_labels(frame(300, 1), 0.1), reference, history=past, **job)
    assert (found["verdict"], "baseline_unreadable" in codes(found)) == ("ok", True)
    expected = "no_reference" if reference is None else "ok"
    assert report(frame(300, 1), reference, **job)["verdict"] == expected


def test_earlier_predictions_stand_in_for_those_of_a_reference() -> None:
    training = frame(1000, 2).drop(columns="__prediction")
    earlier = frame(500, 5)[["__prediction"]]
    now = frame(300, 1)
    found = report(now, training, earlier=earlier)
    assert (found["verdict"], found["prediction_against"]) == ("ok", "captured")
    assert "predictions_not_compared" not in codes(found)
    now["__prediction"] += 1
    assert report(now, training)["verdict"] == "ok"
    found = report(now, training, earlier=earlier)
    assert found["verdict"] == "drift"
    assert found["prediction"]["drifted"]
    # A reference that has predictions needs no others.
    found = report(now, frame(1000, 2).assign(__prediction=now["__prediction"].mean()))
    assert found["prediction_against"] == "reference"


def test_predictions_of_a_regression_are_not_compared_with_its_target() -> None:
    training = frame(1000, 2).rename(columns={"__prediction": "y"})
    now = frame(300, 1)
    now["__prediction"] *= 0.3
    for task in (None, "regression"):
        found = report(now, training, target="y", task=task)
        assert (found["verdict"], found["prediction"]) == ("ok", None)
        assert "predictions_not_compared" in codes(found)


def classified(n: int, seed: int, share: float) -> pd.DataFrame:
    said = np.random.default_rng(seed).random(n) < share
    return frame(n, seed).assign(__prediction=np.where(said, "yes", "no"))


def test_classes_are_compared_with_those_of_the_target() -> None:
    training = classified(1000, 2, 0.3).rename(columns={"__prediction": "y"})
    found = report(classified(300, 1, 0.3), training, target="y")
    assert (found["verdict"], found["prediction_against"]) == ("ok", "target")
    assert "predictions_not_compared" in codes(found)
    # What a classifier does anyway to a rare class is a warning, and no drift.
    found = report(classified(300, 1, 0.15), training, target="y")
    assert (found["verdict"], "classes_moved" in codes(found)) == ("ok", True)
    found = report(classified(300, 1, 0.9), training, target="y")
    assert found["verdict"] == "drift"
    assert codes(found)[0] == "classes_moved"
    earlier = classified(500, 4, 0.9)[["__prediction"]]
    found = report(classified(300, 1, 0.9), training, target="y", earlier=earlier)
    assert (found["verdict"], found["prediction_against"]) == ("ok", "captured")


@pytest.mark.parametrize("outputs", [1, 2])
def test_probabilities_are_compared_as_classes(outputs: int) -> None:
    chance = np.random.default_rng(0)
    training = frame(1000, 2).drop(columns="__prediction")
    training["y"] = (chance.random(1000) < 0.5).astype(int)
    for most, verdict in ((1.0, "ok"), (0.6, "drift")):
        sure = chance.uniform(0, most, 300)
        now = frame(300, 1).drop(columns="__prediction")
        if outputs == 1:
            now["__prediction"] = sure
        else:
            now = now.assign(__prediction_0=1 - sure, __prediction_1=sure)
        found = report(now, training, target="y", task="classification")
        assert (found["verdict"], found["prediction_against"]) == (verdict, "target")


def test_set_metrics_are_judged_without_labels() -> None:
    sent: dict[str, Any] = {
        "ts": "2026-01-02T12:00:00Z",
        "metrics": {"rmse": 0.5},
        "n": 500,
        "source": "set",
    }
    job: dict[str, Any] = {
        "history": [sent],
        "since": "2026-01-02T00:00:00Z",
        "until": "2026-01-03T00:00:00Z",
    }
    assert report(frame(300, 1), baseline=RUN, **job)["verdict"] == "insufficient_data"
    job["windows_worse_before"] = 1
    assert report(frame(300, 1), baseline=RUN, **job)["verdict"] == "degraded"
    sent["n"] = None
    assert report(frame(300, 1), baseline=RUN, **job)["verdict"] == "insufficient_data"


def test_captured_reference_with_labels_is_a_baseline() -> None:
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
    assert report(frame(n, 1))["verdict"] == ("no_reference" if n else "insufficient_data")


def asked(requests: int, **job: Any) -> dict[str, Any]:
    some = [
        {"column": "a", "kind": "type", "count": 33},
        {"column": "b", "kind": "null", "count": 2},
    ]
    return report(frame(300, 1), frame(1000, 2), violations=some, requests=requests, **job)


def test_refused_requests_are_reported_and_no_drift() -> None:
    found = asked(225, refused={"refused": 3})
    assert (found["verdict"], codes(found)[0]) == ("ok", "refused")
    assert found["reasons"][0]["message"] == (
        "3 of 225 requests (1.3 %) were refused: 3 not fitting the signature; "
        "the most frequent violation is “type” of “a”."
    )
    assert found["refused"] == {
        "count": 3,
        "share": pytest.approx(3 / 225),
        "by_kind": {"refused": 3},
        "many": False,
    }
    assert found["headline"] == "Unchanged"
    many = asked(300, refused={"refused": 100, "malformed": 20, "unheard-of": 1})
    assert (many["verdict"], many["refused"]["many"], many["refused"]["count"]) == ("ok", True, 121)
    assert many["reasons"][0]["severity"] == "error"
    assert many["headline"] == "Unchanged; callers send wrong requests"
    assert "40 % of the requests were refused" in many["summary"]


def test_requests_let_through_are_reported_and_compared() -> None:
    found = asked(300, let_through=33)
    assert (found["verdict"], codes(found)[0]) == ("ok", "violations")
    assert "33 of 300 requests (11 %)" in found["reasons"][0]["message"]
    assert found["refused"]["count"] == 0
    # Counted by an earlier version.
    assert "35 violations in 300 requests" in asked(300)["reasons"][0]["message"]


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


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        (lambda: report(frame(300, 1), frame(1000, 2)), "Unchanged"),
        (
            lambda: report(with_labels(frame(60, 1), 0.1), baseline=RUN),
            "Unchanged: as good as its baseline on 60 labelled rows",
        ),
        (
            lambda: report(with_labels(frame(300, 1), 0.5), baseline=RUN),
            "Degraded: worse than its baseline on 300 labelled rows",
        ),
        (
            lambda: report(with_labels(frame(60, 1), 0.5), baseline=RUN),
            "Too little data: worse once on 60 labelled rows",
        ),
        (
            lambda: report(
                with_labels(frame(300, 1, shift=1), 0.5)[:60], frame(900, 2), baseline=RUN
            ),
            "Data drift, and worse once on 60 labelled rows",
        ),
        (
            lambda: report(with_labels(frame(40, 1), 0.14), baseline={"test_rmse": 0.1}),
            "Unchanged: not significantly worse than its baseline on 40 labelled rows",
        ),
        (lambda: report(frame(300, 1)), "No reference"),
        (lambda: report(frame(3, 1)), "No reference"),
        (lambda: report(frame(3, 1), frame(900, 2)), "Too little data"),
    ],
)
def test_headlines(found: Any, headline: str) -> None:
    assert found()["headline"] == headline


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


def test_set_metrics_are_judged_as_by_the_api() -> None:
    figures = ((0.8, 100), (0.7, 100), (0.5, 29), (0.5, None), (0.95, 60), (0.7, 100), (0.6, 200))
    history: list[dict[str, Any]] = []
    for hour, (accuracy, n) in enumerate(figures):
        moment = f"2026-01-02T{hour:02}:00:00Z"
        metrics = {"accuracy": accuracy}
        history.append({"ts": moment, "metrics": metrics, "n": n, "source": "set"})
        for run in ({"accuracy": 0.9}, {}, {"train_accuracy": 1.0}):
            found = report(frame(0, 1), baseline=run, history=history, **WINDOW)
            [there] = found["metrics"]
            *before, now = map(recorded_metrics, history)
            [here] = comparison(run, now, before=before)
            for name in ("verdict", "baseline", "baseline_source", "current", "change"):
                assert here[name] == there[name], (hour, run, name)
            assert bool(here["degraded"]) is (found["verdict"] == "degraded")


def test_exact_model_does_not_degrade_by_rounding() -> None:
    now = with_labels(frame(400, 1), 0)
    now["__prediction"] = now["__label"] * (1 + 3e-15)
    found = report(now, frame(1000, 2), baseline={"test_rmse": 1e-16, "test_mae": 0.0})
    assert (found["verdict"], found["worse"]) == ("ok", False)


def test_current_rows_are_sampled_down_to_the_reference() -> None:
    found = report(frame(5000, 1), frame(200, 2))
    assert found["columns"][0]["current"]["rows"] == 200
    assert found["columns"][0]["method"] in ("ks", "chi_square")
    assert found["rows"]["current"] == 5000


def test_report_is_reproducible() -> None:
    tables = with_labels(frame(500, 1), 0.2), frame(200, 2)
    assert report(*tables, baseline=RUN) == report(*tables, baseline=RUN)


def test_job_of_nulls_has_defaults() -> None:
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
