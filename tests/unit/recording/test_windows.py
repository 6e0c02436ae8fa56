"""Counts of requests, minute by minute."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.names import ModelKey
from model_deployment.recording.histogram import BOUNDS
from model_deployment.recording.windows import TrafficWindow, TrafficWindows, WindowReport

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


def reports(
    traffic: TrafficWindows, now: float, *, everything: bool = False
) -> dict[str, WindowReport]:
    """What is reported, by id, as it arrives over a connection."""
    made = traffic.changed(now, 10**6, everything=everything)
    found = [WindowReport.read(orjson.loads(orjson.dumps(one))) for one in made]
    assert len({one.id for one in found}) == len(found)
    return {one.id: one for one in found}


def all_of(traffic: TrafficWindows, now: float) -> list[WindowReport]:
    return [*reports(traffic, now, everything=True).values()]


def test_each_minute_of_each_deployment_is_a_document() -> None:
    found = reports(busy(), NOON + 60)
    minute = int(NOON // 60)
    assert found.keys() == {f"a-1/{minute}/i", f"b-2/{minute}/i", f"a-1/{minute + 1}/i"}
    one = found[f"a-1/{minute}/i"]
    assert one.key == A
    document = one.document
    assert (document["model"], document["version"]) == ("a", 1)
    assert (document["requests"], document["rows"]) == (2, 5)
    assert document["ts"] == datetime.fromtimestamp(NOON, UTC)
    assert [id for id, one in found.items() if not one.finished] == [f"a-1/{minute + 1}/i"]


def test_a_minute_is_finished_when_it_is_over_and_not_before() -> None:
    traffic = busy()
    found = reports(traffic, NOON + 59.9)
    assert len(found) == 3
    assert not any(one.finished for one in found.values())
    # Reported again because it is over, although nothing was counted.
    assert [one.finished for one in reports(traffic, NOON + 60).values()] == [True, True]
    assert len(reports(traffic, NOON + 120)) == 1
    assert reports(traffic, NOON + 180) == {}


def test_only_what_changed_is_reported() -> None:
    traffic = busy()
    first = reports(traffic, NOON + 60)
    assert reports(traffic, NOON + 60) == {}
    traffic.answered(A, NOON + 61, 5.0, 1)
    (one,) = reports(traffic, NOON + 61).values()
    assert (one.document["requests"], one.revision) == (2, 2)
    again = reports(traffic, NOON + 61, everything=True)
    assert again == {**first, one.id: one}


def test_reports_are_limited_and_all_windows_come_with_the_next_ones() -> None:
    traffic = TrafficWindows("i")
    for minute in range(10):
        traffic.answered(A, NOON + minute * 60, 5.0, 1)
    for everything in (False, True):
        found: list[str] = []
        while made := traffic.changed(NOON, 4, everything=everything and not found):
            assert len(made) <= 4
            found += [one["id"] for one in made]
        assert len({*found}) == len(found) == 10


def test_minutes_stay_until_they_are_stored() -> None:
    traffic = busy()
    finished = {id: one for id, one in reports(traffic, NOON + 60).items() if one.finished}
    traffic.answered(A, NOON + 61, 5.0, 1)
    stored = {id: one.revision for id, one in finished.items()}
    traffic.stored(stored)
    ((moment, left),) = traffic.current(A)
    assert (moment.timestamp(), left.requests) == (NOON + 60, 2)
    assert traffic.current(B) == []
    traffic.stored(stored)
    assert len(all_of(traffic, NOON + 61)) == 1


def test_window_that_changed_while_it_was_stored_stays_and_replaces_what_is_stored() -> None:
    traffic = busy()
    found = reports(traffic, NOON + 120)
    # The clock was set back.
    traffic.answered(A, NOON, 5.0, 7)
    traffic.stored({id: one.revision for id, one in found.items()})
    ((_, left),) = traffic.current(A)
    assert left.rows == 12
    (one,) = reports(traffic, NOON + 120).values()
    assert [*one.replaces] == [one.id]
    assert [*all_of(traffic, NOON + 120)] == [one]
    traffic.stored({one.id: one.revision})
    assert all_of(traffic, NOON + 120) == []


def total(found: list[WindowReport]) -> TrafficWindow:
    counted = TrafficWindow()
    for one in found:
        counted.add(TrafficWindow.from_dict(one.document))
    return counted


def away(hours: int) -> TrafficWindows:
    """A store is away, and somebody tries every minute."""
    traffic = TrafficWindows("i")
    for minute in range(hours * 60):
        traffic.answered(A, NOON + minute * 60, 5.0 + minute, 2)
        traffic.violated(A, NOON + minute * 60, {("x", "type"): 1})
        reports(traffic, NOON + minute * 60)
    return traffic


def test_windows_without_a_store_are_merged_into_hours() -> None:
    traffic = away(72)
    found = all_of(traffic, NOON + 72 * 3600)
    assert 180 <= len([one for one in found if one.document["requests"] == 1]) <= 241
    assert len(found) < 241 + 70
    counted = total(found)
    assert (counted.requests, counted.rows) == (72 * 60, 2 * 72 * 60)
    assert counted.latencies.total() == counted.violations["x", "type"] == 72 * 60
    assert len(traffic.current(A)) == len(found)


def test_window_of_an_hour_has_the_id_of_its_first_minute() -> None:
    found = all_of(away(6), NOON + 6 * 3600)
    first, second, *_ = sorted(found, key=lambda one: one.document["ts"])
    minute = int(NOON // 60)
    assert (first.id, first.document["ts"].timestamp()) == (f"a-1/{minute}/i", NOON)
    assert first.document["requests"] == 60 - minute % 60
    assert second.id == f"a-1/{(minute // 60 + 1) * 60}/i"
    assert second.document["requests"] == 60
    assert first.document.keys() == all_of(busy(), NOON)[0].document.keys()


def test_window_of_an_hour_lists_the_minutes_it_replaces() -> None:
    traffic = away(6)
    found = all_of(traffic, NOON + 6 * 3600)
    merged = [one for one in found if one.document["requests"] > 1]
    replaced = [id for one in found for id in one.replaces]
    assert len({*replaced}) == len(replaced) == sum(one.document["requests"] for one in merged)
    assert {*replaced} >= {one.id for one in merged}
    assert all(len(one.replaces) == one.document["requests"] for one in merged)
    assert not any(one.replaces for one in found if one not in merged)
    traffic.stored({one.id: one.revision for one in found})
    assert all_of(traffic, NOON + 6 * 3600) == []
    assert traffic.current(A) == []


def test_hour_outlives_the_news_that_its_first_minute_is_stored() -> None:
    traffic = TrafficWindows("i")
    for minute in range(300):
        traffic.answered(A, NOON + minute * 60, 5.0, 2)
    early = reports(traffic, NOON)
    assert len(early) == 300
    assert any(one.replaces for one in reports(traffic, NOON + 300 * 60).values())
    traffic.stored({id: one.revision for id, one in early.items() if id.startswith("a-1/")})
    left = total(all_of(traffic, NOON + 300 * 60))
    merged = [one for one in all_of(traffic, NOON + 300 * 60) if one.replaces]
    assert merged
    assert left.requests == sum(one.document["requests"] for one in merged)


def test_windows_of_some_hours_are_not_merged() -> None:
    traffic = away(4)
    traffic.answered(B, NOON, 5.0, 1)
    found = all_of(traffic, NOON + 4 * 3600)
    assert len(found) == 241
    assert not any(one.replaces for one in found)


def test_window_ids_differ_between_processes() -> None:
    names = set()
    for owner in ("one", "two"):
        traffic = TrafficWindows(owner)
        traffic.failed(A, NOON, 500)
        names |= {one.id for one in all_of(traffic, NOON)}
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
        "caller_errors": 1,
        "model_errors": 0,
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
