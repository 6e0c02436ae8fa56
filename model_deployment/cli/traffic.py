"""What deployments do now, from two looks at the controller's metrics. Pure but for :func:`look`."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model_deployment.cli import launch_view
from model_deployment.rendering import numbers

if TYPE_CHECKING:
    from model_deployment.client import Client

_COUNTERS = {
    "model_deployment_requests_total": "requests",
    "model_deployment_caller_errors_total": "refused",
    "model_deployment_model_errors_total": "failed",
}
_URGENCY = {"failed": 0, "stopping": 1, "pending": 2, "starting": 3, "ready": 4, "parked": 5}


@dataclass(frozen=True)
class Look:
    """Deployments as the controller lists them, and counters and gauges by deployment."""

    #: Seconds of a clock that never goes back.
    at: float
    deployments: tuple[Mapping[str, Any], ...]
    #: By deployment: all requests, those that callers got wrong, and those that the model failed.
    counters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    #: By deployment, and then by upper limit in seconds: answers that took no longer.
    durations: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    waiting: Mapping[str, float] = field(default_factory=dict)
    #: Bytes.
    memory: Mapping[str, float] = field(default_factory=dict)


def look(client: "Client") -> Look:
    """Ask the controller."""
    page = client.request("GET", "/metrics", headers={"Accept": "text/plain"}).text
    return read(page, tuple(client.deployments()), time.monotonic())


def read(page: str, deployments: tuple[Any, ...], at: float) -> Look:
    """A page of metrics in Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    counters: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    durations: defaultdict[str, dict[float, float]] = defaultdict(dict)
    waiting: dict[str, float] = {}
    memory: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sample.labels
            name = f"{labels.get('model')}-{labels.get('version')}"
            match sample.name:
                case str(known) if known in _COUNTERS:  # of requests, one for each outcome
                    counters[name][_COUNTERS[known]] += sample.value
                case "model_deployment_request_duration_seconds_bucket":
                    durations[name][float(labels["le"])] = sample.value
                case "model_deployment_queue_requests":
                    waiting[name] = sample.value
                case "model_deployment_proportional_memory_bytes":
                    memory[name] = sample.value
    return Look(at, deployments, counters, durations, waiting, memory)


def rows(before: Look, now: Look) -> list[tuple[Any, ...]]:
    """A row for each deployment: name, state, rates, 95th percentile, queue, memory, restarts, reason."""
    found = [_row(one, before, now) for one in now.deployments]
    return [row for _, row in sorted(found, key=lambda one: one[0])]


def _row(one: Mapping[str, Any], before: Look, now: Look) -> tuple[Any, tuple[Any, ...]]:
    name, state = one["name"], one["state"]
    rate, refused, failed = (rates(name, before, now)[kind] for kind in _COUNTERS.values())
    p95 = percentile(before.durations.get(name, {}), now.durations.get(name, {}))
    order = (_URGENCY.get(state, 6), -failed, -rate, name)
    return order, (
        name,
        launch_view.state(one),
        _rate(rate),
        _rate(refused),
        _rate(failed),
        "" if p95 is None else numbers.milliseconds(1000 * p95),
        f"{now.waiting.get(name, 0):.0f}",
        numbers.size(now.memory[name]) if now.memory.get(name) else "",
        one["restarts"],
        launch_view.reason(one),
    )


def _rate(value: float) -> str:
    return f"{value:.1f}" if value else "0"


def rates(name: str, before: Look, now: Look) -> dict[str, float]:
    """Requests a second: all, those that callers got wrong, and those that the model failed."""
    seconds = max(now.at - before.at, 1e-3)
    old, new = before.counters.get(name, {}), now.counters.get(name, {})
    found = {}
    for kind in _COUNTERS.values():
        earlier, later = old.get(kind, 0.0), new.get(kind, 0.0)
        # A counter that is smaller than before has begun anew.
        found[kind] = (later - earlier if later >= earlier else later) / seconds
    return found


def percentile(
    old: Mapping[float, float], new: Mapping[float, float], share: float = 0.95
) -> float | None:
    """Seconds within which a share of the answers between two looks came; None if there were none.

    The upper limit of the bucket that has it, so never less than the truth.
    """
    gained = sorted((limit, value - old.get(limit, 0)) for limit, value in new.items())
    if not gained or gained[-1][1] <= 0:
        return None
    wanted = share * gained[-1][1]
    limits = [limit for limit, _ in gained if limit != float("inf")]
    return next(
        (limit for limit, count in gained if count >= wanted and limit in limits), limits[-1]
    )


def headline(before: Look, now: Look) -> str:
    """All deployments together."""
    found = [rates(one["name"], before, now) for one in now.deployments]
    total = {kind: sum(one[kind] for one in found) for kind in _COUNTERS.values()}
    states: defaultdict[str, int] = defaultdict(int)
    for one in now.deployments:
        states[one["state"]] += 1
    counted = ", ".join(f"{states[state]} {state}" for state in _URGENCY if states[state])
    return (
        f"{counted or 'nothing is deployed'}; {_rate(total['requests'])} requests/s, "
        f"{_rate(total['refused'])} refused, {_rate(total['failed'])} failed; "
        f"memory {numbers.size(sum(now.memory.values()))}"
    )
