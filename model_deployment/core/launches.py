"""The launches that a deployment had, from its events. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from model_deployment.core.domain import State
from model_deployment.core.events import Event

#: States in which a launch has processes.
_ALIVE = frozenset({State.STARTING, State.READY, State.STOPPING})


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """One start of a deployment's processes."""

    launch_id: str
    started_at: datetime
    #: None if it never was ready.
    ready_at: datetime | None = None
    #: None while it lives.
    ended_at: datetime | None = None
    #: Why it ended; why it is in its state, while it lives.
    reason: str = ""
    #: Number of its replica; None if an earlier release started it.
    replica: int | None = None


def launches_of(events: Iterable[Event]) -> list[LaunchRecord]:
    """The launches, newest first.

    Args:
        events: newest first.
    """
    found: dict[str, LaunchRecord] = {}
    #: Launches whose own end will be told; of others, that another one has their place.
    stopping: set[str] = set()
    #: Launches that are to prove a change, and have not.
    coming: set[str] = set()
    for event in reversed([*events]):
        if (id := event.launch_id) is None:
            continue
        if id not in found:
            found[id] = LaunchRecord(id, event.at, replica=event.replica)
            if _comes(event):
                coming.add(id)
        if found[id].ended_at is not None:
            continue  # the deployment still names it when it is deployed again
        if id in coming:
            if event.reason.startswith("replaced: "):
                coming.remove(id)
            else:
                ended = event.at if " failed: " in event.reason else None
                found[id] = replace(found[id], ended_at=ended, reason=event.reason)
                continue
        found[id] = _after(found[id], event)
        if event.state is State.STOPPING:
            stopping.add(id)
        if event.state is State.READY or event.previous is State.PENDING:
            _end_others(found, found[id], event, {*found} - stopping - coming)
        if event.state is State.STOPPED:
            _end_others(found, found[id], event, coming)
    return [*reversed(found.values())]


def _comes(event: Event) -> bool:
    """Whether this is the start of a launch that is to prove a change: the deployment stays as it is."""
    return event.previous is event.state and ": launch" in event.reason


def _after(launch: LaunchRecord, event: Event) -> LaunchRecord:
    if event.state in _ALIVE:
        ready = event.at if event.state is State.READY else None
        return replace(launch, ready_at=launch.ready_at or ready, reason=event.reason)
    if event.previous in _ALIVE:
        return replace(launch, ended_at=event.at, reason=event.reason)
    return launch


def _end_others(
    found: dict[str, LaunchRecord], launch: LaunchRecord, event: Event, among: set[str]
) -> None:
    """A place has one launch at a time: those before are over, whose end was not told."""
    for id, other in found.items():
        same = (other.replica or 0) == (launch.replica or 0) and id != launch.launch_id
        if same and other.ended_at is None and id in among:
            found[id] = replace(other, ended_at=event.at, reason=event.reason)
