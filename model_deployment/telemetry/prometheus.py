"""A snapshot of the controller as Prometheus metrics.

Names and labels stay: dashboards are built on them. Labels are names and versions of deployments, or have
closed sets of values: nothing that callers send becomes a label.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from model_deployment.core.domain import (
    BATCH_ROWS,
    Deployment,
    Memory,
    PortUsage,
    ProxyCounters,
    State,
)
from model_deployment.gate import Kind
from model_deployment.recording.counters import LATENCIES, RequestCounts
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.recording.windows import KINDS

PREFIX = "model_deployment_"
#: Labels that name a deployment.
_NAMES = ("model", "version")
_ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class DeploymentSnapshot:
    row: Deployment
    total: RequestCounts
    counters: ProxyCounters
    #: Starts after the first; only rises.
    restarts: int
    memory: Memory | None
    #: Workers that serve; None if unknown.
    workers: int | None = None

    @property
    def labels(self) -> list[str]:
        """The values of the labels that name it."""
        return [self.row.key.model, str(self.row.key.version)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    deployments: Sequence[DeploymentSnapshot]
    ports: PortUsage | None
    captures: CaptureStatus
    #: Seconds since the reconciler's last successful tick.
    idle: float
    #: Whether the state database could be read.
    database: bool
    build: dict[str, str]


def families(snapshot: Snapshot) -> Iterator[Metric]:
    yield InfoMetricFamily(
        PREFIX + "build", "Versions of the controller, MLflow and Python.", value=snapshot.build
    )
    yield from _requests(snapshot.deployments)
    yield from _load(snapshot.deployments)
    yield from _gate(snapshot.deployments)
    yield from _processes(snapshot.deployments)
    yield from _controller(snapshot)


def _requests(served: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        PREFIX + "requests",
        "Requests for predictions by outcome: answered, or the kind of error.",
        labels=(*_NAMES, "outcome"),
    )
    durations = HistogramMetricFamily(
        PREFIX + "request_duration_seconds",
        "Seconds from the head of an answered request to its answer, reading the body included.",
        labels=_NAMES,
    )
    rows = CounterMetricFamily(
        PREFIX + "rows",
        "Rows of answered requests, as far as the gate knows them.",
        labels=_NAMES,
    )
    for one in served:
        total = one.total
        requests.add_metric([*one.labels, _ANSWERED], total.answered)
        for kind in KINDS:
            requests.add_metric([*one.labels, kind], total.errors[kind])
        durations.add_metric(one.labels, _buckets(LATENCIES, total.buckets), total.seconds)
        rows.add_metric(one.labels, total.rows)
    yield from (requests, durations, rows)


def _load(served: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(
        PREFIX + "requests_in_flight",
        "Requests without a complete answer yet, waiting ones included.",
        labels=_NAMES,
    )
    waiting = GaugeMetricFamily(
        PREFIX + "queue_requests",
        "Requests that wait for a worker of the model.",
        labels=_NAMES,
    )
    held = GaugeMetricFamily(
        PREFIX + "queue_bytes",
        "Bytes of request bodies in memory: being read, waiting, or with the model.",
        labels=_NAMES,
    )
    batches = HistogramMetricFamily(
        PREFIX + "batch_rows",
        "Rows of calls of the model that carried several requests, or a part of a large one.",
        labels=_NAMES,
    )
    for one in served:
        counters = one.counters
        in_flight.add_metric(one.labels, counters.in_flight)
        waiting.add_metric(one.labels, counters.waiting)
        held.add_metric(one.labels, counters.held)
        buckets = _buckets(BATCH_ROWS, counters.batch_sizes)
        batches.add_metric(one.labels, buckets, counters.batched_rows)
    yield from (in_flight, waiting, held, batches)


def _gate(served: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    violations = CounterMetricFamily(
        PREFIX + "violations",
        "Violations of the signature of the model in requests, by kind.",
        labels=(*_NAMES, "kind"),
    )
    refused = CounterMetricFamily(
        PREFIX + "refused_requests",
        "Requests refused because they do not fit the signature of the model.",
        labels=_NAMES,
    )
    for one in served:
        by_kind: Counter[str] = Counter()
        for (_, kind), count in one.counters.violations.items():
            by_kind[kind] += count
        for kind in Kind:
            violations.add_metric([*one.labels, str(kind)], by_kind[kind])
        refused.add_metric(one.labels, one.counters.refused)
    yield from (violations, refused)


def _processes(served: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        PREFIX + "state",
        "State of a deployment: 1 for the current state, 0 for the others.",
        labels=(*_NAMES, "state"),
    )
    restarts = CounterMetricFamily(
        PREFIX + "restarts", "Starts of the processes after the first one.", labels=_NAMES
    )
    deployed = GaugeMetricFamily(
        PREFIX + "deployed_timestamp_seconds", "Time of the deployment.", labels=_NAMES
    )
    ready = GaugeMetricFamily(
        PREFIX + "ready_timestamp_seconds",
        "Time at which the current processes became ready.",
        labels=_NAMES,
    )
    rss = GaugeMetricFamily(
        PREFIX + "resident_memory_bytes",
        "Resident memory of all processes; shared memory counts for each of them.",
        labels=_NAMES,
    )
    pss = GaugeMetricFamily(
        PREFIX + "proportional_memory_bytes",
        "Memory of all processes; shared memory is divided among the processes that share it.",
        labels=_NAMES,
    )
    for one in served:
        for name in State:
            state.add_metric([*one.labels, str(name)], one.row.state is name)
        restarts.add_metric(one.labels, one.restarts)
        deployed.add_metric(one.labels, one.row.created_at.timestamp())
        if one.row.ready_at is not None:
            ready.add_metric(one.labels, one.row.ready_at.timestamp())
        if one.memory is not None:
            rss.add_metric(one.labels, one.memory.rss)
            if one.memory.pss is not None:
                pss.add_metric(one.labels, one.memory.pss)
    yield from (state, restarts, deployed, ready, rss, pss)


def _controller(snapshot: Snapshot) -> Iterator[Metric]:
    ports = GaugeMetricFamily(
        PREFIX + "ports", "Ports of the range for model servers, by use.", labels=["state"]
    )
    if (usage := snapshot.ports) is not None:
        ports.add_metric(["free"], usage.free)
        ports.add_metric(["leased"], usage.leased)
        ports.add_metric(["quarantined"], usage.quarantined)
        ports.add_metric(["blocked"], len(usage.blocked))
    yield ports
    captures = snapshot.captures
    gauges: Iterable[tuple[str, str, float]] = (
        ("spool_bytes", "Bytes of captures in the spool on the local disk.", captures.spool_bytes),
        ("store_up", "Whether the document store takes captures.", not captures.error),
        ("state_database_up", "Whether the state database can be read.", snapshot.database),
        ("reconciler_idle_seconds", "Seconds since the control loop last succeeded.", snapshot.idle),
    )  # fmt: skip
    for name, help, value in gauges:
        yield GaugeMetricFamily(PREFIX + name, help, value=value)
    counters = (
        ("captures_written", "Captures that reached the document store.", captures.written),
        ("captures_dropped", "Captures that are lost: no room, too old, or damaged.", captures.dropped),
        ("captures_dead", "Captures that the store refuses: dead letters.", captures.dead),
    )  # fmt: skip
    for name, help, count in counters:
        yield CounterMetricFamily(PREFIX + name, help, value=count)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus has them."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
