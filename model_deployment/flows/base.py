"""What the controller needs of the engine that carries out flows: a protocol, and the values it speaks in.

``prefect.py`` implements it for Prefect's REST API. All times are aware datetimes in UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from model_deployment.core.errors import Conflict, NotFound, Unavailable

#: Name of the deployment of each flow that the service serves.
DEPLOYMENT = "model-deployment"
#: Key of the artifact in which a flow leaves its result: JSON text of an object, in an artifact of
#: type ``markdown`` or of any other type.
RESULT = "result"


class FlowType(StrEnum):
    """The flows, by their names at the engine."""

    DATA = "data_flow"
    TRAIN = "train_flow"
    EVAL = "eval_flow"
    DEPLOY = "deploy_flow"
    FULL = "full_flow"


class FlowState(StrEnum):
    """The state of a run."""

    REQUESTED = "requested"  # the engine does not have it yet
    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CRASHED = "crashed"  # its process ended before it could say why
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL = frozenset({FlowState.COMPLETED, FlowState.FAILED, FlowState.CRASHED, FlowState.CANCELLED})


class FlowsUnavailable(Unavailable, title="Flows unavailable"):
    """The service of flows does not answer."""


class FlowsUnreachable(FlowsUnavailable, title="Flows unavailable"):
    """There is no connection to the service of flows, or no answer in time."""


class UnknownRun(NotFound, title="Unknown run"):
    """There is no run of a flow with this id."""


class RunRefused(Conflict, title="Run refused"):
    """The engine refuses a run, or a change of its state; the message has its reason."""


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A run as the engine has it."""

    id: str
    flow: str
    name: str
    state: FlowState
    #: The engine's word for the state, which says more: ``Late``, ``AwaitingRetry``.
    state_name: str
    message: str
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    created: datetime
    expected: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None

    def tag(self, name: str) -> str | None:
        """The value of the tag ``<name>:<value>``."""
        for one in self.tags:
            key, colon, value = one.partition(":")
            if key == name and colon:
                return value
        return None


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task of a run, or a flow that a run has started within itself."""

    id: str
    run: str
    name: str
    state: FlowState
    state_name: str
    message: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    #: Attempts so far.
    attempts: int = 0
    #: Ids of the tasks whose results it took.
    after: tuple[str, ...] = ()
    #: The run that this task stands for, if it is a flow within a flow.
    child: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime
    level: str
    logger: str
    message: str
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that a run leaves to be read."""

    run: str
    key: str
    type: str
    description: str
    data: Any


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Selects runs. A member that is empty restricts nothing."""

    tags: Sequence[str] = ()
    states: Sequence[FlowState] = ()
    ids: Sequence[str] = ()
    limit: int = 50
    #: Runs that others have started within themselves, too.
    children: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is handed to the engine."""

    flow: FlowType
    #: The same key twice is one run.
    key: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


class Flows(Protocol):
    """The engine. Each method raises :class:`FlowsUnavailable` where it does not answer."""

    async def ready(self) -> bool:
        """Whether it answers, and has every flow; raises nothing."""
        ...

    async def start(self, new: NewRun) -> FlowRun:
        """Have a flow run as soon as its turn comes.

        Raises:
            RunRefused: the flow does not take these parameters.
        """
        ...

    async def runs(self, query: RunQuery) -> list[FlowRun]:
        """Newest first."""
        ...

    async def run(self, id: str) -> FlowRun:
        """One run.

        Raises:
            UnknownRun: there is none.
        """
        ...

    async def tasks(self, runs: Sequence[str]) -> list[TaskRun]:
        """The tasks of runs, in the order in which they began."""
        ...

    async def logs(
        self, runs: Sequence[str], *, limit: int = 200, offset: int = 0
    ) -> list[LogLine]:
        """The log of runs and of their tasks together, oldest line first; at most 200 lines."""
        ...

    async def artifacts(self, runs: Sequence[str]) -> list[Artifact]:
        """What runs have left, oldest first."""
        ...

    async def cancel(self, run: str) -> FlowRun:
        """Ask a run to end; returns it as it is then, which may be ``cancelling``.

        Raises:
            UnknownRun: there is none.
            RunRefused: it has ended.
        """
        ...
