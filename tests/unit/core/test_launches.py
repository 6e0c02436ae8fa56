"""Which launches a deployment had, told from its events."""

from datetime import UTC, datetime, timedelta

from model_deployment.core.domain import State
from model_deployment.core.events import Event
from model_deployment.core.launches import LaunchRecord, launches_of

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

PENDING, STARTING, READY = State.PENDING, State.STARTING, State.READY
STOPPING, STOPPED, FAILED = State.STOPPING, State.STOPPED, State.FAILED

#: Previous state, state, launch, why.
Told = tuple[State | None, State, str | None, str]


def at(second: int) -> datetime:
    return _BEGIN + timedelta(seconds=second)


def records(*told: Told, replica: int | None = 0) -> dict[str, LaunchRecord]:
    """The launches by id, of one event each second."""
    events = [
        Event(at(second), state, why, before, id, replica)
        for second, (before, state, id, why) in enumerate(told)
    ]
    return {one.launch_id: one for one in launches_of(reversed(events))}


def test_a_launch_begins_is_ready_and_ends() -> None:
    told: list[Told] = [
        (None, PENDING, None, "deploy asked for"),
        (PENDING, STARTING, "a", "launch on port 1"),
        (STARTING, READY, "a", "healthy"),
        (READY, READY, "a", "merging was turned off"),
        (READY, PENDING, "a", "the process was killed by SIGSEGV"),
        (PENDING, STARTING, "b", "launch on port 1"),
        (STARTING, FAILED, "b", "ValueError: no"),
        (FAILED, PENDING, "b", "deploy asked for"),
        (PENDING, STARTING, "c", "launch on port 1"),
    ]
    for replica in (None, 0):
        assert [*records(*told, replica=replica).values()] == [
            LaunchRecord("c", at(8), None, None, "launch on port 1", replica),
            LaunchRecord("b", at(5), None, at(6), "ValueError: no", replica),
            LaunchRecord("a", at(1), at(2), at(4), "the process was killed by SIGSEGV", replica),
        ]


def test_a_launch_ends_when_another_one_has_taken_over() -> None:
    for replica in (None, 0):
        found = records(
            (PENDING, STARTING, "a", "launch on port 1"),
            (STARTING, READY, "a", "healthy"),
            (READY, READY, "a", "restart asked for"),
            (READY, READY, "b", "restart: launch on port 2"),
            (READY, READY, "b", "replaced: restart"),
            replica=replica,
        )
        assert [*found] == ["b", "a"]
        new, before = found["b"], found["a"]
        assert (new.started_at, new.ready_at, new.ended_at) == (at(3), at(4), None)
        assert (before.ended_at, before.reason) == (at(4), "replaced: restart")


def test_a_launch_that_did_not_prove_its_change_ends_and_the_one_before_goes_on() -> None:
    found = records(
        (PENDING, STARTING, "a", "launch on port 1"),
        (STARTING, READY, "a", "healthy"),
        (READY, READY, "b", "change of workers from 1 to 2: launch on port 2"),
        (READY, READY, "b", "change of workers from 1 to 2 failed: it died"),
    )
    assert (found["a"].ready_at, found["a"].ended_at) == (at(1), None)
    failed = found["b"]
    assert (failed.ready_at, failed.ended_at) == (None, at(3))
    assert failed.reason == "change of workers from 1 to 2 failed: it died"


def test_a_launch_that_was_to_prove_a_change_is_over_with_the_deployment() -> None:
    found = records(
        (PENDING, STARTING, "a", "launch on port 1"),
        (STARTING, READY, "a", "healthy"),
        (READY, READY, "b", "restart: launch on port 2"),
        (READY, READY, "a", "undeploy asked for"),
        (READY, STOPPING, "a", "undeployed"),
        (STOPPING, STOPPED, "a", "undeployed"),
    )
    assert {id: one.ended_at for id, one in found.items()} == {"a": at(5), "b": at(5)}
    assert found["b"].ready_at is None


def test_replicas_have_launches_of_their_own() -> None:
    told = [
        (0, PENDING, STARTING, "a", "launch"),
        (0, STARTING, READY, "a", "healthy"),
        (1, PENDING, STARTING, "b", "launch"),
        (1, STARTING, READY, "b", "healthy"),
        (1, READY, STOPPING, "b", "1 replica is wanted"),
        # One with the same number begins before it has ended.
        (1, PENDING, STARTING, "c", "launch"),
        (1, STARTING, READY, "c", "healthy"),
        (1, STOPPING, STOPPED, "b", "1 replica is wanted"),
        (0, READY, READY, "d", "restart: launch"),
        (0, READY, READY, "d", "replaced: restart"),
    ]
    events = [
        Event(at(second), state, why, before, id, replica)
        for second, (replica, before, state, id, why) in enumerate(told)
    ]
    found = {one.launch_id: one for one in launches_of(reversed(events))}
    assert {id: (one.replica, one.ready_at, one.ended_at) for id, one in found.items()} == {
        "a": (0, at(1), at(9)),
        "b": (1, at(3), at(7)),
        "c": (1, at(6), None),
        "d": (0, at(9), None),
    }


def test_where_older_events_are_gone_the_others_tell_what_they_can() -> None:
    found = records((READY, READY, "a", "merging was turned off"), (READY, PENDING, "a", "gone"))
    assert [*found.values()] == [LaunchRecord("a", at(0), at(0), at(1), "gone", 0)]
