"""A snapshot of the controller as Prometheus metrics.

Names and labels stay: dashboards are built on them. Labels are names and versions of deployments, or have
closed sets of values: nothing that callers send becomes a label.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from model_deployment.endpoints.views import EndpointView
from model_deployment.gate import ViolationKind
from model_deployment.recording.counters import LATENCIES, RequestCounts
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.recording.windows import KINDS
from model_deployment.telemetry.endpoint_metrics import endpoint_families

PREFIX = "model_deployment_"
#: Labels that name a deployment.
_NAMES = ("model", "version")
_Family = type[CounterMetricFamily] | type[GaugeMetricFamily]


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
    #: Proxies that serve, and proxies that were started in place of one that had ended.
    proxies: int = 0
    proxy_restarts: int = 0
    endpoints: Sequence[EndpointView] = ()


def _outcomes(one: DeploymentSnapshot) -> Iterator[tuple[str, float]]:
    yield "answered", one.total.answered
    for kind in KINDS:
        yield kind, one.total.errors[kind]


def _violations(one: DeploymentSnapshot) -> Iterator[tuple[str, float]]:
    by_kind: Counter[str] = Counter()
    for (_, kind), count in one.counters.violations.items():
        by_kind[kind] += count
    for kind in ViolationKind:
        yield str(kind), by_kind[kind]


def _states(one: DeploymentSnapshot) -> Iterator[tuple[str, float]]:
    for state in State:
        yield str(state), one.row.state is state


#: Metrics with one sample for each deployment, or none where the value is None.
_SINGLE: Sequence[tuple[_Family, str, str, Callable[[DeploymentSnapshot], float | None]]] = (
    (CounterMetricFamily, "rows", "Rows of answered requests, as far as the gate knows them.",
     lambda one: one.total.rows),
    (GaugeMetricFamily, "requests_in_flight",
     "Requests that have not been answered completely, including waiting requests.",
     lambda one: one.counters.in_flight),
    (GaugeMetricFamily, "queue_requests", "Requests that wait for a worker of the model.",
     lambda one: one.counters.waiting),
    (GaugeMetricFamily, "queue_bytes",
     "Bytes of request bodies in memory: being read, waiting, or with the model.",
     lambda one: one.counters.held),
    (CounterMetricFamily, "refused_requests",
     "Requests refused because they do not fit the model's signature.",
     lambda one: one.counters.refused),
    (CounterMetricFamily, "restarts", "Starts of the processes after the first one.",
     lambda one: one.restarts),
    (GaugeMetricFamily, "deployed_timestamp_seconds", "Time of the deployment.",
     lambda one: one.row.created_at.timestamp()),
    (GaugeMetricFamily, "ready_timestamp_seconds",
     "Time at which the current processes became ready.",
     lambda one: one.row.ready_at.timestamp() if one.row.ready_at else None),
    (GaugeMetricFamily, "resident_memory_bytes",
     "Resident memory of all processes; shared memory counts for each of them.",
     lambda one: one.memory.rss if one.memory else None),
    (GaugeMetricFamily, "proportional_memory_bytes",
     "Memory of all processes; shared memory is divided among the processes that share it.",
     lambda one: one.memory.pss if one.memory else None),
)  # fmt: skip

#: Metrics with one more label: its name, and its values with their samples.
_LABELLED: Sequence[
    tuple[_Family, str, str, str, Callable[[DeploymentSnapshot], Iterable[tuple[str, float]]]]
] = (
    (CounterMetricFamily, "requests", "outcome",
     "Requests for predictions by outcome: answered, or the kind of error.", _outcomes),
    (CounterMetricFamily, "violations", "kind",
     "Violations of the model's signature in requests, by kind.", _violations),
    (GaugeMetricFamily, "state", "state",
     "State of a deployment: 1 for the current state, 0 for the others.", _states),
)  # fmt: skip


def families(snapshot: Snapshot) -> Iterator[Metric]:
    yield from deployment_families(snapshot.deployments)
    yield from endpoint_families(snapshot.endpoints)
    yield from controller_families(snapshot)


def deployment_families(deployments: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    for family, name, help, value in _SINGLE:
        single = family(PREFIX + name, help, labels=_NAMES)
        for one in deployments:
            if (sample := value(one)) is not None:
                single.add_metric(one.labels, sample)
        yield single
    for family, name, label, help, values in _LABELLED:
        labelled = family(PREFIX + name, help, labels=(*_NAMES, label))
        for one in deployments:
            for label_value, sample in values(one):
                labelled.add_metric([*one.labels, label_value], sample)
        yield labelled
    yield from _histograms(deployments)


def _histograms(deployments: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    durations = HistogramMetricFamily(
        PREFIX + "request_duration_seconds",
        "Seconds from the head of an answered request to its answer, including reading the body.",
        labels=_NAMES,
    )
    batches = HistogramMetricFamily(
        PREFIX + "batch_rows",
        "Rows of calls of the model that carried several requests, or a part of a large one.",
        labels=_NAMES,
    )
    for one in deployments:
        total, counters = one.total, one.counters
        durations.add_metric(one.labels, _buckets(LATENCIES, total.buckets), total.seconds)
        buckets = _buckets(BATCH_ROWS, counters.batch_sizes)
        batches.add_metric(one.labels, buckets, counters.batched_rows)
    yield from (durations, batches)


def controller_families(snapshot: Snapshot) -> Iterator[Metric]:
    yield InfoMetricFamily(
        PREFIX + "build", "Versions of the controller, MLflow and Python.", value=snapshot.build
    )
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
        ("store_up", "Whether the document store accepts captures.", not captures.error),
        ("state_database_up", "Whether the state database can be read.", snapshot.database),
        ("reconciler_idle_seconds", "Seconds since the control loop last succeeded.", snapshot.idle),
        ("proxies", "Proxies that serve.", snapshot.proxies),
    )  # fmt: skip
    for name, help, value in gauges:
        yield GaugeMetricFamily(PREFIX + name, help, value=value)
    counters = (
        ("captures_written", "Captures that reached the document store.", captures.written),
        ("captures_dropped", "Captures lost: no space, too old, or damaged.", captures.dropped),
        ("captures_dead", "Captures that the document store refused (dead letters).", captures.dead),
        ("proxy_restarts", "Proxies that ended unasked, and were replaced.", snapshot.proxy_restarts),
    )  # fmt: skip
    for name, help, count in counters:
        yield CounterMetricFamily(PREFIX + name, help, value=count)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus has them."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
