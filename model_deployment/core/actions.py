"""What the rules of a deployment's life are given, and what they can answer."""

from dataclasses import dataclass
from enum import StrEnum

from model_deployment.core.domain import Exit, Health, LaunchTraffic, State, Step


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures of the rules. Times in seconds."""

    start_timeout: float = 120.0
    #: The same where an environment has to be built first.
    build_timeout: float = 1800.0
    drain_timeout: float = 30.0
    #: Between SIGTERM and SIGKILL of a process that served.
    stop_grace: float = 5.0
    #: The same for one that never served: it has nothing to finish.
    cancel_grace: float = 0.5
    #: After this long a request is answered 504 by the model server itself; one that is older has
    #: no server behind it any more.
    request_timeout: float = 60.0
    request_grace: float = 5.0
    probe_failures: int = 3
    #: Time-outs in a row after which the server's threads are taken to be stuck. MLflow answers 504
    #: and leaves the thread running; six of them on two cores and it answers nothing else.
    timeouts_in_row: int = 4
    tries: int = 5
    backoff_first: float = 0.5
    backoff_limit: float = 30.0
    #: Up this long, and earlier failures are forgotten.
    stable_after: float = 30.0
    #: Ends in a row that came from outside, after each of which a model is started again at once.
    free_restarts: int = 3
    #: Up this long, and one of these is forgotten.
    forgets_after: float = 5.0


class Artifact(StrEnum):
    """Where the local, verified copy of a version's artifacts stands."""

    MISSING = "missing"
    WORKING = "working"
    READY = "ready"
    FAILED = "failed"


class RowIndependence(StrEnum):
    """Whether a launch keeps the promise that merging requests needs.

    It is that the predictions of some rows are the same together and apart.
    """

    UNTRIED = "untried"
    WORKING = "working"
    KEPT = "kept"
    BROKEN = "broken"
    FAILED = "failed"  # it could not be found out


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one deployment in this tick."""

    exit: Exit | None = None
    health: Health = Health()
    traffic: LaunchTraffic = LaunchTraffic()
    artifact: Artifact = Artifact.MISSING
    #: Why the artifacts are not to be had.
    artifact_error: str = ""
    row_independence: RowIndependence = RowIndependence.UNTRIED
    #: How the promise was broken, or why nobody knows.
    row_independence_error: str = ""
    #: False while enough others are starting.
    may_start: bool = True
    #: Its processes are stopped (SIGSTOP), and not for a moment only.
    suspended: bool = False
    #: The controller is going down and takes its models with it.
    closing: bool = False
    #: Somebody asked for a prediction of a parked model.
    wake_requested: bool = False
    #: Others wait for a place, and this one's is the one to give up: nobody has used it for longest.
    evict: bool = False
    #: Why a parked model would not fit into memory.
    memory_shortage: str = ""
    #: Memory is short, and others are about to give up theirs.
    memory_pressure: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Leave it."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch and verify the artifacts."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Lease a port and start a process; it has until ``deadline`` to answer."""

    deadline: float


@dataclass(frozen=True, slots=True)
class CheckBatching:
    """Find out whether predictions of rows together and apart are the same."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Publish the route."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Unpublish the route, and go to ``step`` with a deadline.

    ``tries`` counts this stop where it is the launch's own failure, ``kills`` where something outside
    made it necessary, and its end is not counted again; a stop that was asked for forgets both.
    ``parking``: it is to rest, and be started again by the next request.
    """

    reason: str
    step: Step
    deadline: float
    tries: int = 0
    parking: bool = False
    kills: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """No launch exists (any more): take this state, and release the port.

    ``keeps_port``: the next launch has the same port, if the runtime holds it.
    """

    state: State
    reason: str
    tries: int = 0
    not_before: float = 0.0
    keeps_port: bool = False
    kills: int = 0


@dataclass(frozen=True, slots=True)
class RefuseWake:
    """Leave it parked, and tell those who wait for it why."""

    reason: str


Action = Nothing | Prepare | Launch | CheckBatching | Promote | Stop | Release | RefuseWake
