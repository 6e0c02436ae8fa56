"""What the overview shows: a row for each deployment, and the facts above them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.hints import advice
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.activity import KEPT, Figures, Pulse
from model_deployment.rendering import axis, numbers, paths
from model_deployment.telemetry.prometheus import Seen, Served

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
#: Before any moment, so that what is not ready counts as ready for no time.
_NOT_READY = -1e12


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment in the overview. Equal rows look the same."""

    name: str
    path: str
    state: str
    urgency: int
    #: It stops only to be parked: it still answers.
    parking: bool
    reason: str
    #: What helps, where it failed.
    advice: str
    port: int | None
    uptime: str
    #: What was made ready last has the least, but for what is not ready.
    newness: float
    rate: str
    p95: str
    errors: str
    requests: int
    memory: str
    memory_value: int
    verdict: str
    rate_line: str
    p95_line: str
    rate_value: float
    p95_value: float
    error_share: float
    restarts: int
    #: Says that workers are missing, if they are.
    missing: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds for the controller as a whole."""

    ports_free: int | None
    ports_size: int
    ports: str
    ports_blocked: int
    database: bool
    stuck: bool
    store: str
    store_waiting: str
    #: Why it cannot be read.
    store_away: str
    store_lost: int
    #: None: not asked yet.
    registry: str | None


def row(served: Served, figures: Figures, verdict: str, now: datetime) -> Row:
    """The row of a deployment."""
    it = served.row
    ready = it.ready_at if it.state is State.READY else None
    taken = served.memory
    memory = (taken.pss or taken.rss) if taken else None
    return Row(
        name=str(it.key),
        path=it.key.path,
        state=str(it.state),
        urgency=_URGENCY[it.state],
        parking=it.parking and it.state is State.STOPPING and it.desired is Desired.RUNNING,
        reason=it.reason,
        advice=advice(it.reason) if it.state is State.FAILED else "",
        port=it.port,
        uptime=numbers.duration((now - ready).total_seconds()) if ready else numbers.NONE,
        newness=-ready.timestamp() if ready else _NOT_READY,
        rate=numbers.rate(figures.rate),
        p95=numbers.milliseconds(figures.p95),
        errors=numbers.percent(figures.errors, figures.requests),
        requests=figures.requests,
        memory=numbers.size(memory),
        memory_value=memory or 0,
        verdict=verdict,
        rate_line=paths.line(figures.rates, axis.top(figures.rates), KEPT),
        p95_line=paths.line(figures.p95s, axis.top(figures.p95s), KEPT),
        rate_value=round(figures.rate, 2),
        p95_value=round(figures.p95 or 0, 2),
        error_share=figures.errors / figures.requests if figures.requests else 0,
        restarts=it.restarts,
        missing=_missing(it, served.workers),
    )


def _missing(it: Deployment, serving: int | None) -> str:
    if it.state is not State.READY or serving is None or serving >= it.options.workers:
        return ""
    return f"{serving} of {it.options.workers} workers serve"


def rows(
    seen: Seen, pulse: Pulse, verdicts: Mapping[ModelKey, str], now: datetime
) -> dict[str, Row]:
    """All rows, by name."""
    made = [
        row(served, pulse.of(served.row.key), verdicts.get(served.row.key, ""), now)
        for served in sorted(seen.served, key=lambda one: _order(one.row))
    ]
    return {one.name: one for one in made}


def _order(it: Deployment) -> tuple[str, int]:
    return it.key.model.lower(), it.key.version


def facts(seen: Seen, registry: str | None, store: str, stuck_after: float) -> Facts:
    """What holds for all."""
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
        store_away=store,
        store_lost=captures.dropped + captures.dead,
        registry=registry,
    )
