"""The pure parts of the dashboard: figures of the last minutes, pictures, words, forms, advice."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_deployment.dashboard import charts, pictures, words
from model_deployment.dashboard.advice import advice
from model_deployment.dashboard.columns import _compare
from model_deployment.dashboard.form import form
from model_deployment.dashboard.pulse import Pulse, percentile
from model_deployment.monitoring.totals import LATENCIES, Totals
from model_deployment.names import ModelKey

KEY = ModelKey("iris", 1)


def served(totals: Totals, seconds: float, number: int = 1) -> None:
    for _ in range(number):
        totals.answered(KEY, seconds, 1)


def test_the_pulse_is_of_the_last_steps() -> None:
    pulse, totals = Pulse(), Totals()
    pulse.beat(0, totals.all())
    assert pulse.of(KEY).rates == ()
    served(totals, 0.003, 50)
    pulse.beat(5, totals.all())
    assert pulse.of(KEY).rates == (10,)
    totals.failed(KEY, "refused")
    pulse.beat(10, totals.all())
    found = pulse.of(KEY)
    assert (found.requests, found.errors, found.rate) == (51, 1, 5.1)
    assert found.p95s[1] is None
    assert found.p95 == pytest.approx(4.875)
    totals.keep(())
    served(totals, 0.003)  # deployed anew: counters begin with nothing
    pulse.beat(15, totals.all())
    assert pulse.of(KEY).rates == (10, 0.2, 0.2)
    totals.keep(())
    pulse.beat(20, totals.all())
    assert pulse.of(KEY).rates == ()


def test_percentiles_within_buckets() -> None:
    counts = [0] * (len(LATENCIES) + 1)
    assert percentile(counts, 0.95) is None
    counts[-1] = 1
    assert percentile(counts, 0.95) == 60_000
    counts[0] = 99
    assert percentile(counts, 0.5) == pytest.approx(0.505, rel=0.01)


def test_lines_have_gaps_and_leave_out_what_is_flat() -> None:
    assert pictures.line([], 1) == ""
    assert pictures.line([None, None], 1) == ""
    assert pictures.line([0, None, 1], 1) == "M0 59h2M198 1h2"
    flat = pictures.line([0.0] * 60, 1)
    assert flat == "M0 59L200 59"
    assert len(re.findall("[ML]", pictures.line([0, 0, 0, 5, 0, 0, 0], 5))) == 5
    assert pictures.area([1, 0, None], 1) == "M0 60V1H67V60Z"


@pytest.mark.parametrize("value", [0, 0.003, 0.4, 1, 7, 12, 99, 101, 350, 1999, 2e6])
def test_an_axis_ends_at_a_round_number_above(value: float) -> None:
    top = pictures.top([None, value])
    assert top >= value
    assert top <= max(1, 2 * value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "\u2013"),
        (float("nan"), "\u2013"),
        (float("inf"), "inf"),
        (0, "0"),
        (1234567, "1\u202f234\u202f567"),
        (0.123456, "0.123"),
        (1.23456, "1.23"),
        (12.3456, "12.3"),
        (123.456, "123"),
        (1e-9, "1e-09"),
    ],
)
def test_numbers(value: float | None, said: str) -> None:
    assert words.number(value) == said


def test_other_words() -> None:
    assert [words.duration(s) for s in (5, 61, 3700, 90_000)] == [
        "< 1 min",
        "1 min",
        "1 h 1 min",
        "1 d 1 h",
    ]
    assert [words.size(b) for b in (None, 12, 14_000_000, 3 * 1024**3)] == [
        "\u2013",
        "12 B",
        "13 MB",
        "3.0 GB",
    ]
    assert [words.percent(*p) for p in ((0, 9), (1, 0), (1, 5000), (1, 30), (1, 3))] == [
        "0 %",
        "\u2013",
        "< 0.1 %",
        "3.3 %",
        "33 %",
    ]
    assert [words.milliseconds(m) for m in (None, 1.23, 45.6, 1234)] == [
        "\u2013",
        "1.2 ms",
        "46 ms",
        "1.2 s",
    ]
    assert words.tone("degraded") == "bad"
    assert words.verdict("unheard-of") == "unheard-of"


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
    made = form(columns(a="long", b="string"), example, None)
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
    made = form(signature, {"dataframe_records": [{"b": [1, 2]}]}, None)
    assert made.columns is not None
    optional, nested = made.columns
    assert (optional.required, optional.value, optional.widget) == (False, "", "boolean")
    assert (nested.widget, nested.value) == ("json", "[1,2]")
    assert made.params[0].hint == "default 3"


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
    made = form(signature, None, {"inputs": [[0]]})
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
    assert "3 refused" in requests.told
    assert [line.label for line in latency.lines] == ["p99", "p95", "p50"]


def test_columns_of_numbers_and_of_words() -> None:
    sent = b'{"request_id":"r","ts":"t","row":0,"n":1,"word":"a","prediction":1.5}\n' * 3
    trained = b'{"n":0,"word":"b"}\n{"n":null,"word":"b"}\n'
    found = _compare(sent, trained, "somewhere")
    number, word, prediction = found.columns
    assert (number.name, number.low, number.high) == ("n", "0", "1")
    assert number.before.endswith("Z")
    assert number.now.endswith("V60")
    assert [(one.label, one.before, one.now) for one in word.categories] == [
        ("a", 0, 100),
        ("b", 100, 0),
    ]
    assert prediction.name == "prediction"
    assert (found.captured, found.training) == (3, 2)
    assert _compare(b"", b"", "").columns == ()


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("not ready within 20 s (gave up after 5 tries)", "START_TIMEOUT"),
        ("the process exited with status 1: No module named 'xgboost'", "library"),
        ("cannot find out whether requests may be merged: no", "batch_max_rows"),
        ("healthy", ""),
    ],
)
def test_advice(reason: str, word: str) -> None:
    assert word in advice(reason)
    assert bool(advice(reason)) == bool(word)
