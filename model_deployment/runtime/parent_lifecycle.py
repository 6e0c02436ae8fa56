"""The life of the warm parent, pure: which state follows an event, and what has to be done then.

Nothing here reads a clock, starts a process or opens a socket; ``forkserver`` does.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

#: Seconds that launches wait for a parent that is starting.
PATIENCE = 20.0
#: The same in an environment that was just built: Python compiles all that is imported for the first time.
#: ``mlflow models serve`` would import it as well, and have nothing to share afterwards.
PATIENCE_WHEN_BUILT = 100.0
#: Seconds between a failed attempt and the next one; each failure in a row doubles them.
FIRST_REST, LONGEST_REST = 1.0, 60.0
#: A parent that lived this many seconds is replaced at once.
STABLE = 60.0
#: Seconds before another one is replaced; each short life in a row doubles them.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
#: More doublings than any of these pauses needs.
_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no parent, and no launch has asked for one yet."""


@dataclass(frozen=True, slots=True)
class Starting:
    """A parent is found or started, greeted, and told which ports to hold."""

    #: Since when launches wait.
    since: float
    #: When the attempt begins.
    due: float
    #: Why the attempt before this one failed.
    why: str = ""
    #: Failed attempts in a row.
    failures: int = 0
    #: Parents in a row that lived shortly.
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """A parent is connected, and holds the ports."""

    since: float
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Resting:
    """The last attempt failed. The first launch after ``until`` causes another one."""

    until: float
    why: str
    failures: int
    losses: int = 0


ParentState = Absent | Starting | Ready | Resting


class Event(Enum):
    """What may happen, besides a failure."""

    #: A launch is to be forked.
    WANTED = auto()
    #: The attempt succeeded.
    CONNECTED = auto()
    #: The connection to the parent is closed.
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed."""

    why: str
    #: Models have ports that should be held, so the next attempt does not wait for a launch.
    holds_missing: bool


ParentEvent = Event | Failed


class Action(Enum):
    """What a change of the state asks for."""

    #: Attempt to connect to a parent at the time in the state.
    CONNECT = auto()
    #: Tell the controller: launches that waited can start, with a parent or without one.
    NOTIFY = auto()


def next_state(
    state: ParentState, event: ParentEvent, now: float
) -> tuple[ParentState, tuple[Action, ...]]:
    """The state after an event, and what to do. Where an event means nothing, nothing changes.

    Args:
        now: the monotonic clock, in seconds.
    """
    match state, event:
        case Absent(), Event.WANTED:
            return Starting(now, now), (Action.CONNECT,)
        case Resting(until, why, failures, losses), Event.WANTED if now >= until:
            return Starting(now, now, why, failures, losses), (Action.CONNECT,)
        case Starting(), Event.CONNECTED:
            return Ready(now, state.losses), (Action.NOTIFY,)
        case Starting(failures=failures, losses=losses), Failed(why, holds_missing):
            until = now + _doubled(FIRST_REST, failures, LONGEST_REST)
            if holds_missing:
                later = replace(state, due=until, why=why, failures=failures + 1)
                return later, (Action.CONNECT, Action.NOTIFY)
            return Resting(until, why, failures + 1, losses), (Action.NOTIFY,)
        case Ready(since, losses), Event.LOST:
            # Another one comes unasked: the next launch should not have to wait for the imports.
            losses = 0 if now - since >= STABLE else losses + 1
            pause = _doubled(FIRST_PAUSE, losses - 1, LONGEST_PAUSE) if losses else 0.0
            return Starting(now, now + pause, losses=losses), (Action.CONNECT, Action.NOTIFY)
    return state, ()


def launches_wait(state: ParentState, now: float, patience: float = PATIENCE) -> bool:
    """Whether a launch waits for the parent rather than being started without it."""
    return isinstance(state, Starting) and now < waits_until(state, patience)


def waits_until(state: Starting, patience: float = PATIENCE) -> float:
    """When launches wait no longer, by the monotonic clock.

    Args:
        patience: seconds of the first attempt. After one that failed it is no more than ``PATIENCE``.
    """
    return state.since + (min(patience, PATIENCE) if state.failures else patience)


def _doubled(first: float, times: int, longest: float) -> float:
    return min(longest, first * 2.0 ** min(times, _DOUBLINGS))
