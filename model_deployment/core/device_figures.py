"""Figures of devices, for metrics and for what needs attention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleaseState


@dataclass(frozen=True, slots=True)
class ReleaseFigures:
    """A release of a project, and how far devices are with it."""

    number: int
    key: ModelKey
    state: ReleaseState
    reason: str
    #: When it entered its state or stage.
    since: datetime
    #: Number of the release that it takes back; None: none.
    reverts: int | None = None
    #: Number of devices, without revoked ones, by what they have made of it.
    updates: Mapping[UpdateState, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProjectFigures:
    """The devices of a project, counted."""

    #: Name of the project.
    project: str
    #: Number of devices by presence; what is missing is 0.
    presence: Mapping[Presence, int] = field(default_factory=dict)
    #: Number of devices, without revoked ones, by the number of the release that they run; 0: none.
    running: Mapping[int, int] = field(default_factory=dict)
    #: The newest release; None until there was one.
    newest: ReleaseFigures | None = None
    #: The newest release that somebody, or an endpoint, asked for: none that takes another one back.
    asked: ReleaseFigures | None = None


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """All projects of one moment."""

    projects: Sequence[ProjectFigures] = ()
    #: Messages of devices that were stored since the controller was started.
    received: int = 0
    #: Messages that are stored here and wait for the document store.
    waiting: int = 0
    #: Connected sockets.
    sockets: int = 0
