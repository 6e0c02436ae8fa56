"""What the overview shows: a row for each deployment, and facts about the controller above them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.hints import advice
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.activity import KEPT, Activity, Figures
from model_deployment.dashboard.endpoint_rows import EndpointRow
from model_deployment.rendering import axis, numbers, paths
from model_deployment.telemetry.prometheus import DeploymentSnapshot, Snapshot

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
#: Sorts deployments that are not ready as if they had become ready last.
_NOT_READY = -1e12


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment in the overview. Equal rows look the same."""

    name: str
    path: str
    state: str
    urgency: int
    #: It stops because it was idle, and still answers requests.
    parking: bool
    reason: str
    #: What helps after a failure.
    advice: str
    port: int | None
    uptime: str
    #: Sort key of the uptime: the longer a deployment has been ready, the larger.
    uptime_value: float
    rate: str
    p95: str
    errors: str
    memory: str
    memory_value: int
    verdict: str
    rate_line: str
    p95_line: str
    rate_value: float
    p95_value: float
    error_share: float
    restarts: int
    #: How many workers serve, if some are missing.
    missing_workers: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The controller as a whole."""

    ports_free: int | None
    ports_size: int
    ports: str
    ports_blocked: int
    database: bool
    stuck: bool
    store: str
    store_waiting: str
    #: Why the store cannot be read.
    store_unreadable: str
    store_lost: int
    #: Why the registry does not answer; empty if it does, None before the first check.
    registry: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    #: By name, in the order of the page.
    rows: dict[str, Row]
    facts: Facts
    #: By name, in the order of the page.
    endpoints: dict[str, EndpointRow] = field(default_factory=dict)


def row(served: DeploymentSnapshot, figures: Figures, verdict: str, now: datetime) -> Row:
    deployment = served.row
    ready = deployment.ready_at if deployment.state is State.READY else None
    measured = served.memory
    memory = (measured.pss or measured.rss) if measured else None
    return Row(
        name=str(deployment.key),
        path=deployment.key.path,
        state=str(deployment.state),
        urgency=_URGENCY[deployment.state],
        parking=deployment.parking
        and deployment.state is State.STOPPING
        and deployment.desired is Desired.RUNNING,
        reason=deployment.reason,
        advice=advice(deployment.reason) if deployment.state is State.FAILED else "",
        port=deployment.port,
        uptime=numbers.duration((now - ready).total_seconds()) if ready else numbers.NONE,
        uptime_value=-ready.timestamp() if ready else _NOT_READY,
        rate=numbers.number(round(figures.rate, 1)),
        p95=numbers.milliseconds(figures.p95),
        errors=numbers.percent(figures.errors, figures.requests),
        memory=numbers.size(memory),
        memory_value=memory or 0,
        verdict=verdict,
        rate_line=_line(figures.rates),
        p95_line=_line(figures.p95s),
        rate_value=round(figures.rate, 2),
        p95_value=round(figures.p95 or 0, 2),
        error_share=figures.errors / figures.requests if figures.requests else 0,
        restarts=deployment.restarts,
        missing_workers=_missing_workers(deployment, served.workers),
    )


@lru_cache(_LINES)
def _line(values: tuple[float | None, ...]) -> str:
    return paths.line(values, axis.top(values), KEPT)


def _missing_workers(deployment: Deployment, serving: int | None) -> str:
    workers = deployment.options.workers
    if deployment.state is not State.READY or serving is None or serving >= workers:
        return ""
    return f"{serving} of {workers} workers serve"


def rows(
    seen: Snapshot, activity: Activity, verdicts: Mapping[ModelKey, str], now: datetime
) -> dict[str, Row]:
    made = [
        row(served, activity.of(served.row.key), verdicts.get(served.row.key, ""), now)
        for served in sorted(seen.deployments, key=lambda one: _order(one.row))
    ]
    return {one.name: one for one in made}


def _order(deployment: Deployment) -> tuple[str, int]:
    return deployment.key.model.lower(), deployment.key.version


def facts(seen: Snapshot, registry: str | None, store: str, stuck_after: float) -> Facts:
    ports, captures = seen.ports, seen.captures
    return Facts(
        ports_free=ports.free if ports else None,
        ports_size=ports.size if ports else 0,
        ports=f"{ports.first}\u2013{ports.last}" if ports else "",
        ports_blocked=len(ports.blocked) if ports else 0,
        database=seen.database,
        stuck=seen.idle > stuck_after,
        store=captures.error,
        store_waiting=numbers.size(captures.spool_bytes) if captures.error else "",
        store_unreadable=store,
        store_lost=captures.dropped + captures.dead,
        registry=registry,
    )
