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
    caller_errors: int
    model_errors: int
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
    #: Of these, requests that the model failed to answer.
    model_error_rate: float = 0.0
    #: Milliseconds; None without an answer in these minutes.
    p95: float | None = None
    requests: int = 0
    #: Requests whose caller has to change something, and requests that the model failed to answer.
    caller_errors: int = 0
    model_errors: int = 0

    @property
    def errors(self) -> int:
        """Requests without a prediction."""
        return self.caller_errors + self.model_errors


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
    seconds = sum(step.seconds for step in newest)
    latencies = Histogram()
    for step in steps:
        latencies.update(step.latencies)
    return Figures(
        rates=tuple(step.requests / step.seconds for step in steps),
        p95s=tuple(step.p95 for step in steps),
        rate=sum(s.requests for s in newest) / seconds,
        model_error_rate=sum(s.model_errors for s in newest) / seconds,
        p95=latencies.percentile(0.95),
        requests=sum(step.requests for step in steps),
        caller_errors=sum(step.caller_errors for step in steps),
        model_errors=sum(step.model_errors for step in steps),
    )


def _difference(before: RequestCounts, now: RequestCounts, seconds: float) -> _Step:
    if now.answered < before.answered or now.errors.total() < before.errors.total():
        before = RequestCounts()  # deployed anew, and counted from nothing
    latencies = now.latencies.since(before.latencies)
    callers = now.caller_errors - before.caller_errors
    models = now.model_errors - before.model_errors
    requests = latencies.total() + callers + models
    return _Step(requests, callers, models, latencies, latencies.percentile(0.95), seconds)
