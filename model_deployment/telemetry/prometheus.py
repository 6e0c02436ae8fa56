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

from model_deployment.core.device_figures import DeviceFigures
from model_deployment.core.domain import Deployment, Launch, State
from model_deployment.core.measures import (
    BATCH_ROWS,
    HeldFigures,
    MachineMemory,
    Memory,
    ProxyCounters,
    total_memory,
)
from model_deployment.core.port_usage import PortUsage
from model_deployment.core.replica_counts import replica_counts
from model_deployment.degradation.wording.verdict_words import OF_METRICS, Verdict
from model_deployment.endpoints.views import EndpointView
from model_deployment.flows.figures import FlowFigures
from model_deployment.gate import ViolationKind
from model_deployment.recording.counters import LATENCIES, RequestCounts
from model_deployment.recording.error_kinds import KINDS
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.reports.last_reports import LastReport
from model_deployment.runtime.environment_views import BuiltView, ParentView
from model_deployment.telemetry.device_metrics import device_families
from model_deployment.telemetry.endpoint_metrics import endpoint_families
from model_deployment.telemetry.environment_metrics import environment_families
from model_deployment.telemetry.flow_metrics import flow_families
from model_deployment.telemetry.held_metrics import held_families

PREFIX = "model_deployment_"
#: Labels that name a deployment.
_NAMES = ("model", "version")
_Family = type[CounterMetricFamily] | type[GaugeMetricFamily]


@dataclass(frozen=True, slots=True)
class LaunchSnapshot:
    """What was measured of one launch."""

    launch: Launch
    #: None while it has no processes, and where it cannot be read.
    memory: Memory | None = None
    #: Requests that it has not answered.
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentSnapshot:
    row: Deployment
    total: RequestCounts
    counters: ProxyCounters
    #: Starts after the first; only rises.
    restarts: int
    #: In the order of the row's launches.
    launches: Sequence[LaunchSnapshot] = ()
    #: Workers that serve; None if unknown.
    workers: int | None = None
    last_report: LastReport | None = None

    @property
    def memory(self) -> Memory | None:
        """Of all its launches together; None if none was measured."""
        measured = [one.memory for one in self.launches if one.memory is not None]
        return total_memory(measured) if measured else None

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
    #: None where it cannot be read.
    machine: MachineMemory | None = None
    flows: FlowFigures = FlowFigures()
    devices: DeviceFigures = DeviceFigures()
    held: HeldFigures = HeldFigures()
    parents: Sequence[ParentView] = ()
    environments: Sequence[BuiltView] = ()


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


def _verdicts(one: DeploymentSnapshot) -> Iterator[tuple[str, float]]:
    if one.last_report is not None:
        for verdict in Verdict:
            if verdict not in OF_METRICS:
                yield str(verdict), one.last_report.verdict == verdict


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
    (CounterMetricFamily, "caller_errors",
     "Requests without a prediction whose caller has to change something (status 4xx).",
     lambda one: one.total.caller_errors),
    (CounterMetricFamily, "model_errors",
     "Requests without a prediction that the model, or what serves it, failed to answer (status 5xx).",
     lambda one: one.total.model_errors),
    (CounterMetricFamily, "restarts", "Starts of the processes after the first one.",
     lambda one: one.restarts),
    (GaugeMetricFamily, "replicas_wanted",
     "Launches that are to serve; 0 while the deployment is parked or stopped.",
     lambda one: replica_counts(one.row).wanted),
    (GaugeMetricFamily, "replicas_ready", "Launches that answer requests.",
     lambda one: replica_counts(one.row).ready),
    (GaugeMetricFamily, "deployed_timestamp_seconds", "Time of the deployment.",
     lambda one: one.row.created_at.timestamp()),
    (GaugeMetricFamily, "ready_timestamp_seconds",
     "Time at which the current processes became ready.",
     lambda one: one.row.ready_at.timestamp() if one.row.ready_at else None),
    (GaugeMetricFamily, "report_timestamp_seconds", "Time of the last report.",
     lambda one: one.last_report.at.timestamp() if one.last_report else None),
    (GaugeMetricFamily, "resident_memory_bytes",
     "Resident memory of all processes; shared memory counts for each of them.",
     lambda one: one.memory.rss if one.memory else None),
    (GaugeMetricFamily, "proportional_memory_bytes",
     "Memory of all processes; shared memory is divided among the processes that share it.",
     lambda one: one.memory.pss if one.memory else None),
)  # fmt: skip

#: Metrics of launches, summed by replica and role.
_OF_LAUNCHES: Sequence[tuple[str, str, Callable[[LaunchSnapshot], float | None]]] = (
    ("launch_resident_memory_bytes",
     "Resident memory of the processes of a launch; shared memory counts for each of them.",
     lambda one: one.memory.rss if one.memory else None),
    ("launch_proportional_memory_bytes",
     "Memory of the processes of a launch; shared memory is divided among those that share it.",
     lambda one: one.memory.pss if one.memory else None),
    ("launch_requests_in_flight", "Requests that a launch has not answered.",
     lambda one: one.in_flight if one.launch.is_live else None),
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
    (GaugeMetricFamily, "report_verdict", "verdict",
     "Verdict of the last report: 1 for it, 0 for the others.", _verdicts),
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
    yield from _launch_families(deployments)
    yield from _histograms(deployments)


def _launch_families(deployments: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    for name, help, value in _OF_LAUNCHES:
        family = GaugeMetricFamily(PREFIX + name, help, labels=(*_NAMES, "replica", "role"))
        for one in deployments:
            # Several launches of a replica may finish their requests at a time.
            found: dict[tuple[str, str], float] = {}
            for part in one.launches:
                if (sample := value(part)) is not None:
                    place = str(part.launch.replica), str(part.launch.role)
                    found[place] = found.get(place, 0) + sample
            for place, sample in found.items():
                family.add_metric([*one.labels, *place], sample)
        yield family


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
    yield from _memory_families(snapshot.machine)
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
    yield from held_families(snapshot.held)
    yield from flow_families(snapshot.flows)
    yield from device_families(snapshot.devices)
    yield from environment_families(snapshot.parents, snapshot.environments)


def _memory_families(memory: MachineMemory | None) -> Iterator[Metric]:
    """Without samples where memory cannot be read."""
    total = GaugeMetricFamily(
        PREFIX + "machine_memory_total_bytes",
        "Memory of the machine, or of the container that the controller runs in.",
    )
    available = GaugeMetricFamily(
        PREFIX + "machine_memory_available_bytes", "Memory that new processes can take."
    )
    if memory is not None:
        total.add_metric([], memory.total)
        available.add_metric([], memory.available)
    yield from (total, available)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus has them."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
