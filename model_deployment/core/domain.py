"""The values that all rooms share: frozen, and standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from model_deployment.core import merging
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options


class Role(StrEnum):
    """What a user may do."""

    #: Predict and read.
    CALLER = "caller"
    #: Everything.
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether the user may do what a role may do."""
        return self.role in (role, Role.OPERATOR)


class State(StrEnum):
    """The state of a deployment, as the control loop has observed it."""

    PENDING = "pending"  # wanted, no process yet; a back-off is a pending row with a not_before
    STARTING = "starting"  # a launch exists and has not answered its health check
    READY = "ready"  # answered; its route is published
    STOPPING = "stopping"  # unpublished; its processes are ending
    PARKED = "parked"  # stopped because it was idle; the next request starts it
    STOPPED = "stopped"  # stopped, as desired
    FAILED = "failed"  # stopped against the desired state; reason says why


class Desired(StrEnum):
    """The desired state: what the API was asked for."""

    RUNNING = "running"
    STOPPED = "stopped"


class Step(StrEnum):
    """The steps of a stop."""

    DRAIN = "drain"  # no new requests; those in flight may finish
    TERMINATE = "terminate"  # SIGTERM sent to the group
    KILL = "kill"  # SIGKILL sent to the group


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect to a model server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a runtime needs to start one launch."""

    launch_id: str
    key: ModelKey
    #: Local folder that holds the model's artifacts (the one with ``MLmodel`` in it).
    model_path: str
    address: Address
    options: Options


@dataclass(frozen=True, slots=True)
class Handle:
    """A started launch. ``ref`` is JSON that only its runtime understands."""

    launch_id: str
    address: Address
    ref: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a launch ended."""

    reason: str
    #: Exit status as Python has it (negative: the signal); None if it could not be collected.
    code: int | None = None
    #: The model could not be loaded, and another start would fail in the same way.
    permanent: bool = False


#: A launch that ended while no controller watched it.
LOST = Exit("the process is gone")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of the state database.

    Times named ``*_at`` are wall clock, for people. ``not_before``, ``deadline`` and ``ready_since``
    are seconds of the machine's monotonic clock, which outlives a controller but not a boot.
    """

    key: ModelKey
    desired: Desired
    state: State
    options: Options
    #: Name of the cached artifacts: the key, and when the registry created the version.
    artifact: str
    created_at: datetime
    step: Step | None = None
    launch_id: str | None = None
    handle: Handle | None = None
    port: int | None = None
    #: Consecutive failures.
    tries: int = 0
    #: Consecutive ends with a cause outside the model, which do not count as failures.
    kills: int = 0
    #: It was ready at least once since it was last deployed: callers may wait for it to recover.
    proven: bool = False
    #: Launches since it was last deployed.
    launches: int = 0
    not_before: float = 0.0
    deadline: float | None = None
    ready_since: float | None = None
    ready_at: datetime | None = None
    reason: str = ""
    #: It stops in order to be parked.
    parking: bool = False
    #: Id of the first launch that was ready at the port. Where the runtime holds the port, later launches
    #: keep the session: requests go on being sent to the port, and wait.
    session: str | None = None
    #: Memory of its processes when they were last measured, in bytes.
    memory: int | None = None
    #: When its artifacts last changed; None if they never did.
    renewed_at: datetime | None = None
    #: Whether requests are merged, as the last launch that became ready has it; None if none was recorded
    #: since the deploy.
    merging: Merging | None = None

    @property
    def merging_in_force(self) -> Merging:
        """Whether requests to the launch that is ready are merged."""
        return merging.in_force(self.options.batch_max_rows, self.merging)

    @property
    def unparkable(self) -> "Deployment":
        """The same without an idle timeout."""
        return replace(self, options=replace(self.options, idle_timeout=0))

    @property
    def since(self) -> datetime:
        """When the name began to stand for this model: a version can be registered again."""
        if self.renewed_at is not None:
            return self.renewed_at
        moment = self.artifact.rpartition("-")[2]
        if not (moment.isascii() and moment.isdigit() and len(moment) < 15):
            return datetime.fromtimestamp(0, UTC)
        # The registry's clock may be ahead of ours.
        return min(datetime.fromtimestamp(int(moment) / 1000, UTC), self.created_at)

    @property
    def restarts(self) -> int:
        """Launches after the first one since the last deploy."""
        return max(0, self.launches - 1)

    @property
    def settled(self) -> bool:
        """Whether the state stays as it is until a request comes or a process ends."""
        return self.state in (State.READY, State.PARKED, State.STOPPED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a deployment."""

    at: datetime
    state: State
    reason: str
    previous: State | None = None
    launch_id: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What each proxy knows of one deployment; ``address`` is None while it does not serve.

    If ``waits`` is set, requests meanwhile wait: the first one wakes the deployment.
    """

    key: ModelKey
    state: State
    launch_id: str | None = None
    address: Address | None = None
    reason: str = ""
    options: Options = Options()
    #: Names the model's local files, for its signature.
    artifact: str = ""
    waits: bool = False
    #: Id of what requests are sent to, where several launches share a port.
    session: str | None = None
    #: Its row in the table of limits that all proxies share.
    usage_row: int = 0
    #: Rows of a merged call, at most; 0: requests are not merged.
    max_batch_rows: int = 0


#: Upper bounds of the histogram of rows in a batch; one more bucket has no bound.
BATCH_ROWS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


@dataclass(frozen=True, slots=True)
class LaunchTraffic:
    """What proxies have seen of one launch."""

    in_flight: int = 0
    #: Age of the oldest unanswered request, in seconds.
    oldest: float = 0.0
    answered: int = 0
    #: Consecutive time-outs; any answer resets the count.
    timeouts_in_row: int = 0
    #: Requests whose bodies are being received or checked.
    reading: int = 0
    #: Seconds since the last request ended; 0 while there is one, or while none can arrive.
    idle: float = 0.0


@dataclass(frozen=True, slots=True)
class ProxyCounters:
    """What proxies have counted of one deployment since this controller began to route to it."""

    #: Whether a signature is there to check requests against; None while nothing is served.
    checked: bool | None = None
    #: Requests refused because they do not fit the signature.
    refused: int = 0
    #: Violations by column and kind; under ``""`` those that concern no column of the signature.
    violations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Calls of the model that carried several requests, or a part of a large one.
    batches: int = 0
    #: Rows in those calls.
    batched_rows: int = 0
    #: Histogram of the rows of those calls: a count for each of ``BATCH_ROWS``, and one beyond.
    batch_sizes: tuple[int, ...] = (0,) * (len(BATCH_ROWS) + 1)
    #: Why requests are no longer merged, if merging was on.
    unmergeable: str = ""
    #: Requests now without a complete answer.
    in_flight: int = 0
    #: Of these, requests of which nothing was sent to the model yet.
    waiting: int = 0
    #: Bytes of request bodies held in memory now.
    held: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of all processes of a launch, in bytes."""

    #: Resident set size; shared pages count once for each process.
    rss: int
    #: Proportional set size; None where it cannot be read.
    pss: int | None
    #: Unique set size, which is freed when the processes end; None where it cannot be read.
    uss: int | None = None
    #: Whether it was forked from a parent that had imported libraries; None where it is not known.
    forked: bool | None = None


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """How many of the several workers of a launch serve."""

    #: Workers that have loaded the model.
    serving: int
    workers: int
    #: Why the last worker that failed to load the model failed, while its start is repeated.
    load_failure: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Results of the health checks of one launch; ``failures`` are consecutive."""

    healthy: bool = False
    failures: int = 0


@dataclass(frozen=True, slots=True)
class BlockedPort:
    """A port of the range on which a foreign process listens."""

    port: int
    holder: str


@dataclass(frozen=True, slots=True)
class PortUsage:
    """The port pool at one moment."""

    first: int
    last: int
    leased: int
    quarantined: int
    blocked: tuple[BlockedPort, ...]

    @property
    def size(self) -> int:
        """Ports in the range."""
        return self.last - self.first + 1

    @property
    def free(self) -> int:
        """Ports a launch could take now."""
        return self.size - self.leased - self.quarantined - len(self.blocked)
