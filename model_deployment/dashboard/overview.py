"""What the overview shows: a row for each deployment, and the order of all. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.hints import advice
from model_deployment.core.names import ModelKey
from model_deployment.core.replica_counts import missing_replicas
from model_deployment.dashboard.activity import KEPT, Activity, Figures
from model_deployment.dashboard.arrangement import Arrangement, Item, arrange
from model_deployment.dashboard.attention import (
    ERROR_SHARE,
    LastError,
    Problem,
    deployment_problems,
    model_error_share,
)
from model_deployment.dashboard.device_troubles import DeviceTrouble
from model_deployment.dashboard.endpoint_rows import EndpointRow
from model_deployment.dashboard.facts import Facts
from model_deployment.dashboard.flow_troubles import FlowTrouble
from model_deployment.dashboard.launch_rows import replicas_shown
from model_deployment.rendering import axis, numbers, paths
from model_deployment.rendering.natural_order import natural
from model_deployment.telemetry.prometheus import DeploymentSnapshot, Snapshot

#: Filters of the overview: the states that each stands for. Every state is in one of them.
FILTERS = {
    "failed": (State.FAILED,),
    "starting": (State.PENDING, State.STARTING),
    "stopping": (State.STOPPING, State.STOPPED),
    "ready": (State.READY,),
    "parked": (State.PARKED,),
}
_FILTER_OF = {state: name for name, states in FILTERS.items() for state in states}
#: The order in which states want attention.
_URGENCY = {
    State.FAILED: 0,
    State.STOPPING: 1,
    State.PENDING: 2,
    State.STARTING: 3,
    State.READY: 4,
    State.PARKED: 5,
    State.STOPPED: 6,
}
#: Lines that are remembered: figures change each five seconds, and are shown more often.
_LINES = 1000
#: What needs attention, and has no row.
Trouble = FlowTrouble | DeviceTrouble
#: Sorts deployments that are not ready as if they had become ready last.
_NOT_READY = -1e12


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment in the overview. Equal rows look the same."""

    name: str
    path: str
    model: str
    version: int
    state: str
    #: The name of the filter that shows it.
    filter: str
    urgency: int
    #: It stops because it was idle, and still answers requests.
    parking: bool
    reason: str
    #: What helps after a failure.
    advice: str
    port: int | None
    ready_at: datetime | None
    #: Sort key of the uptime: the longer a deployment has been ready, the larger.
    uptime_value: float
    rate: str
    p95: str
    #: Shares of the requests of the last minutes: those that the model failed to answer, and those whose
    #: callers have to change something.
    errors: str
    caller_errors: str
    memory: str
    memory_value: int
    verdict: str
    rate_line: str
    rate_value: float
    p95_value: float
    error_share: float
    caller_error_share: float
    #: The model fails too often.
    failing: bool
    requests: int
    restarts: int
    #: How many replicas serve of those that are to, if there are several.
    replicas: str
    #: How many replicas or workers serve, if some are missing.
    missing: str
    #: What needs attention, the most urgent first.
    problems: tuple[Problem, ...]
    #: How long it has been ready; changes with the time, and nothing else does.
    uptime: str = field(compare=False, default=numbers.NONE)


@dataclass(frozen=True, slots=True)
class Overview:
    #: By name, in the order of names.
    rows: dict[str, Row]
    facts: Facts
    #: By name, in the order of names.
    endpoints: dict[str, EndpointRow] = field(default_factory=dict)
    arrangement: Arrangement = field(default_factory=lambda: Arrangement((), ()))
    #: By name, runs of flows and projects of devices that need attention.
    troubles: dict[str, Trouble] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """By filter, how much it shows. Each deployment counts for one of :data:`FILTERS`."""
        found = Counter(row.filter for row in self.rows.values())
        return {
            "all": len(self.rows),
            "attention": len(self.arrangement.attention),
            **{name: found[name] for name in FILTERS},
            "endpoints": len(self.endpoints),
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a deployment beside its row and its figures."""

    error: LastError | None = None
    #: When it ceased to be ready, or failed.
    since: datetime | None = None


def overview(
    seen: Snapshot,
    activity: Activity,
    known: Mapping[ModelKey, Known],
    endpoints: dict[str, EndpointRow],
    facts: Facts,
    now: datetime,
    troubles: Mapping[str, Trouble] = MappingProxyType({}),
) -> Overview:
    ordered = sorted(seen.deployments, key=lambda one: _order(one.row))
    made = [
        row(one, activity.of(one.row.key), known.get(one.row.key, Known()), now) for one in ordered
    ]
    rows = {one.name: one for one in made}
    items = [*_items(rows.values(), endpoints.values())]
    items += [Item(one.name, "", need=one.problems[0].need) for one in troubles.values()]
    return Overview(rows, facts, endpoints, arrange(items), dict(troubles))


def _items(rows: Iterable[Row], endpoints: Iterable[EndpointRow]) -> Iterable[Item]:
    for one in rows:
        need = one.problems[0].need if one.problems else None
        parked = one.state == State.PARKED
        yield Item(one.name, one.model, one.version, parked, need, one.requests)
    for endpoint in endpoints:
        need = endpoint.problems[0].need if endpoint.problems else None
        yield Item(endpoint.name, endpoint.model, need=need)


def _order(deployment: Deployment) -> tuple[list[tuple[str, int]], int]:
    return natural(deployment.key.model), deployment.key.version


def row(served: DeploymentSnapshot, figures: Figures, known: Known, now: datetime) -> Row:
    deployment = served.row
    ready = deployment.ready_at if deployment.state is State.READY else None
    measured = served.memory
    memory = (measured.pss or measured.rss) if measured else None
    few = missing_replicas(deployment)
    missing = few or _missing_workers(deployment, served.workers)
    share = model_error_share(figures)
    requests = figures.requests
    return Row(
        name=str(deployment.key),
        path=deployment.key.path,
        model=deployment.key.model,
        version=deployment.key.version,
        state=str(deployment.state),
        filter=_FILTER_OF[deployment.state],
        urgency=_URGENCY[deployment.state],
        parking=bool(deployment.parking)
        and deployment.state is State.STOPPING
        and deployment.desired is Desired.RUNNING,
        reason=deployment.reason,
        advice=advice(deployment.reason) if deployment.state is State.FAILED else "",
        port=deployment.port,
        ready_at=ready,
        uptime_value=-ready.timestamp() if ready else _NOT_READY,
        rate=numbers.number(round(figures.rate, 1)),
        p95=numbers.milliseconds(figures.p95),
        errors=numbers.percent(figures.model_errors, requests),
        caller_errors=numbers.percent(figures.caller_errors, requests),
        memory=numbers.size(memory),
        memory_value=memory or 0,
        verdict=served.last_report.verdict if served.last_report else "",
        rate_line=_line(figures.rates),
        rate_value=round(figures.rate, 2),
        p95_value=round(figures.p95 or 0, 2),
        error_share=share,
        caller_error_share=figures.caller_errors / requests if requests else 0,
        failing=share >= ERROR_SHARE,
        requests=requests,
        restarts=deployment.restarts,
        replicas=replicas_shown(deployment),
        missing=missing,
        problems=deployment_problems(
            deployment, figures, served.last_report, known.error, missing, known.since, now
        ),
        uptime=numbers.duration((now - ready).total_seconds()) if ready else numbers.NONE,
    )


@lru_cache(_LINES)
def _line(values: tuple[float | None, ...]) -> str:
    """Empty without a request: a flat line says nothing, and would change while it grows."""
    return paths.line(values, axis.top(values), KEPT) if any(values) else ""


def _missing_workers(deployment: Deployment, serving: int | None) -> str:
    workers = sum(one.options.workers for one in deployment.serving)
    if deployment.state is not State.READY or serving is None or serving >= workers:
        return ""
    return f"{serving} of {workers} workers serve"
