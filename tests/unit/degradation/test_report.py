"""Whole reports on tables: which columns are compared, when they are drift, and what the headline says."""

from typing import Any

import pytest

from model_deployment.degradation.job import parse
from tests.support.report_jobs import RUN, codes, frame, report, with_labels


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


@pytest.mark.parametrize("n", [0, 1, 29])
def test_few_rows_are_not_enough(n: int) -> None:
    found = report(frame(n, 1), frame(1000, 2))
    assert found["verdict"] == "insufficient_data"
    assert "few_rows" in codes(found)
    assert report(frame(300, 1), frame(n, 2))["verdict"] == "insufficient_data"
    assert report(frame(n, 1))["verdict"] == ("no_reference" if n else "insufficient_data")


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
