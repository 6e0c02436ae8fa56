"""What the path of a deployment leads to."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from model_deployment.core.measures import BATCH_ROWS
from model_deployment.core.model_kind import PLAIN, ModelKind
from model_deployment.core.routes import Route
from model_deployment.gate import CheckResult
from model_deployment.proxy.headers import VERSION, RawHeader
from model_deployment.proxy.service import Service
from model_deployment.proxy.wake_queue import WakeQueue


@dataclass(slots=True)
class RouteCounts:
    """Counts of one deployment, across its launches."""

    refused: int = 0
    violations: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: int = 0
    batched_rows: int = 0
    #: Merged calls by the bucket of their rows.
    batch_sizes: list[int] = field(default_factory=lambda: [0] * (len(BATCH_ROWS) + 1))
    #: Why requests are not merged, though they were to be.
    unmergeable: str = ""

    def count_check(self, result: CheckResult) -> None:
        self.refused += result.refused
        self.violations.update(result.tally)

    def count_batch(self, rows: int) -> None:
        self.batches += 1
        self.batched_rows += rows
        self.batch_sizes[bisect_left(BATCH_ROWS, rows)] += 1


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """The deployment that a path leads to. ``service`` is None while it does not serve."""

    route: Route
    service: Service | None
    counts: RouteCounts
    #: Where requests wait while it does not serve.
    wake_queue: "WakeQueue[RouteEntry]"
    #: Of its answers: which version they are of.
    version: RawHeader
    kind: ModelKind

    @classmethod
    def of(
        cls,
        route: Route,
        service: Service | None,
        counts: RouteCounts,
        wake_queue: "WakeQueue[RouteEntry]",
        kind: ModelKind = PLAIN,
    ) -> "RouteEntry":
        version = VERSION, b"%d" % route.key.version
        return cls(route, service, counts, wake_queue, version, kind)
