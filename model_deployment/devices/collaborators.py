"""What the loop and the use cases of devices work with: the stores, the publisher, the connections."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from model_deployment.core.device_messages import DeviceLogLine
from model_deployment.core.devices import (
    Device,
    DeviceCommand,
    DeviceProject,
    DeviceUpdate,
    Enrolment,
)
from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import (
    FollowedEndpoint,
    Release,
    ReleaseEvent,
    ReleasePolicy,
    ReleaseState,
)
from model_deployment.devices.views import VersionStats
from model_deployment.registry.values import RegisteredModel, RegisteredVersion


class StoresProjects(Protocol):
    """``state/device_projects.py`` has them."""

    async def create(self, name: str, models: Sequence[str]) -> DeviceProject: ...
    async def all(self) -> list[DeviceProject]: ...
    async def find(self, text: str) -> DeviceProject | None: ...
    async def change(self, project: DeviceProject, models: Sequence[str]) -> DeviceProject: ...
    async def remove(self, project: DeviceProject) -> None: ...
    async def follow(self, followed: FollowedEndpoint) -> None: ...
    async def unfollow(self, project: DeviceProject) -> None: ...
    async def followed(self) -> list[FollowedEndpoint]: ...


class StoresDevices(Protocol):
    """``state/devices.py`` has them."""

    async def enrol(
        self,
        project: DeviceProject,
        code_hash: str,
        groups: Sequence[str],
        device: str | None,
        lifetime: timedelta,
    ) -> Enrolment: ...
    async def register(
        self,
        project: DeviceProject,
        code_hash: str,
        name: str,
        token_hash: str,
        attributes: Mapping[str, Any],
    ) -> Device: ...
    async def all(self, project: DeviceProject | None = None) -> list[Device]: ...
    async def find(self, project: DeviceProject, name: str) -> Device | None: ...
    async def change(
        self,
        device: Device,
        *,
        groups: Sequence[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Device: ...
    async def revoke(self, device: Device) -> Device: ...
    async def rotate(self, device: Device, token_hash: str) -> Device: ...
    async def remove(self, device: Device) -> None: ...


class StoresReleases(Protocol):
    """``state/releases.py`` has them."""

    async def begin(
        self,
        project: DeviceProject,
        key: ModelKey,
        policy: ReleasePolicy,
        *,
        by: str,
        reason: str,
        endpoint: EndpointName | None = None,
        reverts: int | None = None,
        after: int | None = None,
    ) -> Release: ...
    async def move(
        self,
        release: Release,
        state: ReleaseState,
        reason: str,
        *,
        stage: int | None = None,
        manifest: str | None = None,
        signature: str | None = None,
    ) -> Release: ...
    async def settle(self, release: Release, at: datetime | None) -> None: ...
    async def sign(self, release: Release, manifest: str, signature: str) -> None: ...
    async def all(
        self, project: DeviceProject, limit: int, before: int | None = None
    ) -> list[Release]: ...
    async def find(self, project: DeviceProject, number: int) -> Release | None: ...
    async def undecided(self) -> list[Release]: ...
    async def untold(self) -> list[Release]: ...
    async def note_told(self, release: Release) -> None: ...
    async def offerable(self, project: DeviceProject) -> list[Release]: ...
    async def updates(self, release: Release) -> list[DeviceUpdate]: ...
    async def updates_of(self, device: Device) -> list[DeviceUpdate]: ...
    async def note(
        self, project: DeviceProject, number: int | None, reason: str, *, device: str | None = None
    ) -> None: ...
    async def events(
        self, project: DeviceProject, limit: int, number: int | None = None
    ) -> list[ReleaseEvent]: ...
    async def wanted_files(self) -> Sequence[str]: ...


class StoresCommands(Protocol):
    """``state/device_commands.py`` has them."""

    async def order(
        self, device_ids: Sequence[int], name: str, value: Any, by: str
    ) -> list[DeviceCommand]: ...
    async def of(self, device: Device, limit: int) -> list[DeviceCommand]: ...
    async def of_project(self, project: DeviceProject, limit: int) -> list[DeviceCommand]: ...


class ReadsLogs(Protocol):
    """``state/device_messages.py`` has them."""

    async def log(
        self, device: Device, limit: int, before: int | None = None
    ) -> list[DeviceLogLine]: ...


class Signed(Protocol):
    """A manifest and its signature."""

    @property
    def manifest(self) -> str: ...
    @property
    def signature(self) -> str: ...


class Publishes(Protocol):
    """``devices/publish.py`` does."""

    async def prepare(self, project: DeviceProject, release: Release) -> Signed:
        """Have all files of a release, and sign its manifest; takes up to minutes.

        Raises:
            Unavailable: what it needs does not answer; another try may succeed.
            ModelDeploymentError: it cannot be released.
        """
        ...

    async def renew(self, project: DeviceProject, release: Release) -> Signed:
        """The same manifest, which expires later. Raises as :meth:`prepare`."""
        ...

    async def tidy(self, manifests: Sequence[str]) -> None:
        """Remove all files but those of these manifests."""
        ...


class Connected(Protocol):
    """``devices/connections.py`` has them."""

    def tell(self, device_ids: Collection[int] | None) -> None:
        """What devices should run, or their commands, may have changed; None: of all."""
        ...

    def drop(self, device_id: int) -> None:
        """End the connection of a device, if it has one: its token is no longer good."""
        ...

    def online(self) -> set[int]:
        """Ids of the devices that have a connection."""
        ...


class PublicKey(Protocol):
    """The public half of ``devices/signing.py``."""

    @property
    def id(self) -> str: ...
    @property
    def public(self) -> str: ...


class ReadsVersions(Protocol):
    """``registry/client.py`` does. Each raises RegistryUnavailable, and UnknownModel."""

    async def models(self) -> list[RegisteredModel]: ...
    async def version(self, key: ModelKey) -> RegisteredVersion: ...
    async def versions(self, name: str, *, limit: int | None = None) -> list[RegisteredVersion]: ...


#: What each endpoint answers with; None if nothing.
Champions = Callable[[], Awaitable[Mapping[EndpointName, ModelKey | None]]]
#: Measures versions of a project in a span of time.
MeasureVersions = Callable[
    [DeviceProject, Mapping[ModelKey, int], datetime, datetime], Awaitable[Sequence[VersionStats]]
]
#: Begins to tell people how a release has ended, and notes it when it was told.
TellEnd = Callable[[DeviceProject, Release], None]


@dataclass(frozen=True, slots=True)
class ReleaseCollaborators:
    """Everything outside the rules that the loop needs."""

    projects: StoresProjects
    devices: StoresDevices
    releases: StoresReleases
    publisher: Publishes
    tell: Callable[[Collection[int] | None], None]
    champions: Champions
    ended: TellEnd
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class DeviceParts:
    """Everything that the use cases need."""

    projects: StoresProjects
    devices: StoresDevices
    releases: StoresReleases
    commands: StoresCommands
    logs: ReadsLogs
    connections: Connected
    #: The key that signs releases; made when it is needed first.
    key: Callable[[], Awaitable[PublicKey]]
    #: Has all tokens looked up again.
    forget_tokens: Callable[[], None]
    #: Has the loop look at releases now.
    wake: Callable[[], None]
    champions: Champions
    registry: ReadsVersions
    #: The state of each deployment.
    deployed: Callable[[], Awaitable[Mapping[ModelKey, State]]]
    measure: MeasureVersions
    now: Callable[[], datetime]
