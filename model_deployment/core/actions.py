"""Inputs and outcomes of the lifecycles of deployments and launches: policy, observations, actions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from model_deployment.core.domain import Exit, Launch, State, Step
from model_deployment.core.measures import Health, LaunchTraffic
from model_deployment.core.merging import Merging


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of the lifecycle. Times in seconds."""

    start_timeout: float = 120.0
    #: The same for the build of an environment or of an image, before the first start.
    build_timeout: float = 1800.0
    drain_timeout: float = 30.0
    #: Between SIGTERM and SIGKILL of a process that has served.
    stop_grace: float = 5.0
    #: The same for a process that never served: it has nothing to finish.
    cancel_grace: float = 0.5
    #: After this long the model server itself answers a request 504. A request that is older by
    #: ``request_grace`` has no working server.
    request_timeout: float = 60.0
    request_grace: float = 5.0
    probe_failures: int = 3
    #: Consecutive time-outs after which the server's threads count as stuck. MLflow answers 504
    #: and leaves the thread running; six of them on two cores and it answers nothing else.
    timeouts_in_row: int = 4
    tries: int = 5
    backoff_first: float = 0.5
    backoff_limit: float = 30.0
    #: Seconds a launch has to serve before earlier failures are forgotten.
    stable_after: float = 30.0
    #: Consecutive ends with a cause outside the model after which the model is restarted without delay.
    free_restarts: int = 3
    #: Seconds a launch has to serve before one such end is forgotten.
    forgets_after: float = 5.0


class Artifact(StrEnum):
    """State of the local, verified copy of a version's artifacts."""

    MISSING = "missing"
    WORKING = "working"
    READY = "ready"
    FAILED = "failed"


class RowIndependence(StrEnum):
    """Whether a launch predicts each row alike alone and in a batch, which merging requests needs."""

    UNTRIED = "untried"
    WORKING = "working"
    KEPT = "kept"
    BROKEN = "broken"
    FAILED = "failed"  # the check itself failed


@dataclass(frozen=True, slots=True)
class Observation:
    """What was observed of one launch in this tick."""

    exit: Exit | None = None
    health: Health = Health()
    traffic: LaunchTraffic = LaunchTraffic()
    artifact: Artifact = Artifact.MISSING
    #: Why the artifacts could not be fetched.
    artifact_error: str = ""
    row_independence: RowIndependence = RowIndependence.UNTRIED
    #: How it is known; or how predictions differ, or why the check failed.
    row_independence_reason: str = ""
    #: False while as many launches are starting as may at a time.
    may_start: bool = True
    #: Its processes are stopped (SIGSTOP), for longer than a moment.
    suspended: bool = False
    #: The controller is shutting down and stops its models.
    closing: bool = False
    #: Memory is short, and other deployments are about to free some.
    memory_pressure: bool = False


@dataclass(frozen=True, slots=True)
class DeploymentObservation:
    """What was observed of one deployment in this tick."""

    #: By launch id, of its live launches.
    traffic: Mapping[str, LaunchTraffic] = field(default_factory=dict)
    #: The controller is shutting down and stops its models.
    closing: bool = False
    #: A request waits for this parked deployment.
    wake_requested: bool = False
    #: Why an operator has it parked; empty if none does.
    park_requested: str = ""
    #: Other launches need a place, and this deployment is the longest idle.
    evict: bool = False
    #: Why memory has no room for one more launch of it.
    memory_shortage: str = ""


# What is decided of a launch.


@dataclass(frozen=True, slots=True)
class Nothing:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch and verify the artifacts."""


@dataclass(frozen=True, slots=True)
class Start:
    """Lease a port and start a process; it has until ``deadline`` to answer."""

    deadline: float


@dataclass(frozen=True, slots=True)
class CheckBatching:
    """Check row independence."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Have the replica answer requests."""

    merging: Merging = Merging()


@dataclass(frozen=True, slots=True)
class Switch:
    """The coming launch is healthy: the deployment gets its options, and one replica before retires."""

    merging: Merging


@dataclass(frozen=True, slots=True)
class Stop:
    """Send no more requests, and go to ``step`` with a deadline.

    ``tries`` counts this stop if the launch has failed, ``kills`` if the cause is outside the model; the
    exit is then not counted again. A stop that was asked for resets both.
    """

    reason: str
    step: Step
    deadline: float
    tries: int = 0
    kills: int = 0


@dataclass(frozen=True, slots=True)
class Vacate:
    """The launch is gone: wait for the next one in its place (``pending``), or give the place up.

    Any other state is the one in which the deployment rests if no replica is left.

    ``keeps_port``: the next launch has the same port, if the runtime holds it.
    """

    state: State
    reason: str
    tries: int = 0
    not_before: float = 0.0
    keeps_port: bool = False
    kills: int = 0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The coming launch is gone or never was: the change has failed, the replicas go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forget:
    """The launch is gone, and nobody wants a next one."""


LaunchAction = (
    Nothing | Prepare | Start | CheckBatching | Promote | Switch | Stop | Vacate | GiveUp | Forget
)


# What is decided of a deployment.


@dataclass(frozen=True, slots=True)
class Settle:
    """Rest in another state: nobody wants what failed or is parked."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Want a launch again, after it was parked."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefuseWake:
    """Leave the deployment parked, and answer the requests that wait for it with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """Have all launches stop; the next request starts the deployment again."""

    reason: str


@dataclass(frozen=True, slots=True)
class AddReplica:
    """Want one more launch that serves, with the options of the deployment."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Send a replica no more requests, and end it once it has answered those that it has."""

    launch: Launch
    reason: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """No launch lives: the next ones have the options of the replacement."""


@dataclass(frozen=True, slots=True)
class EndReplacement:
    """Nothing is left of the replacement: every replica has it, or nobody wants it."""


@dataclass(frozen=True, slots=True)
class FailReplacement:
    """The change could not be begun in time."""

    reason: str


DeploymentAction = (
    Nothing
    | Settle
    | Wake
    | RefuseWake
    | Park
    | AddReplica
    | Retire
    | HandOver
    | EndReplacement
    | FailReplacement
)
