"""How many replicas of a deployment the requests need. Pure.

More, when requests queue for long; fewer, when fewer would do. The number that is needed is that of
Knative's autoscaler (https://knative.dev/docs/serving/autoscaling/kpa-specific/): the average of the
requests in the system, divided by how many one replica is to have. By Little's law that average is the rate
of the requests times the seconds that each takes.

Where this differs from Knative, it is for processes that take seconds to start and keep their memory:

- Requests merged into one call count as one.
- More replicas are added only if requests wait for long: a fast model whose callers wait for milliseconds
  keeps its one process. The mean wait is the queue's mean length divided by the rate of the answers, which
  again is Little's law.
- The number at most doubles, and then the new replicas have to serve before it rises again.
- The number at most halves, after a while in which it never was needed.
- A number above which replicas are added, and one below which they are removed, are far apart: a queue that
  stands for fewer replicas cannot stand for more, once they are removed. See :class:`Scaling`.
- A decrease that did not last makes the next one wait twice as long.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from model_deployment.core.replicas import Replicas


@dataclass(frozen=True, slots=True)
class Scaling:
    """Limits of the rule. Times in seconds.

    With requests at random times and equal replicas, a replica that works for a share ``u`` of the time has
    ``u / (1 - u)`` requests at most (the queue M/M/1). It gets company above ``busy``, so above ``u`` of
    0.64; it is removed if the others then have ``u`` of at most ``idle``, so 1 request.
    """

    #: Requests for each worker process of a replica, above which there are to be more replicas: one that is
    #: predicted, and most of the time another one that waits.
    busy: float = 1.75
    #: Requests for each worker process of the replicas that remain, up to which there may be fewer.
    idle: float = 0.5
    #: Mean wait of a request, above which there are to be more replicas.
    patience: float = 0.25
    #: Time over which the requests are averaged.
    window: float = 6.0
    #: Time in which fewer replicas have to do before there are fewer.
    removes_after: float = 60.0
    #: How often that time is doubled, at most: each time that a decrease does not last ``lasting`` times as
    #: long.
    doublings: int = 4
    lasting: float = 8.0
    #: A look that comes sooner after the one before is ignored.
    spacing: float = 0.25
    #: A gap between two looks beyond which nothing is known of the time between them.
    longest_gap: float = 5.0


#: The limits of the settings' defaults.
SCALING = Scaling()


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a deployment at one moment. Counts rise from look to look."""

    #: Monotonic clock, in seconds.
    at: float
    #: Requests without a complete answer.
    in_flight: int
    #: Requests that were answered.
    answered: int
    #: Calls of the model that were answered; one may be made for several requests.
    calls: int
    #: Replicas that answer requests.
    ready: int


@dataclass(frozen=True, slots=True)
class Change:
    """Have another number of replicas."""

    replicas: int
    reason: str


@dataclass(slots=True)
class History:
    """What the rule remembers of one deployment. It is lost with the controller, and begins anew."""

    looks: deque[Look] = field(default_factory=deque)
    #: By time: how many replicas would have been enough, averaged over the window before it.
    enough: deque[tuple[float, int]] = field(default_factory=deque)
    #: Since when there have been as many ready replicas as now, and none were wanted anew.
    settled_since: float = math.inf
    #: Since when it is known how many would have been enough.
    known_since: float = math.inf
    #: When replicas were last removed.
    removed_at: float = -math.inf
    #: How often the time before replicas are removed is doubled.
    doubled: int = 0

    def forget(self) -> None:
        """Begin anew: what was seen says nothing of what comes."""
        self.looks.clear()
        self.enough.clear()
        self.known_since = math.inf


@dataclass(frozen=True, slots=True)
class _Load:
    """Averages over the looks of a window, in calls of the model."""

    #: Calls that are made or wait.
    calls: float
    #: The most of them.
    peak: float
    #: Calls that wait for a worker process.
    queue: float
    #: Seconds that a request waits.
    wait: float
    #: Requests of one call.
    merged: float


def observe(history: History, look: Look, workers: int, limits: Scaling) -> None:
    """Remember a look. Looks that are no later than the last one are ignored.

    Args:
        workers: worker processes of each replica.
    """
    looks = history.looks
    last = looks[-1] if looks else None
    if last is not None and look.at < last.at + limits.spacing:
        return
    if last is None or look.at - last.at > limits.longest_gap or _restarted(last, look):
        history.forget()
        history.settled_since = look.at
    elif last.ready != look.ready:
        history.settled_since = look.at
    looks.append(look)
    while looks[0].at < look.at - limits.window:
        looks.popleft()
    if look.at - looks[0].at >= limits.window / 2:
        history.known_since = min(history.known_since, look.at)
        history.enough.append((look.at, _enough(_load(looks, workers), workers, limits)))
    longest = limits.removes_after * 2.0**limits.doublings
    while history.enough and history.enough[0][0] < look.at - longest:
        history.enough.popleft()


def decide(
    history: History, replicas: int, wanted: Replicas, workers: int, limits: Scaling
) -> Change | None:
    """Whether there are to be more or fewer replicas; None if the number stays.

    Call it after :func:`observe`, and :func:`record` once the change is made.

    Args:
        replicas: how many there are to be now.
        workers: worker processes of each replica.
    """
    if replicas != (within := wanted.clamp(replicas)):
        return Change(within, f"replicas is {wanted}")
    if not (wanted.follows and history.looks):
        return None
    return _more(history, replicas, wanted, workers, limits) or _fewer(
        history, replicas, wanted, limits
    )


def record(history: History, before: int, change: Change, limits: Scaling) -> None:
    """A change was made: what is seen from now on counts.

    Args:
        before: how many replicas there were to be.
    """
    if not history.looks:
        return
    now = history.looks[-1].at
    if change.replicas > before:
        lasted = now - history.removed_at
        again = lasted < limits.lasting * _removes_after(history, limits)
        history.doubled = max(0, min(history.doubled + (1 if again else -1), limits.doublings))
    else:
        history.removed_at = now
    history.enough.clear()
    history.known_since = math.inf
    history.settled_since = now


def _more(
    history: History, replicas: int, wanted: Replicas, workers: int, limits: Scaling
) -> Change | None:
    now = history.looks[-1]
    # Until those that were added last serve, the queue says nothing of how many are needed.
    settled = now.ready >= replicas and now.at - history.settled_since >= limits.window
    if not settled or replicas >= wanted.max:
        return None
    load = _load(history.looks, workers)
    # Where requests are merged, those of the next call always wait.
    busy = limits.busy + 1 - 1 / load.merged
    needed = math.ceil(load.calls / (busy * workers))
    if needed <= replicas or load.wait <= limits.patience:
        return None
    waits = f"for {load.wait:.1f} s" if math.isfinite(load.wait) else "and none is answered"
    return Change(
        min(needed, 2 * replicas, wanted.max),
        f"requests wait {waits}, on average {load.calls:.1f} for {replicas * workers} worker processes",
    )


def _fewer(history: History, replicas: int, wanted: Replicas, limits: Scaling) -> Change | None:
    now = history.looks[-1].at
    after = _removes_after(history, limits)
    if replicas <= wanted.min or now - history.known_since < after:
        return None
    recent = max((one for at, one in history.enough if at >= now - after), default=replicas)
    made = max(recent, wanted.min, replicas // 2)
    if made >= replicas:
        return None
    return Change(made, f"for {after:g} s {made} of {replicas} replicas would have been enough")


def _removes_after(history: History, limits: Scaling) -> float:
    return limits.removes_after * 2.0**history.doubled


def _restarted(before: Look, after: Look) -> bool:
    """Whether a count fell: it began anew."""
    return after.answered < before.answered or after.calls < before.calls


def _load(looks: Iterable[Look], workers: int) -> _Load:
    all_looks = [*looks]
    first, last = all_looks[0], all_looks[-1]
    answered, calls = last.answered - first.answered, last.calls - first.calls
    seconds = last.at - first.at
    merged = max(1.0, answered / calls) if calls else 1.0
    sizes = [look.in_flight / merged for look in all_looks]
    queues = [
        max(0.0, size - look.ready * workers) for size, look in zip(sizes, all_looks, strict=True)
    ]
    queue = sum(queues) / len(queues)
    # The same for requests and for calls: both would be multiplied by the requests of a call.
    rate = answered / merged / seconds if seconds > 0 else 0.0
    wait = 0.0 if not queue else queue / rate if rate else math.inf
    return _Load(sum(sizes) / len(sizes), max(sizes), queue, wait, merged)


def _enough(load: _Load, workers: int, limits: Scaling) -> int:
    """How many replicas would do, for the same callers."""
    on_average = math.ceil(load.calls / (limits.idle * workers))
    # Callers who wait for their answers before they ask again need no more than a worker process each.
    at_most = math.ceil(load.peak / workers)
    return max(1, min(on_average, at_most))
