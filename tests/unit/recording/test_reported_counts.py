"""Counts of several processes: sums that neither a lost report, a kill nor a new controller makes wrong."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_deployment.core.names import ModelKey
from model_deployment.recording import count_report, windows
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


def told(one: LocalCounts, *, everything: bool = False, now: float = NOON) -> dict[str, Any]:
    """A report, as it arrives."""
    found: dict[str, Any] = orjson.loads(
        orjson.dumps(one.report.changes(now, everything=everything))
    )
    return found


def requests(counts: ReportedCounts, key: ModelKey) -> int:
    return sum(window.document["requests"] for window in counts.unstored(key))


def test_sums_over_processes(counts: ReportedCounts) -> None:
    one, two = process("1"), process("2")
    serve(one, A, 2)
    serve(two, A)
    serve(two, B)
    one.counters.failed(A, "timeout")
    for each in (one, two):
        counts.apply(each.name, told(each))
    total = counts.totals.of(A)
    assert (total.answered, total.rows, total.seconds) == (3, 9, 0.75)
    assert (total.errors, total.latencies.total()) == (Counter(timeout=1), 3)
    assert {key: one.answered for key, one in counts.totals.all().items()} == {A: 3, B: 1}
    assert (requests(counts, A), requests(counts, B)) == (3, 1)


def test_nothing_new_is_no_report(counts: ReportedCounts) -> None:
    one = process("1")
    assert told(one) == {}
    serve(one, A)
    assert told(one).keys() == {"totals", "windows"}
    assert told(one) == {}
    assert told(one, everything=True).keys() == {"everything", "totals", "windows", "dropped"}


def test_long_report_comes_in_parts(
    counts: ReportedCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count_report, "_WINDOWS", 4)
    one = process("1")
    for minute in range(10):
        serve(one, A, now=NOON + 60 * minute)
    parts = [told(one, everything=True), told(one), told(one)]
    assert [part.get("more", False) for part in parts] == [True, True, False]
    for part in parts:
        counts.apply("1", part)
    assert requests(counts, A) == 10
    assert told(one) == {}


def test_counts_of_an_ended_process_are_kept_and_not_counted_twice(counts: ReportedCounts) -> None:
    one = process("1")
    serve(one, A, 2)
    one.dropped = 5
    last = told(one)
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
    counts.apply("1", told(one))
    one.counters.keep([A])
    one.traffic.discard(B)
    counts.apply("1", told(one, everything=True))
    assert counts.totals.all().keys() == {A}
    assert (requests(counts, A), requests(counts, B)) == (2, 0)


def test_deployments_that_are_gone_are_forgotten(counts: ReportedCounts) -> None:
    for name in ("1", "2"):
        one = process(name)
        serve(one, A)
        serve(one, B)
        counts.apply(name, told(one))
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
    late = told(one)
    counts.apply("1", late)
    counts.discard(A)
    assert (requests(counts, A), requests(counts, B)) == (0, 1)
    counts.apply("1", late)  # it was under way
    one.report.discard(A)
    serve(one, A)
    counts.apply("1", told(one))
    assert (requests(counts, A), requests(counts, B)) == (1, 1)


def test_sum_of_seconds_does_not_fall_when_a_process_ends(counts: ReportedCounts) -> None:
    names = ["1", "2", "3", "4"]
    for name in names:
        one = process(name)
        for number in range(1, 50):
            one.counters.answered(A, 0.1 / number, 1)
        counts.apply(name, told(one))
    before = counts.totals.of(A).seconds
    assert before == pytest.approx(4 * sum(0.1 / number for number in range(1, 50)), abs=1e-5)
    for name in reversed(names):
        counts.ended(name)
        assert counts.totals.of(A).seconds == before


def test_window_that_changed_while_it_was_written_stays(counts: ReportedCounts) -> None:
    one = process("1")
    serve(one, A)
    counts.apply("1", told(one, now=NOON + 60))
    written = counts.finished()
    serve(one, A)  # the clock was set back
    counts.apply("1", told(one, now=NOON + 60))
    revisions = counts.forget(written)
    assert revisions == {"1": {written[0].id: 1}}
    one.report.stored(revisions["1"])
    assert requests(counts, A) == 2
    (again,) = counts.finished()
    assert [*again.replaces] == [again.id]
    one.report.stored(counts.forget([again])["1"])
    assert one.traffic.current(A) == []


# Any order of events


@dataclass
class Served:
    """A process, its connection to the controller, and what is known to have been counted."""

    local: LocalCounts
    counted: Counter[ModelKey] = field(default_factory=Counter)
    #: What it had counted at the last report that arrived at this controller; None before the first.
    arrived: Counter[ModelKey] | None = None
    everything: bool = True
    up: list[tuple[dict[str, Any], Counter[ModelKey]]] = field(default_factory=list)
    down: list[Mapping[str, int]] = field(default_factory=list)
    dead: bool = False
    #: Of a dead one: what this controller and its store have of it.
    kept: Counter[ModelKey] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.local.name


class World:
    """Processes that serve, report and die; controllers that are killed; a store that is away."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = NOON
        self.counts = ReportedCounts()
        self.store: dict[str, Mapping[str, Any]] = {}
        self.processes: list[Served] = []
        self.start()

    @property
    def living(self) -> list[Served]:
        return [one for one in self.processes if not one.dead]

    def start(self) -> None:
        name = f"p{len(self.processes)}"
        self.processes.append(Served(LocalCounts(name, lambda: self.now)))

    def step(self) -> None:
        """Anything may happen; what is rare in life is rare here."""
        usual = (self.request, self.wait, self.report, self.arrive, self.learn, self.flush)
        rare = (self.lose_the_connection, self.kill_process, self.kill_controller)
        self.random.choice(rare if self.random.random() < 0.1 else usual)()
        if not self.living or (len(self.living) < 3 and self.random.random() < 0.1):
            self.start()

    def pick(self) -> Served:
        return self.random.choice(self.living)

    def request(self) -> None:
        one, key = self.pick(), self.random.choice([A, B])
        for _ in range(self.random.randrange(1, 4)):
            one.local.traffic.failed(key, self.now, 504)
            one.local.counters.failed(key, "timeout")
            one.counted[key] += 1

    def wait(self) -> None:
        """Some busy minutes."""
        for _ in range(self.random.randrange(1, 6)):
            self.now += self.random.choice([20.0, 60.0])
            self.request()

    def report(self) -> None:
        one = self.pick()
        everything, one.everything = one.everything, False
        while made := told(one.local, everything=everything, now=self.now):
            one.up.append((made, one.counted.copy()))
            everything = False
            if not made.get("more"):
                break

    def arrive(self, one: Served | None = None) -> None:
        one = one or self.pick()
        while one.up:
            made, counted = one.up.pop(0)
            self.counts.apply(one.name, made)
            if not made.get("more"):
                one.arrived = counted

    def learn(self) -> None:
        """A process learns what is stored."""
        one = self.pick()
        while one.down:
            one.local.report.stored(one.down.pop(0))

    def lose_the_connection(self) -> None:
        self._disconnect(self.pick())

    def _disconnect(self, one: Served) -> None:
        one.up.clear()
        one.down.clear()
        one.everything = True

    def kill_process(self) -> None:
        one = self.pick()
        if self.random.random() < 0.5:
            self.arrive(one)
        one.kept = self.shown(one)
        one.dead = True
        late = told(one.local, everything=True, now=self.now)
        self.counts.ended(one.name)
        self.counts.apply(one.name, late)

    def flush(self) -> None:
        """As ``Upkeep.flush`` does, and where it may be interrupted."""
        finished = self.counts.finished()
        half = len(finished) // 2
        for stage in ("deleted", "half written", "written"):
            if self.random.random() < 0.1:
                return
            if self.random.random() < 0.3:
                self.random.choice([self.arrive, self.learn, self.report])()
            if stage == "deleted":
                for window in finished:
                    for id in window.replaces:
                        self.store.pop(id, None)
            else:
                for window in finished[:half] if stage == "half written" else finished:
                    self.store.setdefault(window.id, window.document)
        for name, revisions in self.counts.forget(finished).items():
            (one,) = [one for one in self.processes if one.name == name]
            one.down.append(orjson.loads(orjson.dumps(revisions)))

    def kill_controller(self) -> None:
        self.counts = ReportedCounts()
        for one in self.processes:
            self._disconnect(one)
            one.arrived = None
            if one.dead:  # what was not stored is gone with both
                one.kept = self.shown(one)

    def shown(self, one: Served) -> Counter[ModelKey]:
        """Requests by deployment, as the pages show them: the store, and what may not be in it yet."""
        found = {id: document for id, document in self.store.items() if id.endswith(f"/{one.name}")}
        for key in (A, B):
            for window in self.counts.unstored(key):
                if window.id.endswith(f"/{one.name}"):
                    for id in window.replaces:
                        found.pop(id, None)
                    found[window.id] = window.document
        shown: Counter[ModelKey] = Counter()
        for document in found.values():
            shown[ModelKey(document["model"], document["version"])] += document["requests"]
        return shown

    def check(self) -> None:
        for one in self.processes:
            if one.dead:
                assert self.shown(one) == one.kept
            elif one.arrived is not None:
                assert self.shown(one) == one.arrived
        total: Counter[ModelKey] = Counter()
        for one in self.processes:
            total += one.arrived or Counter()
        for key in (A, B):
            assert self.counts.totals.of(key).errors.total() == total[key]
        assert {key: one.errors.total() for key, one in self.counts.totals.all().items()} == total


@pytest.fixture
def short_hours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Minutes are merged by five, as soon as more than three wait."""
    with monkeypatch.context() as it:
        it.setattr(windows, "_WAITING", 3)
        it.setattr(windows, "_MERGED", 5)
        yield


@given(st.integers(0, 1 << 32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("short_hours")
def test_sums_are_right_in_any_order_of_events(seed: int) -> None:
    world = World(Random(seed))
    for _ in range(100):
        world.step()
        world.check()
