"""What is shown of projects, devices and releases: by the API, the command line and the dashboard."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from model_deployment.core.devices import (
    Device,
    DeviceCommand,
    DeviceProject,
    DeviceUpdate,
    Enrolment,
    Presence,
    UpdateState,
)
from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import FollowedEndpoint, Release


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project with its devices counted, and what it releases."""

    project: DeviceProject
    #: Number of its devices by presence; what is missing is 0.
    devices: Mapping[Presence, int]
    #: The newest one; None until there was one.
    release: Release | None = None
    follows: FollowedEndpoint | None = None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device, whether it is there, and how far it is with what it should run."""

    device: Device
    #: Name of its project.
    project: str
    presence: Presence
    #: Number of the release that it should run; None: none.
    wanted: int | None = None
    #: What it has made of that release; None until it was told of it.
    update: DeviceUpdate | None = None
    #: It has a socket now.
    connected: bool = False


@dataclass(frozen=True, slots=True)
class NamedUpdate:
    """What a device has made of a release, with the name of the device."""

    device: str
    update: DeviceUpdate


@dataclass(frozen=True, slots=True)
class ReleaseStageView:
    """A stage of a release: its devices, and how far they are."""

    #: From 0.
    number: int
    #: ``group canary``, ``10 %`` or ``the rest``.
    name: str
    #: Its devices are told to run the release.
    open: bool
    #: Number of devices that belong to it, without revoked ones.
    devices: int
    #: Number of its devices by what they have made of the release; the rest was not told of it.
    counts: Mapping[UpdateState, int]
    #: Devices that were told of it: first those that could not, then those that are busy with it.
    updates: tuple[NamedUpdate, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release and its stages."""

    #: Name of its project.
    project: str
    release: Release
    stages: tuple[ReleaseStageView, ...]


@dataclass(frozen=True, slots=True)
class ReleasableVersion:
    """A version of a project's model, with its metrics and where it runs."""

    key: ModelKey
    created_at: datetime
    aliases: tuple[str, ...] = ()
    #: As the registry has it; ``READY`` if the version can be released.
    status: str = "READY"
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: Of its deployment on the server; None if there is none.
    state: State | None = None
    #: Number of devices that run it.
    devices: int = 0
    #: Numbers of its releases in the project, newest first.
    releases: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """An enrolment with the code, which is known only now."""

    enrolment: Enrolment
    #: ``mdc_….<id of the release key>``.
    code: str


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """A device that has just registered, with the token, which is known only now."""

    device: Device
    project: str
    token: str
    #: Id of the release key, and its 32 bytes in base64.
    key: str
    public: str


@dataclass(frozen=True, slots=True)
class NamedCommand:
    """A command with the name of its device."""

    device: str
    command: DeviceCommand


@dataclass(frozen=True, slots=True)
class PlaceStats:
    """How a version did in one place: on the devices together, or on the server."""

    requests: int = 0
    rows: int = 0
    #: Failed requests by kind.
    errors: Mapping[str, int] = field(default_factory=dict)
    #: Milliseconds; None without requests.
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    #: Of captured predictions: ``count``, and ``mean``, ``std``, ``min``, ``max``, ``quantiles`` of numbers
    #: or ``shares`` of the most frequent ``classes``; None without captures.
    predictions: Mapping[str, Any] | None = None
    #: Of the last degradation report; None without one.
    verdict: str | None = None
    #: There was more than is read at once: the figures are those of the newest part.
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class VersionStats:
    """A version on devices and on the server, side by side."""

    key: ModelKey
    #: Number of devices that run it.
    running: int
    devices: PlaceStats
    #: None: it was not deployed there in this time.
    server: PlaceStats | None = None
    #: How far predictions on devices are from those on the server, 0 (alike) to 1; None: too few to tell.
    drift: float | None = None
    #: Words for the drift, or why there is none.
    drift_reason: str = ""


@dataclass(frozen=True, slots=True)
class ProjectStats:
    """What devices and servers did in a span of time."""

    since: datetime
    until: datetime
    versions: tuple[VersionStats, ...]
