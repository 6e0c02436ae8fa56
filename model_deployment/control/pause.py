"""How long the control loop may wait until its next tick. Pure."""

from collections.abc import Sequence

from model_deployment.control.tick import Tick
from model_deployment.core.domain import Deployment, Launch, LaunchState

#: Seconds between ticks when nothing wakes the loop.
TICK = 1.0
#: The same while a launch is stopping, whose end may come without a message.
STOPPING_TICK = 0.1
#: The shortest pause between two ticks, in seconds.
SOON = 0.01


def pause(tick: Tick, *, before: Sequence[Deployment], now: float, wake: bool) -> float:
    """Seconds until the next tick is due.

    Args:
        tick: the tick that has ended.
        before: the rows as they were before it.
        now: the monotonic clock, in seconds.
        wake: a request waits for a parked deployment.
    """
    earlier = {one.id: one.state for row in before for one in row.launches}
    every = [one for row in tick.rows for one in row.launches]
    launchable = any(
        _is_pending(one) and earlier.get(one.id) is not one.state and one.not_before <= now
        for one in every
    )
    if launchable or (tick.unplaced and tick.rows != [*before]):
        return SOON  # a port may be free now, or be given up
    due = [one.deadline - now for one in every if one.deadline is not None]
    due += [one.not_before - now for one in every if _is_pending(one) and one.not_before > now]
    due += [deadline - now for row in tick.rows if (deadline := _begins_until(row)) is not None]
    due += [SOON] * wake
    hurry = tick.unplaced or any(one.state is LaunchState.STOPPING for one in every)
    return max(SOON, min([STOPPING_TICK if hurry else TICK, *due]))


def _is_pending(launch: Launch) -> bool:
    return launch.state is LaunchState.PENDING


def _begins_until(row: Deployment) -> float | None:
    """Until when the first launch of a change has to start; None if it has, or may take its time."""
    it = row.replacement
    if it is None or not it.under_way or it.waits_for_stop:
        return None
    return None if row.coming is not None and row.coming.is_live else it.deadline
