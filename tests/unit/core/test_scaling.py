"""How many replicas the requests need: over curves of load, in a simulation, and step by step."""

import itertools
import math
import random
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.core import scaling
from model_deployment.core.replicas import Replicas
from model_deployment.core.scaling import Change, History, Look, Scaling
from tests.support.scaled_model import Rate, ScaledModel

T = TypeVar("T")

LIMITS = Scaling()
UP_TO_8 = Replicas(1, 8)
HOUR = 3600.0


def takes(seconds: float) -> Callable[[random.Random], float]:
    """A model whose predictions take equally long."""
    return lambda source: seconds


def takes_about(seconds: float) -> Callable[[random.Random], float]:
    """A model whose predictions take very different times, with this mean."""
    return lambda source: source.expovariate(1 / seconds)


def constant(value: T) -> Callable[[float], T]:
    return lambda at: value


def bounded(model: ScaledModel) -> None:
    """No change goes too far, comes too soon, or leaves the limits."""
    for at, before, change in model.changes:
        after = change.replicas
        assert model.replicas.min <= after <= model.replicas.max, (at, change)
        assert before / 2 - 1 < after <= 2 * before, (at, before, change)
    for (first, low, one), (second, _, other) in itertools.pairwise(model.changes):
        if other.replicas > one.replicas > low:
            assert second - first >= model.start + LIMITS.window, (first, second)
        if other.replicas < one.replicas:
            assert second - first >= LIMITS.removes_after, (first, second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "busy"), [(0.2, 0.2), (0.2, 0.9), (0.2, 4.0), (1.0, 0.65), (1.0, 1.5)]
)
def test_steady_requests_get_what_they_need_without_flapping(service: float, busy: float) -> None:
    """Requests at random times that keep so many worker processes busy."""
    model = ScaledModel(UP_TO_8, takes_about(service))
    model.run(HOUR, rate=lambda at: busy / service)
    bounded(model)
    assert busy < model.wanted <= math.ceil(busy / LIMITS.idle) + 1, model.changes
    assert model.mean_wait(HOUR - 300) < max(0.3, service), model.changes
    assert model.reversals(since=600) <= 8, model.changes


@pytest.mark.slow
@pytest.mark.parametrize("busy", [0.7, 4.0])
def test_slow_model_does_not_flap(busy: float) -> None:
    """Of requests that take 10 s there are few at a time, and their number varies."""
    model = ScaledModel(UP_TO_8, takes_about(10.0))
    model.run(2 * HOUR, rate=lambda at: busy / 10)
    bounded(model)
    assert model.reversals(since=HOUR) <= 8, model.changes
    assert busy < model.wanted, model.changes


def test_step_is_followed_up_and_down() -> None:
    model = ScaledModel(UP_TO_8, takes(0.2))
    model.run(1800, rate=lambda at: 18 if 300 < at <= 900 else 2)
    bounded(model)
    assert model.wanted_at(299) == 1
    assert model.wanted_at(340) >= 4, "3.6 worker processes are busy"
    assert model.mean_wait(400, 900) < 0.1
    assert model.wanted_at(900) <= 8
    assert model.wanted_at(1200) <= 2
    assert model.reversals() == 1, model.changes


@pytest.mark.parametrize(
    ("rate", "turns"),
    [
        pytest.param(lambda at: at / 1800 * 30, 0, id="rises"),
        pytest.param(lambda at: 30 - at / 1800 * 30, 1, id="falls"),
    ],
)
def test_ramp_is_followed_in_one_direction(rate: Rate, turns: int) -> None:
    model = ScaledModel(UP_TO_8, takes(0.2))
    model.run(1800, rate=rate)
    bounded(model)
    assert model.reversals() == turns, model.changes
    assert model.mean_wait(120) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "rate",
    [
        pytest.param(lambda at: 20 * (at % 120) / 120, id="sawtooth of 2 min"),
        pytest.param(lambda at: 20 * (1 - (at % 30) / 30), id="sawtooth of 30 s"),
        pytest.param(lambda at: 40 if at % 60 < 5 else 1, id="5 s in each minute"),
        pytest.param(lambda at: 30 if at % 100 < 50 else 1, id="every other 50 s"),
    ],
)
def test_what_comes_again_soon_is_kept_ready_for(rate: Rate) -> None:
    model = ScaledModel(UP_TO_8, takes(0.2))
    model.run(HOUR, rate=rate)
    bounded(model)
    assert model.reversals(since=900) <= 1, model.changes
    assert model.mean_wait(900) < 0.25, model.changes


def test_rare_bursts_are_each_followed_less_often() -> None:
    model = ScaledModel(UP_TO_8, takes(0.2))
    model.run(HOUR, rate=lambda at: 40 if at % 300 < 20 else 1)
    bounded(model)
    first, rest = model.reversals() - model.reversals(since=900), model.reversals(since=900)
    assert first <= 4, model.changes
    assert rest <= 2, model.changes


def test_few_requests_that_take_milliseconds_need_one_replica() -> None:
    model = ScaledModel(UP_TO_8, takes(0.001))
    model.run(120, callers=lambda at: 16)
    assert model.changes == []


def test_callers_who_ask_again_at_once_get_replicas_and_give_them_back() -> None:
    model = ScaledModel(UP_TO_8, takes(0.5))
    model.run(900, callers=lambda at: 16 if at < 200 else 1)
    bounded(model)
    assert model.wanted_at(199) == 8
    assert model.wanted == 1, model.changes
    assert model.reversals() == 1


def test_worker_processes_of_a_replica_count() -> None:
    model = ScaledModel(UP_TO_8, takes(1.0), workers=4)
    model.run(600, callers=lambda at: 16)
    bounded(model)
    assert model.wanted == 3, "16 requests for 12 worker processes: 4 wait"


def test_idle_deployment_has_its_fewest_replicas_in_the_end() -> None:
    model = ScaledModel(Replicas(2, 8), takes(0.2))
    model.run(120, rate=lambda at: 40)
    assert model.wanted == 8
    model.run(300)
    bounded(model)
    assert model.wanted == 2


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.floats(1, 300), st.floats(0, 60), st.integers(0, 20)), min_size=1, max_size=8
    ),
    limits=st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda n: Replicas(min(n), max(n))),
    service=st.floats(0.05, 5),
    workers=st.integers(1, 4),
    start=st.floats(0, 30),
    seed=st.integers(0, 10),
)
def test_whatever_comes_the_changes_are_bounded(
    pieces: list[tuple[float, float, int]],
    limits: Replicas,
    service: float,
    workers: int,
    start: float,
    seed: int,
) -> None:
    model = ScaledModel(limits, takes_about(service), workers=workers, start=start, seed=seed)
    for seconds, busy, callers in pieces:
        model.run(seconds, rate=constant(busy / service / 4), callers=constant(callers))
    bounded(model)
    # Whatever was, an hour without requests has the fewest in the end.
    model.run(2 * HOUR)
    assert model.wanted == limits.min, model.changes
    bounded(model)


# -- Step by step ----------------------------------------------------------------------------------------


def after(
    history: History,
    seconds: int,
    in_flight: int,
    *,
    ready: int = 1,
    rate: int = 1,
    merged: int = 1,
    workers: int = 1,
) -> None:
    """A look each second, at requests that are the same all the time."""
    last = history.looks[-1] if history.looks else Look(0.0, 0, 0, 0, ready)
    for step in range(1, seconds + 1):
        answered, calls = last.answered + step * rate, last.calls + step * rate // merged
        look = Look(last.at + step, in_flight, answered, calls, ready)
        scaling.observe(history, look, workers, LIMITS)


def decided(
    history: History, replicas: int = 1, wanted: Replicas = UP_TO_8, workers: int = 1
) -> int | None:
    change = scaling.decide(history, replicas, wanted, workers, LIMITS)
    return None if change is None else change.replicas


def test_more_come_only_after_a_whole_window() -> None:
    history = History()
    after(history, 6, in_flight=9)
    assert decided(history) is None
    after(history, 1, in_flight=9)
    assert decided(history) == 2


@pytest.mark.parametrize(
    ("in_flight", "rate", "expected"),
    [(1, 1, None), (2, 1, 2), (2, 100, None), (100, 1000, None), (100, 100, 2), (2, 0, 2)],
)
def test_more_come_if_requests_wait_for_long(
    in_flight: int, rate: int, expected: int | None
) -> None:
    history = History()
    after(history, 10, in_flight=in_flight, rate=rate)
    assert decided(history) == expected


def test_requests_of_one_call_count_as_one() -> None:
    history = History()
    after(history, 10, in_flight=200, rate=100, merged=100)
    assert decided(history) is None, "one call is made, and the next one waits"
    history = History()
    after(history, 10, in_flight=400, rate=100, merged=100)
    assert decided(history) == 2, "three calls wait, each for a second"


def test_no_more_come_while_the_last_ones_start() -> None:
    history = History()
    after(history, 10, in_flight=50)
    assert decided(history, replicas=2) is None
    after(history, 6, in_flight=50, ready=2)
    assert decided(history, replicas=2) is None
    after(history, 1, in_flight=50, ready=2)
    assert decided(history, replicas=2) == 4


def test_a_pause_of_the_looks_is_no_quiet_time() -> None:
    history = History()
    after(history, 30, in_flight=0, ready=4)
    scaling.observe(history, Look(100.0, 0, 30, 30, 4), 1, LIMITS)
    after(history, 59, in_flight=0, ready=4)
    assert decided(history, replicas=4) is None
    after(history, 5, in_flight=0, ready=4)
    assert decided(history, replicas=4) == 2


def test_counts_that_begin_anew_are_not_compared_with_those_before() -> None:
    history = History()
    after(history, 10, in_flight=5, rate=1000)
    scaling.observe(history, Look(11.0, 5, 3, 3, 1), 1, LIMITS)
    assert len(history.looks) == 1
    assert decided(history) is None


def test_fewer_wait_longer_each_time_they_were_too_few() -> None:
    history = History()
    waited = []
    for _ in range(7):
        after(history, 20, in_flight=0, ready=2)
        begun = history.looks[-1].at
        while (change := scaling.decide(history, 2, UP_TO_8, 1, LIMITS)) is None:
            after(history, 1, in_flight=0, ready=2)
        waited.append(history.looks[-1].at - begun)
        scaling.record(history, 2, change, LIMITS)
        after(history, 10, in_flight=9, ready=1)
        scaling.record(history, 1, Change(2, ""), LIMITS)
    assert waited == sorted(waited)
    assert waited[1] - waited[0] == pytest.approx(60, abs=5)
    assert waited[-1] == waited[-2] == pytest.approx(16 * 60 - 20, abs=10)


@pytest.mark.parametrize(
    ("replicas", "wanted", "expected"),
    [
        (5, Replicas(1, 4), 4),
        (1, Replicas(2, 4), 2),
        (3, Replicas(2, 2), 2),
        (2, Replicas(2, 2), None),
    ],
)
def test_limits_hold_at_once(replicas: int, wanted: Replicas, expected: int | None) -> None:
    assert decided(History(), replicas, wanted) == expected


def test_fixed_number_never_changes() -> None:
    history = History()
    after(history, 300, in_flight=500, rate=0)
    assert decided(history, 1, Replicas(1, 1)) is None


def test_looks_that_come_too_soon_are_ignored() -> None:
    history = History()
    for at in (1.0, 1.1, 1.2, 0.5, 1.25):
        scaling.observe(history, Look(at, 1, 0, 0, 1), 1, LIMITS)
    assert [one.at for one in history.looks] == [1.0, 1.25]
