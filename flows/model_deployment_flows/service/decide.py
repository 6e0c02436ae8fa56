"""Decides what happens next to runs, from what Prefect says of them and the processes that live. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Seconds that a run may be without a process before it counts as crashed: an engine that has just ended
#: may have reported its last state to a server that is still writing it down.
CRASH_AFTER = 10.0
#: Seconds after which the process of a run should have begun with it.
SLOW_START = 60.0
#: Seconds for the process of a cancelled run to end by itself.
CANCEL_GRACE = 15.0
#: Seconds that the processes of a run may live on after its end.
LINGER = 30.0


class RunState(StrEnum):
    """Prefect's types of states."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        return self in (self.COMPLETED, self.FAILED, self.CRASHED, self.CANCELLED)

    @property
    def has_process(self) -> bool:
        """Whether a run in this state must have a process."""
        return self in (self.PENDING, self.RUNNING)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has not ended."""

    id: str
    state: RunState
    since: float
    """When the state began; seconds since the epoch, like all times here."""
    due: float
    """When it may begin."""
    owner: str
    """The run in whose process it is: itself, or for a flow within a flow the outermost one."""

    @property
    def is_own(self) -> bool:
        return self.owner == self.id


@dataclass(frozen=True, slots=True)
class Living:
    """The processes of one run."""

    led: bool
    """Whether the process that was started for it lives."""
    since: float
    """When its process was last asked to end, or the run was last seen without having ended."""
    asked: bool = False
    """Whether its process was asked to end."""
    began: float = math.inf
    """When the process that was started for it began."""


@dataclass(frozen=True, slots=True)
class Start:
    run_id: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Say in the run's state why it does not begin; it stays due when it was."""

    run_id: str
    reason: str
    due: float


@dataclass(frozen=True, slots=True)
class Explain:
    """Say in the run's log why it does not get on."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the processes of a run to end."""

    run_id: str


@dataclass(frozen=True, slots=True)
class TimeUp:
    """Ask the processes of a run to end that goes on for too long. It failed then."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Kill:
    run_id: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Write down how a run ended that could not do so itself."""

    run_id: str
    state: RunState


@dataclass(frozen=True, slots=True)
class PutBack:
    """Schedule a run again that was to begin and got no process; it stays due when it was."""

    run_id: str
    due: float


Action = Start | Wait | Explain | Ask | TimeUp | Kill | Finish | PutBack


def decide(
    runs: Sequence[Run],
    living: Mapping[str, Living],
    now: float,
    shortage: str,
    begun: Collection[str] = (),
    most_time: float = math.inf,
) -> list[Action]:
    """What to do now.

    Args:
        runs: those that have not ended.
        living: by run, those with processes. They were seen before the runs were read: a run that has no
            process there, and has not ended here, ended without saying so.
        shortage: why no run can begin now; empty if one can.
        begun: runs that are known to have had a process.
        most_time: seconds that the process of a run may take.
    """
    known = {run.id for run in runs}
    actions: list[Action] = []
    for run in runs:
        processes = living.get(run.owner)
        if processes is not None and _is_overdue(run, processes, now, most_time):
            actions += _end(run.id, processes, now) if processes.asked else [TimeUp(run.id)]
        else:
            actions += _of_run(run, processes, known, now, run.id in begun)
    for run_id, processes in living.items():
        if run_id not in known:
            actions += _of_ended(run_id, processes, now)
    # One run at a time. What a run left behind may use as much as the run.
    if not living and not any(action for action in actions if isinstance(action, Start)):
        actions += _next(runs, now, shortage)
    return actions


def _of_run(
    run: Run, processes: Living | None, known: set[str], now: float, begun: bool
) -> list[Action]:
    led = processes is not None and processes.led
    match run.state:
        case RunState.CANCELLING if not led:
            return [Finish(run.id, RunState.CANCELLED)]
        case RunState.CANCELLING if run.is_own and processes is not None:
            return _end(run.id, processes, now)
        case RunState.PENDING if led and now - run.since >= SLOW_START:
            return [Explain(run.id)]
        case RunState.PENDING if run.is_own and processes is None and not begun:
            # The service was killed before it started the process.
            return [PutBack(run.id, run.due)] if now - run.since >= CRASH_AFTER else []
        case state if state.has_process and not led:
            if run.owner not in known or now - run.since >= CRASH_AFTER:
                return [Finish(run.id, RunState.CRASHED)]
    return []


def _is_overdue(run: Run, processes: Living, now: float, most_time: float) -> bool:
    lives = run.state.has_process and run.is_own and processes.led
    return lives and now - processes.began >= most_time


def _of_ended(run_id: str, processes: Living, now: float) -> list[Action]:
    if processes.asked:
        return _end(run_id, processes, now)
    # Without the process that led them nobody waits for the others.
    if not processes.led or now - processes.since >= LINGER:
        return [Ask(run_id)]
    return []


def _end(run_id: str, processes: Living, now: float) -> list[Action]:
    if not processes.asked:
        return [Ask(run_id)]
    return [Kill(run_id)] if now - processes.since >= CANCEL_GRACE else []


def _next(runs: Sequence[Run], now: float, shortage: str) -> list[Action]:
    if any(run.state.has_process or run.state is RunState.CANCELLING for run in runs if run.is_own):
        return []  # its end is written down first
    waiting = [
        run for run in runs if run.state is RunState.SCHEDULED and run.is_own and run.due <= now
    ]
    if not waiting:
        return []
    first = min(waiting, key=lambda run: (run.due, run.id))
    return [Wait(first.id, shortage, first.due) if shortage else Start(first.id)]
