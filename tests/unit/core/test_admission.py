"""Who is let in by memory, and who is parked to make room."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.core.admission import Admission, choose_evicted, longest_idle
from model_deployment.core.domain import Deployment, Desired, LaunchRole, LaunchState, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod
from model_deployment.core.replacement import ReplacementState
from tests.support.rows import launch, replacement, row

MB = 1024 * 1024
KEY = ModelKey("new", 1)
PARKABLE = Options(idle_timeout=60)
PENDING, STARTING = LaunchState.PENDING, LaunchState.STARTING
READY, STOPPING = LaunchState.READY, LaunchState.STOPPING


def other(state: State, version: int = 1, **changes: Any) -> Deployment:
    return row(state, key=ModelKey("other", version), **changes)


def shortage(free: int, *rows: Any, measured: int | None = None, workers: int = 1) -> str:
    admission = Admission(lambda: free * MB, guess=100 * MB, guess_of_fork=100 * MB, margin=50 * MB)
    return admission.shortage(KEY, Options(workers=workers), measured, rows)


def test_what_fits_beside_the_margin_is_let_in() -> None:
    assert shortage(150) == ""
    assert shortage(149) == (
        "it needs 100 MB of memory (an estimate), 149 MB are free, and 50 MB must stay free"
    )


def test_what_was_measured_counts_and_not_the_guess() -> None:
    assert shortage(80, measured=30 * MB) == ""
    assert "needs 30 MB of memory (as last measured)" in shortage(79, measured=30 * MB)
    assert shortage(249, workers=2)
    assert not shortage(250, workers=2)


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (Options(), 1000),
        (Options(workers=4), 1000),
        (Options(workers=4, start_method=StartMethod.SERVE), 4000),
        (Options(workers=4, start_method=StartMethod.CONTAINER), 1000),
    ],
)
def test_files_are_loaded_by_forks_once(options: Options, files: int) -> None:
    admission = Admission(
        lambda: 0,
        10 * MB,
        10 * MB,
        margin=50 * MB,
        loading=lambda name: 1000 * MB * (name == "large"),
    )
    assert admission.need(options, None, "large") == (10 * options.workers + files) * MB
    assert admission.need(options, None, "small") == 10 * options.workers * MB
    assert admission.need(options, 70 * MB, "large") == 70 * MB
    told = admission.shortage(KEY, options, None, [], "large")
    assert (
        f"needs {files + 10 * options.workers} MB of memory (an estimate, 1000 MB of it to load its files)"
        in told
    )


def test_a_parent_counts_once_for_all_that_share_it() -> None:
    parents = {"a": ("one", 30 * MB), "b": ("two", 70 * MB), "there": ("three", 0)}
    rows = [
        other(State.STARTING, version, artifact=artifact)
        for version, artifact in enumerate(("a", "a", "b", "there"), 1)
    ]

    def least(own: str) -> int:
        admission = Admission(
            lambda: free * MB,
            guess=100 * MB,
            guess_of_fork=100 * MB,
            margin=50 * MB,
            parent=lambda artifact, options: parents[artifact],
        )
        wanted = row(State.PENDING, key=KEY, artifact=own)
        for free in range(2000):
            full = admission.is_full_for(wanted, wanted.launches[0], rows)
            assert full == bool(admission.shortage(KEY, Options(), None, [*rows, wanted]))
            if not full:
                return free
        raise AssertionError("it never fits")

    assert least("there") == 500 + 50 + 30 + 70
    assert least("a") == least("b") == 500 + 50 + 30 + 70


@pytest.mark.parametrize(
    ("rows", "least"),
    [
        ([other(State.STARTING)], 250),
        ([other(State.PENDING, memory=20 * MB)], 170),
        ([other(State.PENDING, desired=Desired.STOPPED)], 150),
        ([other(State.READY), other(State.STOPPED), other(State.PARKED)], 150),
        ([row(State.STARTING, key=KEY)], 150),
        # Idle ones that may be parked give up what they take; of others it is not known.
        ([other(State.READY, memory=40 * MB, options=PARKABLE)], 110),
        ([other(State.READY, options=PARKABLE)], 150),
        ([other(State.READY, memory=40 * MB)], 150),
    ],
)
def test_those_that_come_count_and_those_that_may_go(rows: list[Any], least: int) -> None:
    assert shortage(least, *rows) == ""
    assert shortage(least - 1, *rows) != ""


def test_a_margin_of_nothing_leaves_memory_out_of_it() -> None:
    admission = Admission(lambda: 0, guess=100, guess_of_fork=100, margin=0)
    assert admission.shortage(KEY, Options(), None, []) == ""
    pending = row(State.PENDING)
    assert not admission.is_full_for(pending, pending.launches[0], [])


def test_a_launch_waits_for_those_that_start_and_for_nobody_else() -> None:
    admission = Admission(lambda: 150, guess=100, guess_of_fork=100, margin=50)
    pending = row(State.PENDING, key=KEY)
    (one,) = pending.launches
    others = [pending, other(State.PENDING), other(State.READY, 2)]
    assert not admission.is_full_for(pending, one, others)
    assert admission.is_full_for(pending, one, [other(State.STARTING)])
    # Also for another one of the same deployment.
    both = row(State.STARTING, key=KEY, launches=(launch(STARTING), launch(PENDING, replica=1)))
    assert admission.is_full_for(both, both.launches[1], [both])


def test_the_longest_idle_goes_first_and_the_others_are_spared() -> None:
    seconds = {"a": 1.0, "b": 9.0, "c": 0.4, "d": 99.0, "e": 99.0}
    rows = [
        row(
            State.STARTING if name == "e" else State.READY,
            key=ModelKey(name, 1),
            launch_id=name,
            options=Options() if name == "d" else PARKABLE,
        )
        for name in seconds
    ]
    found = longest_idle(rows, lambda launch_id: LaunchTraffic(idle=seconds[launch_id]))
    assert found == [ModelKey("b", 1), ModelKey("a", 1)]


def replicas(*states: LaunchState, **changes: Any) -> Deployment:
    """Another deployment with replicas in these states."""
    launches = tuple(launch(state, replica=number) for number, state in enumerate(states))
    return other(State.READY, launches=launches, **changes)


RETIRING = launch(STOPPING, LaunchRole.RETIRING, id=8)
COMING = launch(STARTING, LaunchRole.COMING, id=9, options=Options(workers=2))


@pytest.mark.parametrize(
    ("rows", "least"),
    [
        # Each launch that starts, or waits to, counts.
        ([replicas(READY, STARTING, PENDING, memory=20 * MB)], 190),
        ([replicas(READY, STARTING, STOPPING, memory=20 * MB)], 170),
        # One that proves a change may need something else than was measured.
        ([other(State.READY, launches=(launch(READY), COMING), memory=20 * MB)], 350),
        ([other(State.READY, launches=(launch(READY), RETIRING), memory=20 * MB)], 150),
        # What a deployment asks for is counted once, and its further replicas beside those that come.
        ([replace(replicas(STARTING, PENDING), key=KEY)], 150),
        ([replace(replicas(READY, STARTING, PENDING, memory=20 * MB), key=KEY)], 190),
        # All replicas end with the parked deployment.
        ([replicas(READY, READY, memory=40 * MB, options=PARKABLE)], 70),
        ([replicas(READY, READY, memory=40 * MB, options=PARKABLE, parking="idle")], 150),
        ([replace(replicas(READY, READY, memory=40 * MB, options=PARKABLE), key=KEY)], 150),
    ],
)
def test_every_launch_of_a_deployment_counts(rows: list[Deployment], least: int) -> None:
    assert shortage(least, *rows) == ""
    assert shortage(least - 1, *rows) != ""


def idle_of(seconds: dict[str, float]) -> Any:
    return lambda launch_id: LaunchTraffic(idle=seconds[launch_id])


def idle_deployment(name: str, count: int, **changes: Any) -> Deployment:
    launches = tuple(
        launch(READY, replica=number, launch_id=f"{name}{number}") for number in range(count)
    )
    plain = row(State.READY, launches=launches, options=PARKABLE, **changes)
    return replace(plain, key=ModelKey(name, 1))


def test_a_deployment_is_as_idle_as_its_busiest_replica() -> None:
    rows = [idle_deployment("a", 2), idle_deployment("b", 2), idle_deployment("c", 1)]
    seconds = {"a0": 9.0, "a1": 3.0, "b0": 5.0, "b1": 4.0, "c0": 0.0}
    assert longest_idle(rows, idle_of(seconds)) == [ModelKey("b", 1), ModelKey("a", 1)]


@pytest.mark.parametrize("state", ReplacementState)
def test_what_is_being_changed_or_parked_makes_no_room(state: ReplacementState) -> None:
    changed = idle_deployment("a", 1, replacement=replacement(state))
    found = longest_idle([changed], idle_of({"a0": 9.0}))
    assert found == ([] if state is ReplacementState.COMING else [ModelKey("a", 1)])
    assert longest_idle([idle_deployment("a", 1, parking="idle")], idle_of({"a0": 9.0})) == []


@pytest.mark.parametrize(
    ("unplaced", "parked"),
    [(0, ""), (1, "a"), (2, "a"), (3, "ab"), (4, "abc"), (9, "abc")],
)
def test_each_replica_that_is_parked_makes_a_place(unplaced: int, parked: str) -> None:
    rows = [idle_deployment("a", 2), idle_deployment("b", 1), idle_deployment("c", 1)]
    seconds = {"a0": 9.0, "a1": 9.0, "b0": 8.0, "c0": 7.0}
    found = choose_evicted(rows, unplaced, idle_of(seconds))
    assert found == {ModelKey(name, 1) for name in parked}


def test_launches_that_end_make_places_too() -> None:
    ending = other(State.READY, launches=(launch(READY), launch(STOPPING, replica=1), RETIRING))
    rows = [ending, idle_deployment("b", 1)]
    for unplaced, parked in ((2, set()), (3, {ModelKey("b", 1)})):
        assert choose_evicted(rows, unplaced, idle_of({"b0": 8.0})) == parked
