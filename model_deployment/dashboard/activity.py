"""How busy deployments were in the last minutes, from differences of their counters."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model_deployment.core.names import ModelKey
from model_deployment.recording.counters import RequestCounts
from model_deployment.recording.histogram import Histogram

#: Seconds of a step, and number of steps that are kept: five minutes.
STEP, KEPT = 5.0, 60
#: Steps that count as "now".
_NOW = 2


@dataclass(frozen=True, slots=True)
class _Step:
    requests: int
    errors: int
    latencies: Histogram
    p95: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The last minutes of one deployment; lists have the oldest step first."""

    rates: tuple[float, ...] = ()
    p95s: tuple[float | None, ...] = ()
    #: Requests per second now.
    rate: float = 0.0
    #: Milliseconds; None without an answer in these minutes.
    p95: float | None = None
    requests: int = 0
    errors: int = 0


@dataclass(slots=True)
class _Track:
    last: RequestCounts
    steps: deque[_Step] = field(default_factory=lambda: deque(maxlen=KEPT))
    #: Of these steps; None until somebody asks.
    figures: Figures | None = None


class Activity:
    def __init__(self) -> None:
        self._tracks: dict[ModelKey, _Track] = {}
        self._at: float | None = None

    def due(self, now: float) -> bool:
        return self._at is None or now - self._at >= STEP

    def sample(self, now: float, totals: Mapping[ModelKey, RequestCounts]) -> None:
        """Complete a step: what was counted since the last sample."""
        seconds = STEP if self._at is None else max(0.001, now - self._at)
        self._at = now
        self._tracks = {key: track for key, track in self._tracks.items() if key in totals}
        for key, total in totals.items():
            track = self._tracks.setdefault(key, _Track(RequestCounts()))
            track.steps.append(_difference(track.last, total, seconds))
            track.last = total
            track.figures = None

    def of(self, key: ModelKey) -> Figures:
        track = self._tracks.get(key)
        if track is None or not track.steps:
            return Figures()
        if track.figures is None:
            track.figures = _figures(track.steps)
        return track.figures


def _figures(steps: Sequence[_Step]) -> Figures:
    newest = list(steps)[-_NOW:]
    latencies = Histogram()
    for step in steps:
        latencies.update(step.latencies)
    return Figures(
        rates=tuple(step.requests / step.seconds for step in steps),
        p95s=tuple(step.p95 for step in steps),
        rate=sum(s.requests for s in newest) / sum(s.seconds for s in newest),
        p95=latencies.percentile(0.95),
        requests=sum(step.requests for step in steps),
        errors=sum(step.errors for step in steps),
    )


def _difference(before: RequestCounts, now: RequestCounts, seconds: float) -> _Step:
    if now.answered < before.answered or now.errors.total() < before.errors.total():
        before = RequestCounts()  # deployed anew, and counted from nothing
    latencies = now.latencies.since(before.latencies)
    errors = now.errors.total() - before.errors.total()
    answered = latencies.total()
    return _Step(answered + errors, errors, latencies, latencies.percentile(0.95), seconds)
