"""The values everything else speaks in: frozen, and standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

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
    """Somebody whose password was right."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether that includes what a role may do."""
        return self.role in (role, Role.OPERATOR)


class State(StrEnum):
    """What the reconciler has seen of a deployment."""

    PENDING = "pending"  # wanted, no process yet; a back-off is a pending row with a not_before
    STARTING = "starting"  # a launch exists and has not answered its health check
    READY = "ready"  # answered; its route is published
    STOPPING = "stopping"  # unpublished; on its way out
    PARKED = "parked"  # at rest for want of requests; the next one starts it again
    STOPPED = "stopped"  # at rest, as wished
    FAILED = "failed"  # at rest, against the wish; reason says why


class Desired(StrEnum):
    """What the API asked for."""

    RUNNING = "running"
    STOPPED = "stopped"


class Step(StrEnum):
    """How far a stop has gone."""

    DRAIN = "drain"  # no new requests; those in flight may finish
    TERMINATE = "terminate"  # SIGTERM sent to the group
    KILL = "kill"  # SIGKILL sent to the group


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect to a model server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a runtime needs to start one process for a deployment."""

    launch_id: str
    key: ModelKey
    #: Local folder that holds the model's artifacts (the one with ``MLmodel`` in it).
    model_path: str
    endpoint: Endpoint
    options: Options


@dataclass(frozen=True, slots=True)
class Handle:
    """A started launch. ``ref`` is JSON that only its runtime understands."""

    launch_id: str
    endpoint: Endpoint
    ref: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a launch ended, in words for the user."""

    reason: str
    #: Exit status as Python has it (negative: the signal), None when nobody could collect it.
    code: int | None = None
    #: It could not load its model, and another start would fail in the same way.
    permanent: bool = False


#: A launch that is not there any more, with nobody left who saw it go.
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
    #: Names the cached artifacts: the key and the moment the registry created the version.
    artifact: str
    created_at: datetime
    step: Step | None = None
    launch_id: str | None = None
    handle: Handle | None = None
    port: int | None = None
    #: Failures in a row.
    tries: int = 0
    #: Ends in a row that something outside brought about; they are no failures.
    kills: int = 0
    #: It was ready since it was last deployed, so that its callers may wait for it to come back.
    proven: bool = False
    #: Launches after the first since it was last deployed.
    launches: int = 0
    not_before: float = 0.0
    deadline: float | None = None
    ready_since: float | None = None
    ready_at: datetime | None = None
    reason: str = ""
    #: It stops to be parked, and not for good.
    parking: bool = False
    #: The first launch that was ready at its port. It outlives that launch where the runtime holds the port
    #: for the next one: requests go on being sent there, and wait.
    session: str | None = None
    #: What its processes took when they were last measured, in bytes.
    memory: int | None = None
    #: When it got other artifacts than it had; None if it always had these.
    renewed_at: datetime | None = None

    @property
    def since(self) -> datetime:
        """From when on its name stands for this very model: it may have been registered anew."""
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
        """Nothing more will happen unless somebody asks or a process dies."""
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
    """What the proxy knows of one deployment; ``endpoint`` is None while it does not serve.

    Where it ``waits``, requests are not refused meanwhile: the first one wakes it, and all wait for it.
    """

    key: ModelKey
    state: State
    launch_id: str | None = None
    endpoint: Endpoint | None = None
    reason: str = ""
    options: Options = Options()
    #: Names the model's local files, for its signature.
    artifact: str = ""
    waits: bool = False
    #: Names what requests are sent to, where that is more than one launch.
    session: str | None = None


#: Upper ends of the buckets that the rows of merged calls are counted in; one more is without end.
BATCH_ROWS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


@dataclass(frozen=True, slots=True)
class LaunchTraffic:
    """What the proxy has seen of one launch."""

    in_flight: int = 0
    #: Age in seconds of the oldest request that has no answer yet.
    oldest: float = 0.0
    answered: int = 0
    #: Time-outs since the last answer that was none.
    timeouts_in_row: int = 0
    #: Requests whose bodies are still coming in, or are looked at.
    reading: int = 0
    #: Seconds since the last request ended; 0 while there is one, or none can come.
    idle: float = 0.0


@dataclass(frozen=True, slots=True)
class ProxyCounters:
    """What the proxy has counted of one deployment since this controller began to route to it."""

    #: There is a signature to check requests against; None while nothing is served.
    checked: bool | None = None
    #: Requests that were refused for not fitting it.
    refused: int = 0
    #: Violations by column and kind. Under ``""``: those of no column of the signature.
    violations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Calls of the model that carried several requests, or a part of a large one.
    batches: int = 0
    #: Rows in those calls.
    batched_rows: int = 0
    #: Those calls by their rows, one figure for each of ``BATCH_ROWS`` and one beyond.
    batch_sizes: tuple[int, ...] = (0,) * (len(BATCH_ROWS) + 1)
    #: Why requests are not merged any more, if they were to be.
    unmergeable: str = ""
    #: Requests of callers that have no whole answer yet, now.
    in_flight: int = 0
    #: Of these, those that nothing was sent of to the model.
    waiting: int = 0
    #: Bytes of bodies that are held, now.
    held: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What all processes of a launch take, in bytes."""

    #: Resident: pages that processes share are counted for each of them.
    rss: int
    #: The same with shared pages divided among those who share them; None where it cannot be read.
    pss: int | None
    #: What each has for itself alone, and gives back when it ends; None where it cannot be read.
    uss: int | None = None
    #: Whether it was forked from a parent that had imported libraries; None where it is not known.
    forked: bool | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers of a launch that has several."""

    #: Those that have loaded the model.
    serving: int
    workers: int
    #: Why another one did not, while it is tried again.
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes have seen of one launch."""

    healthy: bool = False
    failures: int = 0


@dataclass(frozen=True, slots=True)
class BlockedPort:
    """A port of the range that a program which is not ours listens on."""

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
