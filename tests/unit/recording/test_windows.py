"""Counts of requests, minute by minute."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.names import ModelKey
from model_deployment.recording.histogram import BOUNDS
from model_deployment.recording.windows import TrafficWindow, TrafficWindows

A, B = ModelKey("a", 1), ModelKey("b", 2)
#: The begin of a minute.
NOON = 1_700_000_040.0
LATENCIES = st.lists(st.floats(0.1, 100_000), min_size=1, max_size=200)


def window(latencies: list[float]) -> TrafficWindow:
    traffic = TrafficWindows("i")
    for one in latencies:
        traffic.answered(A, NOON, one, 1)
    ((_, found),) = traffic.current(A)
    return found


@given(LATENCIES, st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_percentiles_are_right_to_a_tenth(latencies: list[float], share: float) -> None:
    said = window(latencies).latencies.percentile(share)
    true = np.quantile(latencies, share, method="inverted_cdf")
    assert said == pytest.approx(true, rel=0.1, abs=0.001)


@given(LATENCIES, LATENCIES)
def test_windows_that_are_added_are_one_window(first: list[float], second: list[float]) -> None:
    both = window(first)
    both.add(window(second))
    assert both == window(first + second)


def test_percentile_without_answers_is_none() -> None:
    assert TrafficWindow().latencies.percentile(0.5) is None


def test_latencies_beyond_all_buckets_count_too() -> None:
    found = window([0.0, 1e9])
    assert found.latencies.percentile(0.5) == pytest.approx(0.1, rel=0.1)
    assert found.latencies.percentile(1.0) == pytest.approx(BOUNDS[-1], rel=0.1)
    assert TrafficWindow.from_dict(found.as_dict()).latencies.percentile(
        1.0
    ) == found.latencies.percentile(1.0)


def busy() -> TrafficWindows:
    traffic = TrafficWindows("i")
    traffic.answered(A, NOON, 5.0, 3)
    traffic.answered(A, NOON + 59, 5.0, 2)
    traffic.answered(A, NOON + 60, 5.0, 1)
    traffic.failed(B, NOON, 504)
    return traffic


def test_each_minute_of_each_deployment_is_a_document() -> None:
    documents = {one["_id"]: one for one in busy().finished(NOON + 60)}
    minute = int(NOON // 60)
    assert documents.keys() == {f"a-1/{minute}/i", f"b-2/{minute}/i"}
    one = documents[f"a-1/{minute}/i"]
    assert (one["model"], one["version"], one["requests"], one["rows"]) == ("a", 1, 2, 5)
    assert one["ts"] == datetime.fromtimestamp(NOON, UTC)


def test_a_minute_is_finished_when_it_is_over_and_not_before() -> None:
    traffic = busy()
    assert traffic.finished(NOON + 59.9) == []
    assert len(traffic.finished(NOON + 60)) == 2
    assert len(traffic.finished(NOON + 120)) == len(traffic.all()) == 3


def test_minutes_stay_until_they_are_forgotten() -> None:
    traffic = busy()
    finished = traffic.finished(NOON + 60)
    assert traffic.finished(NOON + 60) == finished
    traffic.answered(A, NOON + 61, 5.0, 1)
    traffic.forget(finished)
    assert traffic.finished(NOON + 60) == []
    ((moment, left),) = traffic.current(A)
    assert (moment.timestamp(), left.requests) == (NOON + 60, 2)
    assert traffic.current(B) == []
    traffic.forget(finished)
    assert len(traffic.all()) == 1


def total(documents: list[dict[str, Any]]) -> TrafficWindow:
    found = TrafficWindow()
    for one in documents:
        found.add(TrafficWindow.from_dict(one))
    return found


def away(hours: int) -> TrafficWindows:
    """A store is away, and somebody tries every minute."""
    traffic = TrafficWindows("i")
    for minute in range(hours * 60):
        traffic.answered(A, NOON + minute * 60, 5.0 + minute, 2)
        traffic.violated(A, NOON + minute * 60, {("x", "type"): 1})
        traffic.finished(NOON + minute * 60)
    return traffic


def test_windows_without_a_store_are_merged_into_hours() -> None:
    traffic = away(72)
    documents = traffic.finished(NOON + 72 * 3600)
    assert 180 <= len([one for one in documents if one["requests"] == 1]) <= 241
    assert len(documents) < 241 + 70
    counted = total(documents)
    assert (counted.requests, counted.rows) == (72 * 60, 2 * 72 * 60)
    assert counted.latencies.total() == counted.violations["x", "type"] == 72 * 60
    assert len(traffic.current(A)) == len(documents)
    assert total(traffic.all()) == counted


def test_window_of_an_hour_has_the_id_of_its_first_minute() -> None:
    traffic = away(6)
    first, second, *_ = sorted(traffic.finished(NOON + 6 * 3600), key=lambda one: one["ts"])
    minute = int(NOON // 60)
    assert (first["_id"], first["ts"].timestamp()) == (f"a-1/{minute}/i", NOON)
    assert first["requests"] == 60 - minute % 60
    assert second["_id"] == f"a-1/{(minute // 60 + 1) * 60}/i"
    assert second["requests"] == 60
    assert first.keys() == busy().all()[0].keys()


def test_window_of_an_hour_lists_the_minutes_it_replaces() -> None:
    traffic = away(6)
    documents = sorted(traffic.finished(NOON + 6 * 3600), key=lambda one: one["ts"])
    merged = [one for one in documents if one["requests"] > 1]
    replaced = traffic.replaced(documents)
    assert len({*replaced}) == len(replaced) == sum(one["requests"] for one in merged)
    assert {*replaced} >= {one["_id"] for one in merged}
    assert len(traffic.replaced(merged[:1])) == merged[0]["requests"]
    single = [one for one in documents if one not in merged]
    assert traffic.replaced(single) == []
    traffic.forget(documents)
    assert traffic.replaced(documents) == []
    assert traffic.all() == []
    assert traffic.current(A) == []


def test_windows_of_some_hours_are_not_merged() -> None:
    traffic = away(4)
    traffic.answered(B, NOON, 5.0, 1)
    documents = traffic.finished(NOON + 4 * 3600)
    assert len(documents) == 241
    assert traffic.replaced(documents) == []


def test_window_document_is_built_once() -> None:
    traffic = busy()
    first, second = (traffic.finished(NOON + 60) for _ in range(2))
    assert [*map(id, first)] == [*map(id, second)]
    # The clock was set back.
    traffic.answered(A, NOON, 5.0, 7)
    assert total(traffic.finished(NOON + 60)).rows == total(first).rows + 7


def test_window_ids_differ_between_controllers() -> None:
    names = set()
    for instance in ("one", "two"):
        traffic = TrafficWindows(instance)
        traffic.failed(A, NOON, 500)
        names |= {one["_id"] for one in traffic.all()}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "malformed"),
        (413, "too_large"),
        (422, "refused"),
        (429, "too_busy"),
        (502, "model_failed"),
        (503, "not_ready"),
        (504, "timeout"),
        (500, "internal"),
        (418, "internal"),
    ],
)
def test_requests_without_a_prediction_count_by_kind(status: int, kind: str) -> None:
    traffic = TrafficWindows("i")
    traffic.failed(A, NOON, status)
    ((_, found),) = traffic.current(A)
    assert (found.requests, found.rows, found.errors) == (1, 0, {kind: 1})
    assert found.latencies.percentile(0.5) is None


def full() -> TrafficWindow:
    traffic = busy()
    traffic.failed(A, NOON, 422)
    traffic.violated(A, NOON, {("x", "type"): 2, ("", "form"): 1})
    traffic.violated(A, NOON, {("x", "type"): 1})
    return traffic.current(A)[0][1]


def test_window_stored_is_read_again() -> None:
    kept: dict[str, Any] = full().as_dict()
    assert TrafficWindow.from_dict(kept) == full()
    assert TrafficWindow.from_dict(kept | {"_id": "x", "model": "m"}) == full()


def test_window_summary_has_percentiles() -> None:
    assert full().summary() == {
        "requests": 3,
        "rows": 5,
        "errors": {"refused": 1},
        "p50_ms": pytest.approx(5.0, rel=0.1),
        "p95_ms": pytest.approx(5.0, rel=0.1),
        "p99_ms": pytest.approx(5.0, rel=0.1),
        "violations": [
            {"column": "", "kind": "form", "count": 1},
            {"column": "x", "kind": "type", "count": 3},
        ],
        "let_through": 0,
    }


def test_requests_let_through_are_counted() -> None:
    traffic = TrafficWindows("i")
    traffic.violated(A, NOON, {("x", "type"): 20, ("y", "null"): 2}, passed=True)
    traffic.violated(A, NOON, {("x", "type"): 1}, passed=True)
    traffic.violated(A, NOON, {("x", "type"): 1})
    ((_, found),) = traffic.current(A)
    assert found.let_through == found.summary()["let_through"] == 2
    kept = found.as_dict()
    assert TrafficWindow.from_dict(kept) == found
    twice = TrafficWindow.from_dict(kept)
    twice.add(found)
    assert twice.let_through == 4
    del kept["let_through"]  # as an earlier version has written it
    assert TrafficWindow.from_dict(kept).let_through == 0


def test_a_stored_histogram_of_an_earlier_release_is_read() -> None:
    stored = {
        "requests": 3,
        "rows": 3,
        "errors": {},
        "latencies": [[22, 2], [86, 1]],  # places in the table of bounds, the last without a bound
        "violations": [],
    }
    found = TrafficWindow.from_dict(stored)
    assert found.latencies.percentile(0.5) == pytest.approx(5.04, rel=0.01)
    assert found.as_dict() == stored | {"let_through": 0}
