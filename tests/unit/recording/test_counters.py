"""Counters for people outside: they rise, and are forgotten with their deployment only."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.names import ModelKey
from model_deployment.recording.counters import LATENCIES, RequestCounters, RequestCounts
from model_deployment.telemetry.collect import Restarts

A, B = ModelKey("a", 1), ModelKey("b", 2)


def test_predictions_are_counted_with_their_rows_and_seconds() -> None:
    totals = RequestCounters()
    totals.answered(A, 0.25, 3)
    totals.answered(A, 0.5, 4)
    totals.failed(A, "timeout")
    total = totals.of(A)
    assert (total.answered, total.rows, total.seconds) == (2, 7, 0.75)
    assert total.errors == {"timeout": 1}
    assert totals.of(B).answered == 0


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (60, 14), (61, 15)]
)
def test_latency_is_counted_in_its_bucket(seconds: float, bucket: int) -> None:
    totals = RequestCounters()
    totals.answered(A, seconds, 0)
    assert totals.of(A).buckets == [int(at == bucket) for at in range(len(LATENCIES) + 1)]


def test_counters_returned_do_not_change() -> None:
    totals = RequestCounters()
    totals.answered(A, 1, 1)
    seen = totals.of(A)
    totals.answered(A, 1, 1)
    totals.failed(A, "timeout")
    assert (seen.answered, seen.rows, seen.errors) == (1, 1, {})


def test_counters_forget_only_removed_deployments() -> None:
    totals = RequestCounters()
    totals.answered(A, 1, 1)
    totals.answered(B, 1, 1)
    totals.keep([A])
    assert (totals.of(A).answered, totals.of(B).answered) == (1, 0)


@given(st.lists(st.integers(0, 5)))
def test_restarts_never_go_down_whatever_the_row_says(rows: list[int]) -> None:
    restarts = Restarts()
    told = [restarts.of(A, now) for now in rows]
    assert all(before <= after for before, after in pairwise(told))
    assert all(before >= now for before, now in zip(told, rows, strict=True))


def test_restarts_of_what_is_gone_begin_anew() -> None:
    restarts = Restarts()
    restarts.of(A, 3)
    restarts.keep(set())
    assert restarts.of(A, 1) == 1


@given(st.lists(st.floats(0, 100), max_size=50))
def test_answers_are_counted_in_buckets_and_histogram_alike(seconds: list[float]) -> None:
    counters = RequestCounters()
    for one in seconds:
        counters.answered(A, one, 1)
    expected = [0] * (len(LATENCIES) + 1)
    for one in seconds:
        expected[sum(one > end for end in LATENCIES)] += 1
    assert counters.of(A).buckets == expected
    assert counters.of(A).answered == counters.of(A).latencies.total() == len(seconds)


def test_counts_are_reported_when_they_changed() -> None:
    counters = RequestCounters()
    counters.answered(A, 0.004, 3)
    counters.failed(B, "timeout")
    assert counters.changed().keys() == {str(A), str(B)}
    assert counters.changed() == {}
    counters.answered(A, 0.004, 3)
    found = orjson.loads(orjson.dumps(counters.changed()))
    assert {name: RequestCounts.from_dict(one) for name, one in found.items()} == {
        str(A): counters.of(A)
    }
    assert counters.changed(everything=True).keys() == {str(A), str(B)}


def test_counts_that_are_added_are_those_of_all_requests() -> None:
    one, two, both = RequestCounters(), RequestCounters(), RequestCounters()
    for counters in (one, both):
        counters.answered(A, 0.25, 3)
        counters.failed(A, "timeout")
    for counters in (two, both):
        counters.answered(A, 4.0, 1)
        counters.failed(A, "refused")
    total = one.of(A)
    total.add(two.of(A))
    assert total == both.of(A)
