"""Counts of several processes: sums that neither a lost report, a kill nor a new controller makes wrong."""

from collections import Counter

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.recording import count_report
from model_deployment.recording.counters import RequestCounts
from model_deployment.recording.reported_counts import ReportedCounts
from tests.support.counting import LocalCounts

A, B = ModelKey("a", 1), ModelKey("b-c", 2)
NOON = 1_700_000_040.0


@pytest.fixture
def counts() -> ReportedCounts:
    return ReportedCounts()


def process(name: str) -> LocalCounts:
    return LocalCounts(name, lambda: NOON)


def serve(one: LocalCounts, key: ModelKey, number: int = 1, now: float = NOON) -> None:
    for _ in range(number):
        one.traffic.answered(key, now, 250.0, 3)
        one.counters.answered(key, 0.25, 3)


def requests(counts: ReportedCounts, key: ModelKey) -> int:
    return sum(window.document["requests"] for window in counts.unstored(key))


def test_sums_over_processes(counts: ReportedCounts) -> None:
    one, two = process("1"), process("2")
    serve(one, A, 2)
    serve(two, A)
    serve(two, B)
    one.counters.failed(A, "timeout")
    for each in (one, two):
        counts.apply(each.name, each.told())
    total = counts.totals.of(A)
    assert (total.answered, total.rows, total.seconds) == (3, 9, 0.75)
    assert (total.errors, total.latencies.total()) == (Counter(timeout=1), 3)
    assert {key: one.answered for key, one in counts.totals.all().items()} == {A: 3, B: 1}
    assert (requests(counts, A), requests(counts, B)) == (3, 1)


def test_nothing_new_is_no_report(counts: ReportedCounts) -> None:
    one = process("1")
    assert one.told() == {}
    serve(one, A)
    assert one.told().keys() == {"totals", "windows"}
    assert one.told() == {}
    assert one.told(everything=True).keys() == {"everything", "totals", "windows", "dropped"}


def test_long_report_comes_in_parts(
    counts: ReportedCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count_report, "_WINDOWS", 4)
    one = process("1")
    for minute in range(10):
        serve(one, A, now=NOON + 60 * minute)
    parts = [one.told(everything=True), one.told(), one.told()]
    assert [part.get("more", False) for part in parts] == [True, True, False]
    for part in parts:
        counts.apply("1", part)
    assert requests(counts, A) == 10
    assert one.told() == {}


def test_counts_of_an_ended_process_are_kept_and_not_counted_twice(counts: ReportedCounts) -> None:
    one = process("1")
    serve(one, A, 2)
    one.dropped = 5
    last = one.told()
    counts.apply("1", last)
    for _ in range(2):
        counts.ended("1")
        counts.apply("1", last)
        assert counts.totals.of(A).answered == counts.totals.all()[A].answered == 2
        assert (requests(counts, A), counts.dropped) == (2, 5)
    finished = counts.finished()
    assert [window.finished for window in finished] == [False]
    assert counts.forget(finished) == {}
    assert requests(counts, A) == 0
    assert counts.totals.of(A).answered == 2


def test_everything_replaces_what_was_known(counts: ReportedCounts) -> None:
    one = process("1")
    serve(one, A, 2)
    serve(one, B)
    counts.apply("1", one.told())
    one.counters.keep([A])
    one.traffic.discard(B)
    counts.apply("1", one.told(everything=True))
    assert counts.totals.all().keys() == {A}
    assert (requests(counts, A), requests(counts, B)) == (2, 0)


def test_deployments_that_are_gone_are_forgotten(counts: ReportedCounts) -> None:
    for name in ("1", "2"):
        one = process(name)
        serve(one, A)
        serve(one, B)
        counts.apply(name, one.told())
    counts.ended("2")
    assert counts.totals.of(B).answered == 2
    counts.totals.keep([A])
    assert counts.totals.all().keys() == {A}
    assert counts.totals.of(A).answered == 2
    assert counts.totals.of(B) == RequestCounts()


def test_name_that_stands_for_another_model_begins_anew(counts: ReportedCounts) -> None:
    one = process("1")
    serve(one, A, 2)
    serve(one, B)
    late = one.told()
    counts.apply("1", late)
    counts.discard(A)
    assert (requests(counts, A), requests(counts, B)) == (0, 1)
    counts.apply("1", late)  # it was under way
    one.report.discard(A)
    serve(one, A)
    counts.apply("1", one.told())
    assert (requests(counts, A), requests(counts, B)) == (1, 1)


def test_sum_of_seconds_does_not_fall_when_a_process_ends(counts: ReportedCounts) -> None:
    names = ["1", "2", "3", "4"]
    for name in names:
        one = process(name)
        for number in range(1, 50):
            one.counters.answered(A, 0.1 / number, 1)
        counts.apply(name, one.told())
    before = counts.totals.of(A).seconds
    assert before == pytest.approx(4 * sum(0.1 / number for number in range(1, 50)), abs=1e-5)
    for name in reversed(names):
        counts.ended(name)
        assert counts.totals.of(A).seconds == before


def test_window_that_changed_while_it_was_written_stays(counts: ReportedCounts) -> None:
    one = process("1")
    serve(one, A)
    counts.apply("1", one.told(now=NOON + 60))
    written = counts.finished()
    serve(one, A)  # the clock was set back
    counts.apply("1", one.told(now=NOON + 60))
    revisions = counts.forget(written)
    assert revisions == {"1": {written[0].id: 1}}
    one.report.stored(revisions["1"])
    assert requests(counts, A) == 2
    (again,) = counts.finished()
    assert [*again.replaces] == [again.id]
    one.report.stored(counts.forget([again])["1"])
    assert one.traffic.current(A) == []
