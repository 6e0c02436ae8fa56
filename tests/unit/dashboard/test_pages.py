"""The pure parts of the dashboard: figures of the last minutes, pictures, forms."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.dashboard import charts
from model_deployment.dashboard.activity import Activity, percentile
from model_deployment.dashboard.deployment_page import detail
from model_deployment.dashboard.predict_form import form
from model_deployment.dashboard.registry_pages import metric_names
from model_deployment.degradation.metric_verdict import Past
from model_deployment.metrics.scores import comparison
from model_deployment.recording.counters import STEPS, Totals
from model_deployment.registry.training_data import DEPLOYED
from model_deployment.registry.values import RegisteredVersion

KEY = ModelKey("iris", 1)


def served(totals: Totals, seconds: float, number: int = 1) -> None:
    for _ in range(number):
        totals.answered(KEY, seconds, 1)


def test_the_pulse_is_of_the_last_steps() -> None:
    activity, totals = Activity(), Totals()
    activity.sample(0, totals.all())
    assert activity.of(KEY).rates == ()
    served(totals, 0.003, 50)
    activity.sample(5, totals.all())
    assert activity.of(KEY).rates == (10,)
    totals.failed(KEY, "refused")
    activity.sample(10, totals.all())
    found = activity.of(KEY)
    assert (found.requests, found.errors, found.rate) == (51, 1, 5.1)
    assert found.p95s[1] is None
    assert found.p95 == pytest.approx(3, rel=0.1)
    totals.keep(())
    served(totals, 0.003)  # deployed anew: counters begin with nothing
    activity.sample(15, totals.all())
    assert activity.of(KEY).rates == (10, 0.2, 0.2)
    totals.keep(())
    activity.sample(20, totals.all())
    assert activity.of(KEY).rates == ()


@pytest.mark.parametrize("milliseconds", [0.3, 1.7, 11, 13, 60, 240, 1100, 2900, 12_000, 40_000])
def test_a_percentile_is_right_to_a_tenth(milliseconds: float) -> None:
    """Between the buckets of Prometheus, the one of 11 ms would be 24."""
    activity, totals = Activity(), Totals()
    served(totals, milliseconds / 1000, 1000)
    activity.sample(0, totals.all())
    assert activity.of(KEY).p95 == pytest.approx(milliseconds, rel=0.1)
    assert activity.of(KEY).p95s == (activity.of(KEY).p95,)


def test_percentiles_within_steps() -> None:
    assert percentile({}, 0.95) is None
    counts = {0: 99, len(STEPS): 1}
    assert percentile(counts, 1) == 60_000
    assert percentile(counts, 0.5) == pytest.approx(0.05)


def columns(**kinds: Any) -> dict[str, Any]:
    return {
        "inputs": [{"name": name, "type": kind, "required": True} for name, kind in kinds.items()]
    }


@pytest.mark.parametrize(
    "example",
    [
        {"dataframe_split": {"columns": ["b", "a"], "data": [["x", 2**60 + 1], ["y", 2]]}},
        {"dataframe_records": [{"a": 2**60 + 1, "b": "x"}]},
        {"inputs": {"a": [2**60 + 1], "b": ["x"]}},
        {"instances": [{"a": 2**60 + 1, "b": "x"}]},
    ],
)
def test_fields_are_filled_from_any_kind_of_example(example: Any) -> None:
    made = form(columns(a="long", b="string"), example)
    assert made.columns is not None
    assert [(one.name, one.widget, one.value) for one in made.columns] == [
        ("a", "number", str(2**60 + 1)),
        ("b", "text", "x"),
    ]


def test_optional_columns_params_and_nested_values() -> None:
    signature = columns(a="boolean", b="array") | {
        "params": [{"name": "depth", "type": "long", "default": 3, "shape": None}]
    }
    signature["inputs"][0]["required"] = False
    made = form(signature, {"dataframe_records": [{"b": [1, 2]}]})
    assert made.columns is not None
    optional, nested = made.columns
    assert (optional.required, optional.value, optional.widget) == (False, "", "boolean")
    assert (nested.widget, nested.value) == ("json", "[1,2]")
    assert made.params[0].hint == "default 3"


@pytest.mark.parametrize(
    "example",
    [
        {"dataframe_split": {"columns": ["a"], "data": [5]}},
        {"dataframe_split": {"columns": None, "data": [[1]]}},
        {"dataframe_split": {"columns": [["a"]], "data": [[1]]}},
        {"dataframe_split": {"columns": ["a"], "data": {"a": 1}}},
        {"dataframe_split": {"columns": ["a"], "data": "a"}},
        {"dataframe_split": {"columns": ["a"], "data": []}},
        {"dataframe_split": 1},
        {"dataframe_records": {"a": 1}},
        {"inputs": [[1]]},
        {"inputs": {"a": []}},
        ["a"],
        "a",
        1,
    ],
)
def test_an_example_of_any_shape_leaves_a_form(example: Any) -> None:
    made = form(columns(a="long"), example)
    assert made.columns is not None
    assert [one.value in ("", "[]") for one in made.columns] == [True]


def test_an_example_that_cannot_be_written_is_none() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    made = form(None, deep)
    assert "inputs" in made.body


@pytest.mark.parametrize(
    "signature",
    [
        None,
        {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]},
        {"inputs": [{"type": "long"}]},
        columns(**{f"c{n}": "long" for n in range(400)}),
    ],
)
def test_what_has_no_fields_is_asked_as_json(signature: Any) -> None:
    made = form(signature, {"inputs": [[0]]})
    assert made.columns is None
    assert made.why
    assert made.body.split() == ["{", '"inputs":', "[", "[", "0", "]", "]", "}"]


@pytest.mark.parametrize("window", charts.WINDOWS)
def test_charts_of_every_window(window: str) -> None:
    now = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
    summary = {
        "requests": 60,
        "rows": 60,
        "errors": {"refused": 3},
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "p99_ms": 3.0,
    }
    minutes = charts.WINDOWS[window]
    moments = [now.replace(second=0), now.replace(second=0) - timedelta(minutes=minutes - 1)]
    windows = [{"ts": moment.isoformat(), **summary} for moment in moments]
    requests, latency = charts.traffic({"windows": windows, "total": summary}, minutes, now)
    path = requests.lines[0].path
    assert path.startswith("M0 60")
    assert "H200V60Z" in path
    assert "3 refused" in requests.summary
    assert [line.label for line in latency.lines] == ["p99", "p95", "p50"]


def entry(day: int, **metrics: float) -> dict[str, Any]:
    return {"ts": datetime(2026, 1, day, tzinfo=UTC).isoformat(), "metrics": metrics}


def trend(*history: dict[str, Any], **baseline: float) -> charts.Chart:
    newest_first = history[::-1]
    compared = comparison(baseline, Past(None, newest_first[0]["metrics"], None))
    (made,) = charts.trends(newest_first, compared)
    return made


def test_a_metric_may_be_negative() -> None:
    made = trend(entry(1, r2=0.8), entry(2, r2=-0.4), r2=0.9)
    assert (made.bottom, made.top) == ("-1", "1")
    measured, baseline = (line.path for line in made.lines)
    assert measured == "M0 7L200 42"
    assert baseline.startswith("M0 4")
    below = trend(entry(1, r2=-3), entry(2, r2=-2))
    assert (below.bottom, below.top) == ("-3.5", "-1.5")


def test_points_are_where_their_time_is() -> None:
    made = trend(entry(1, mae=1), entry(2, mae=4), entry(5, mae=1))
    assert made.bottom == "0"
    assert re.findall("[ML]([0-9]+)", made.lines[0].path) == ["0", "50", "200"]
    assert (made.first, made.last) == ("01-01 00:00", "01-05 00:00")


def test_a_metric_that_is_no_number_is_not_drawn() -> None:
    history = [entry(2, mae=math.inf), entry(1, mae=1)]
    assert charts.trends(history, comparison({}, Past(None, {"mae": 1.0}, None))) == []


def registered(**metrics: float) -> RegisteredVersion:
    return RegisteredVersion(KEY, "READY", datetime(2026, 1, 1, tzinfo=UTC), metrics=metrics)


def test_metrics_of_the_registry_are_those_of_the_training() -> None:
    of_service = {f"{DEPLOYED}r2": 0.1, f"{DEPLOYED}mae": 1.0}
    versions = [
        registered(r2=0.9, loss=math.nan, **of_service),
        registered(r2=0.8, mae=2, **of_service),
    ]
    assert metric_names(versions) == ["r2", "mae"]


@pytest.mark.parametrize(
    ("verdict", "headline", "more"),
    [
        ("ok", "Unchanged", ""),
        (
            "ok",
            "Unchanged: as good as it was on 60 labelled rows",
            "As good as it was on 60 labelled rows",
        ),
        ("ok", "Unchanged; callers send wrong requests", "Callers send wrong requests"),
        ("drift", "As good as it was, but …", "As good as it was, but …"),
    ],
)
def test_a_headline_does_not_say_its_verdict_twice(verdict: str, headline: str, more: str) -> None:
    assert detail(verdict, headline) == more


def test_rounding_noise_is_no_fall() -> None:
    made = trend(entry(1, mse=2978.284480640107), entry(2, mse=2978.2844806401067), mse=2900)
    assert (made.bottom, made.top) == ("2,800", "3,050")
    assert re.fullmatch(r"M0 ([0-9]+)L200 \1", made.lines[0].path)
    exact = trend(entry(1, mae=1e-16), entry(2, mae=9e-16))
    assert (exact.bottom, exact.top, exact.lines[0].path) == ("0", "1e-12", "M0 59L200 59")
