"""A simulated deployment whose replicas follow its requests: queues, servers, starts that take seconds.

The rule of ``core/scaling.py`` is asked once a second, as the control loop does. Nothing waits: an hour
takes a second or so.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from model_deployment.core import scaling
from model_deployment.core.replicas import Replicas
from model_deployment.core.scaling import Change, History, Look, Scaling

#: Requests per second at a time.
Rate = Callable[[float], float]


@dataclass
class _Replica:
    workers: int
    ready_at: float
    #: When each of the requests that it works on or holds back ends.
    ends: list[float] = field(default_factory=list)
    free_at: list[float] = field(default_factory=list)
    retiring: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """What was the case at one second."""

    at: float
    #: How many replicas were wanted, and how many answered.
    wanted: int
    ready: int
    in_flight: int


@dataclass
class ScaledModel:
    """One deployment. Times in seconds."""

    replicas: Replicas
    #: Seconds that a request takes.
    service: Callable[[random.Random], float]
    workers: int = 1
    #: Seconds that a replica takes until it answers.
    start: float = 5.0
    limits: Scaling = field(default_factory=Scaling)
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.history = History()
        self.wanted = self.replicas.min
        self.living = [
            _Replica(self.workers, 0.0, free_at=[0.0] * self.workers) for _ in range(self.wanted)
        ]
        self.waits: list[tuple[float, float]] = []
        self.moments: list[Moment] = []
        self.changes: list[tuple[float, int, Change]] = []
        self._answered = 0
        self._callers: list[tuple[float, int]] = []
        self._numbers = itertools.count()
        self._closed = 0

    def run(
        self,
        seconds: float,
        rate: Rate | None = None,
        callers: Callable[[float], int] | None = None,
    ) -> None:
        """Let requests come at a rate (at random times), and of callers that ask again at once."""
        begin = self.moments[-1].at + 1 if self.moments else 0.0
        arrivals = self._arrivals(rate, begin, begin + seconds) if rate else iter(())
        coming = next(arrivals, None)
        for second in range(int(seconds)):
            at = begin + second
            while coming is not None and coming < at:
                self._send(coming)
                coming = next(arrivals, None)
            self._call(at, callers(at) if callers else 0)
            self._look(at)

    def _arrivals(self, rate: Rate, begin: float, end: float) -> Iterator[float]:
        at = begin
        while at < end:
            now = rate(at)
            if now <= 0:
                at += 1.0
                continue
            step = self.random.expovariate(now)
            if step > 1.0:  # the rate may change meanwhile; exponential times have no memory
                at += 1.0
                continue
            at += step
            yield at

    def _call(self, now: float, callers: int) -> None:
        """Callers who ask, wait for the answer, and ask again."""
        while self._callers and self._callers[0][0] <= now:
            at, _ = heapq.heappop(self._callers)
            if self._closed > callers:
                self._closed -= 1
                continue
            self._ask_again(at)
        while self._closed < callers:
            self._closed += 1
            self._ask_again(now)

    def _ask_again(self, at: float) -> None:
        heapq.heappush(self._callers, (self._send(at), next(self._numbers)))

    def _send(self, at: float) -> float:
        """Send a request to the replica with the least in flight. Returns when it is answered."""
        serving = [one for one in self.living if one.ready_at <= at and not one.retiring]
        for one in serving:
            one.ends = [end for end in one.ends if end > at]
        chosen = min(serving, key=lambda one: len(one.ends))
        place = min(range(chosen.workers), key=chosen.free_at.__getitem__)
        begins = max(at, chosen.free_at[place])
        end = chosen.free_at[place] = begins + self.service(self.random)
        chosen.ends.append(end)
        self.waits.append((at, begins - at))
        return end

    def _look(self, at: float) -> None:
        for one in self.living:
            one.ends = [end for end in one.ends if end > at]
        self._answered = len(self.waits) - sum(len(one.ends) for one in self.living)
        self.living = [one for one in self.living if one.ends or not one.retiring]
        in_flight = sum(len(one.ends) for one in self.living)
        ready = sum(one.ready_at <= at and not one.retiring for one in self.living)
        look = Look(at, in_flight, self._answered, self._answered, ready)
        scaling.observe(self.history, look, self.workers, self.limits)
        change = scaling.decide(self.history, self.wanted, self.replicas, self.workers, self.limits)
        if change is not None:
            scaling.record(self.history, self.wanted, change, self.limits)
            self.changes.append((at, self.wanted, change))
            self._scale(change.replicas, at)
        self.moments.append(Moment(at, self.wanted, ready, in_flight))

    def _scale(self, count: int, at: float) -> None:
        serving = [one for one in self.living if not one.retiring]
        for one in serving[count:]:
            one.retiring = True
        for _ in range(count - len(serving)):
            ready = at + self.start
            self.living.append(_Replica(self.workers, ready, free_at=[ready] * self.workers))
        self.wanted = count

    # What came of it

    def reversals(self, since: float = 0.0) -> int:
        """How often the number fell after it rose, or rose after it fell."""
        signs = [change.replicas > before for at, before, change in self.changes if at >= since]
        return sum(one != other for one, other in itertools.pairwise(signs))

    def mean_wait(self, since: float, until: float = float("inf")) -> float:
        """Seconds that requests of a time waited for a worker process."""
        waits = [wait for at, wait in self.waits if since <= at < until]
        return sum(waits) / len(waits) if waits else 0.0

    def wanted_at(self, at: float) -> int:
        return next(one.wanted for one in reversed(self.moments) if one.at <= at)
