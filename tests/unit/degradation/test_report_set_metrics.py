"""Metrics that were set, for earlier windows or this one: what a report compares with them, and judges."""

from typing import Any

import pandas as pd
import pytest

from model_deployment.degradation.job import recorded_metrics
from model_deployment.metrics.scores import comparison
from tests.support.report_jobs import RUN, codes, frame, report, with_labels


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
