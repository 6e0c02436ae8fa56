"""The figures of a controller in Prometheus' words: one look at it, as families of metrics.

Names and labels are a promise to whoever draws dashboards of them. Beside the names and versions of what is
deployed, labels have closed sets of values: nothing that callers send becomes a label.
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

#: Every name that is told begins with it.
PREFIX = "model_deployment_"
#: What names a deployment.
_NAMES = ("model", "version")
_ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class DeploymentSnapshot:
    """One deployment as it was seen."""

    row: Deployment
    total: RequestCounts
    counters: ProxyCounters
    #: Starts after the first, which only rise.
    restarts: int
    memory: Memory | None
    #: Workers that serve; None where that cannot be told.
    workers: int | None = None

    @property
    def labels(self) -> list[str]:
        """The values of the labels that name it."""
        return [self.row.key.model, str(self.row.key.version)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A controller as it was seen."""

    served: Sequence[DeploymentSnapshot]
    ports: PortUsage | None
    captures: CaptureStatus
    #: Seconds since the reconciler's last good tick.
    idle: float
    #: Whether the state database could be read.
    database: bool
    build: dict[str, str]


def families(seen: Snapshot) -> Iterator[Metric]:
    """All metrics, each with its help and its samples."""
    yield InfoMetricFamily(
        PREFIX + "build", "The versions of the programs that are at work.", value=seen.build
    )
    yield from _requests(seen.served)
    yield from _load(seen.served)
    yield from _gate(seen.served)
    yield from _processes(seen.served)
    yield from _controller(seen)


def _requests(served: Sequence[DeploymentSnapshot]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        PREFIX + "requests",
        "Requests for predictions, by what became of them: answered, or the kind of error.",
        labels=(*_NAMES, "outcome"),
    )
    durations = HistogramMetricFamily(
        PREFIX + "request_duration_seconds",
        "Seconds from the head of an answered request to its answer, its body on the way included.",
        labels=_NAMES,
    )
    rows = CounterMetricFamily(
        PREFIX + "rows",
        "Rows in answered requests, as far as the gate could count them.",
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
        "Requests that have no whole answer yet, the waiting ones included.",
        labels=_NAMES,
    )
    waiting = GaugeMetricFamily(
        PREFIX + "queue_requests",
        "Requests that wait for their turn with the model.",
        labels=_NAMES,
    )
    held = GaugeMetricFamily(
        PREFIX + "queue_bytes",
        "Bytes of request bodies that are held: still coming in, waiting, or with the model.",
        labels=_NAMES,
    )
    batches = HistogramMetricFamily(
        PREFIX + "batch_rows",
        "Rows of calls that carried several requests, or a part of a large one.",
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
        "Places in requests that do not fit the signature of the model, by kind.",
        labels=(*_NAMES, "kind"),
    )
    refused = CounterMetricFamily(
        PREFIX + "refused_requests",
        "Requests that were refused for not fitting the signature of the model.",
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
        "The state of a deployment: 1 for the one it is in, 0 for the others.",
        labels=(*_NAMES, "state"),
    )
    restarts = CounterMetricFamily(
        PREFIX + "restarts", "Starts of its processes after the first one.", labels=_NAMES
    )
    deployed = GaugeMetricFamily(
        PREFIX + "deployed_timestamp_seconds", "When it was deployed.", labels=_NAMES
    )
    ready = GaugeMetricFamily(
        PREFIX + "ready_timestamp_seconds",
        "When the processes that it has now became ready.",
        labels=_NAMES,
    )
    rss = GaugeMetricFamily(
        PREFIX + "resident_memory_bytes",
        "Resident memory of all its processes; what they share counts for each of them.",
        labels=_NAMES,
    )
    pss = GaugeMetricFamily(
        PREFIX + "proportional_memory_bytes",
        "Memory of all its processes; what is shared is divided among those who share it.",
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


def _controller(seen: Snapshot) -> Iterator[Metric]:
    ports = GaugeMetricFamily(
        PREFIX + "ports", "Ports of the range for model servers, by their use.", labels=["state"]
    )
    if (usage := seen.ports) is not None:
        ports.add_metric(["free"], usage.free)
        ports.add_metric(["leased"], usage.leased)
        ports.add_metric(["quarantined"], usage.quarantined)
        ports.add_metric(["blocked"], len(usage.blocked))
    yield ports
    captures = seen.captures
    gauges: Iterable[tuple[str, str, float]] = (
        ("spool_bytes", "Bytes of captures that wait on the local disk.", captures.spool_bytes),
        ("store_up", "Whether the document store takes captures.", not captures.error),
        ("state_database_up", "Whether the state database can be read.", seen.database),
        ("reconciler_idle_seconds", "Seconds since the last good tick of the loop.", seen.idle),
    )  # fmt: skip
    for name, help, value in gauges:
        yield GaugeMetricFamily(PREFIX + name, help, value=value)
    counters = (
        ("captures_written", "Captures that reached the document store.", captures.written),
        ("captures_dropped", "Captures that are lost: no room, too old, or damaged.", captures.dropped),
        ("captures_dead", "Captures that the store refuses, kept aside.", captures.dead),
    )  # fmt: skip
    for name, help, count in counters:
        yield CounterMetricFamily(PREFIX + name, help, value=count)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """With the counts of all smaller ones in each, as Prometheus has them."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
