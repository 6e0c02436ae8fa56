"""The values that all rooms share: frozen, and standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from model_deployment.core import merging
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options

if TYPE_CHECKING:
    from model_deployment.core.replacement import Replacement


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
    """Where to connect to a model server: a host and a port, or a Unix socket."""

    host: str
    port: int
    #: Path of a Unix socket, which then is what counts; host and port are for the ``Host`` header.
    path: str = ""

    @property
    def url(self) -> str:
        """Base URL without a trailing slash. Of a Unix socket it names the host alone."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything a runtime needs to start one launch."""

    launch_id: str
    key: ModelKey
    #: Local folder that holds the model's artifacts (the one with ``MLmodel`` in it).
    model_path: str
    #: Where it listens, as :meth:`Runtime.address` has said.
    address: Address
    options: Options
    #: That each worker process computes with.
    threads: int = 1
    #: Files that its first process writes ``0`` to before it does anything else, to enter control groups.
    control_groups: tuple[str, ...] = ()


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


class LaunchState(StrEnum):
    """The state of a launch, as the control loop has observed it."""

    PENDING = "pending"  # wanted, no process yet; a back-off is a pending launch with a not_before
    STARTING = "starting"  # its processes exist and have not answered a health check
    READY = "ready"  # answered
    STOPPING = "stopping"  # its processes are ending


class LaunchRole(StrEnum):
    """What a launch is to its deployment."""

    SERVING = "serving"  # one of its replicas: when it ends, the next one takes its place
    COMING = "coming"  # has the options of a change, and does not serve before it has proved them
    RETIRING = "retiring"  # gets no new requests, finishes those it has, and ends


@dataclass(frozen=True, slots=True)
class Launch:
    """One row of ``launches``: a start of a deployment's processes, from the wish for it to its end.

    Of a replica the row is kept: the next launch in its place has the same number and, where the runtime
    holds ports, the same port. Times as in :class:`Deployment`.
    """

    #: Primary key of the row, which is the replica's identity.
    id: int
    role: LaunchRole
    state: LaunchState
    #: Those that its processes have, or will have.
    options: Options
    #: Name of the cached artifacts, likewise.
    artifact: str
    #: The deployment's generation that it belongs to.
    generation: int
    #: Number of the replica, from 0; unique among the launches that serve.
    replica: int
    #: When it entered its state, wall clock.
    since: datetime
    reason: str = ""
    step: Step | None = None
    #: Names its processes, its log and its lease; None while it is pending.
    launch_id: str | None = None
    handle: Handle | None = None
    #: None while it has none, or where its runtime needs none.
    port: int | None = None
    #: Id of the first launch that was ready at the port. Where the runtime holds the port, later launches
    #: keep the session: requests go on being sent to the port, and wait.
    session: str | None = None
    #: Consecutive failures.
    tries: int = 0
    #: Consecutive ends with a cause outside the model, which do not count as failures.
    kills: int = 0
    not_before: float = 0.0
    deadline: float | None = None
    ready_since: float | None = None
    ready_at: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may have processes."""
        return self.launch_id is not None


@dataclass(frozen=True, slots=True)
class Rest:
    """Why and how a deployment has no launch: ``stopped``, ``parked`` or ``failed``."""

    state: State
    reason: str = ""
    #: Consecutive failures that led to it.
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: a row of ``deployments`` with its launches.

    Times named ``*_at`` are wall clock, for people. ``not_before``, ``deadline`` and ``ready_since``
    are seconds of the machine's monotonic clock, which outlives a controller but not a boot.
    """

    key: ModelKey
    desired: Desired
    options: Options
    #: Name of the cached artifacts: the key, and when the registry created the version.
    artifact: str
    created_at: datetime
    #: Set exactly while no launch serves or is to serve.
    rest: Rest | None = None
    #: All of them, by role (serving, coming, retiring) and number.
    launches: tuple[Launch, ...] = ()
    #: Rises with each change that only other launches can have. Serving launches of an earlier generation
    #: are replaced one after another.
    generation: int = 1
    #: How many launches are to serve now: within ``options.replicas``.
    replicas: int = 1
    #: It was ready at least once since it was last deployed: callers may wait for it to recover.
    proven: bool = False
    #: Starts since it was last deployed.
    starts: int = 0
    #: Why all its launches stop in order to be parked; empty if they do not.
    parking: str = ""
    #: Memory of the processes of one launch when they were last measured, in bytes.
    memory: int | None = None
    #: When its artifacts last changed; None if they never did.
    renewed_at: datetime | None = None
    #: Whether requests are merged, as the last launch that became ready has it; None if none was recorded
    #: since the deploy.
    merging: Merging | None = None
    #: The user who deployed it last, or ``endpoint <name>``; None if that is not known.
    deployed_by: str | None = None
    #: A change of options or a restart that is under way, or has failed.
    replacement: "Replacement | None" = None

    @property
    def serving(self) -> tuple[Launch, ...]:
        """The replicas: launches that serve, or will when they are ready."""
        return tuple([one for one in self.launches if one.role is LaunchRole.SERVING])

    @property
    def coming(self) -> Launch | None:
        """The launch that has to prove the options of a change."""
        return next((one for one in self.launches if one.role is LaunchRole.COMING), None)

    @property
    def retiring(self) -> tuple[Launch, ...]:
        return tuple(one for one in self.launches if one.role is LaunchRole.RETIRING)

    @property
    def ready(self) -> tuple[Launch, ...]:
        """The replicas that answer requests now."""
        return tuple(
            [
                one
                for one in self.launches
                if one.state is LaunchState.READY and one.role is LaunchRole.SERVING
            ]
        )

    @property
    def leader(self) -> Launch | None:
        """The replica that stands for the deployment: the one that is furthest, of these the first."""
        return min(
            self.serving, key=lambda one: (_PROGRESS.index(one.state), one.replica), default=None
        )

    @property
    def state(self) -> State:
        """That of its leader, or the one in which it rests."""
        if (leader := self.leader) is not None:
            return State(leader.state)
        return self.rest.state if self.rest else State.STOPPED

    @property
    def reason(self) -> str:
        """Why it is in its state."""
        if (leader := self.leader) is not None:
            return leader.reason
        return self.rest.reason if self.rest else ""

    @property
    def tries(self) -> int:
        """Consecutive failures."""
        if (leader := self.leader) is not None:
            return leader.tries
        return self.rest.tries if self.rest else 0

    @property
    def kills(self) -> int:
        """Consecutive ends with a cause outside the model."""
        return leader.kills if (leader := self.leader) else 0

    @property
    def launch_id(self) -> str | None:
        """That of its leader."""
        return leader.launch_id if (leader := self.leader) else None

    @property
    def handle(self) -> Handle | None:
        """That of its leader."""
        return leader.handle if (leader := self.leader) else None

    @property
    def port(self) -> int | None:
        """That of its leader."""
        return leader.port if (leader := self.leader) else None

    @property
    def ready_at(self) -> datetime | None:
        """Since when it has been ready without a gap, as far as its replicas tell."""
        return min((one.ready_at for one in self.ready if one.ready_at), default=None)

    @property
    def merging_in_force(self) -> Merging:
        """Whether requests to launches that are ready are merged."""
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
        """Starts that came after the end of another launch since the last deploy."""
        return max(0, self.starts - 1)

    @property
    def settled(self) -> bool:
        """Whether the state stays as it is until a request comes or a process ends."""
        return self.state in (State.READY, State.PARKED, State.STOPPED, State.FAILED)


#: The order in which replicas stand for their deployment.
_PROGRESS = [LaunchState.READY, LaunchState.STARTING, LaunchState.STOPPING, LaunchState.PENDING]
