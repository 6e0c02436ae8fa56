"""What a controller of devices works with, made up: publisher, registry, connections and webhook."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from model_deployment.alerts.alert import Alert
from model_deployment.core.devices import DeviceProject
from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release
from model_deployment.devices.manifest import (
    NoOnnxForm,
    ReleaseFile,
    ReleaseManifest,
    UnfitRelease,
    wanted_blobs,
)
from model_deployment.devices.signing import ReleaseKey
from model_deployment.devices.views import VersionStats
from model_deployment.registry.values import RegisteredModel, RegisteredVersion
from tests.support.crash_points import FatalPoints
from tests.support.fleet_agents import Agent

_KEY = ReleaseKey.from_seed(bytes(32))


class FleetWorld:
    """The world around a controller; it is there when controllers come and go."""

    def __init__(self, model: str, life: timedelta) -> None:
        """``life`` is how long a manifest lasts."""
        self._model, self._life = model, life
        self.steps = FatalPoints()
        self.now = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
        self.agents: dict[str, Agent] = {}
        #: Versions that fail on devices, that cannot be released, and whose files are away for now.
        self.bad: set[int] = set()
        self.unfit: set[int] = set()
        self.away: set[int] = set()
        self.champions: dict[EndpointName, ModelKey | None] = {}
        #: The blobs that there are.
        self.files: set[str] = set()
        self.alerts: list[Alert] = []
        self.told: list[Collection[int] | None] = []
        self.dropped: list[int] = []
        self.tokens_forgotten = 0

    async def prepare(self, project: DeviceProject, release: Release) -> SimpleNamespace:
        version = release.key.version
        await self.steps.step("before the preparation")
        if version in self.away:
            raise RegistryUnavailable("cannot fetch the model: the registry does not answer")
        if version in self.unfit:
            raise UnfitRelease(f"cannot release {release.key}: it has no file")
        self.files.add(_blob(version))
        await self.steps.step("after the preparation")
        return self._signed(project, release)

    async def renew(self, project: DeviceProject, release: Release) -> SimpleNamespace:
        await self.steps.step("during the renewal")
        return self._signed(project, release)

    def _signed(self, project: DeviceProject, release: Release) -> SimpleNamespace:
        text = ReleaseManifest(
            project=project.name,
            number=release.number,
            key=release.key,
            created=self.now,
            expires=self.now + self._life,
            files=(ReleaseFile("model/MLmodel", 10, _blob(release.key.version)),),
            onnx=NoOnnxForm("not wanted"),
            example=None,
            answer=None,
            reverts=release.reverts,
        ).text()
        return SimpleNamespace(manifest=text, signature=_KEY.sign(text))

    async def tidy(self, manifests: Sequence[str]) -> None:
        self.files &= {*wanted_blobs(manifests)}

    def tell(self, device_ids: Collection[int] | None) -> None:
        self.told.append(device_ids)

    def drop(self, device_id: int) -> None:
        self.dropped.append(device_id)

    def online(self) -> set[int]:
        return {one.id for one in self.agents.values() if one.online}

    async def models(self) -> list[RegisteredModel]:
        return [RegisteredModel(name, 9) for name in (self._model, "n")]

    async def version(self, key: ModelKey) -> RegisteredVersion:
        if key.version > 9:
            raise UnknownModel(f"cannot find {key}: the registry has no such version")
        status = "PENDING_REGISTRATION" if key.version == 9 else "READY"
        return RegisteredVersion(key, status, self.now, metrics={"rmse": float(key.version)})

    async def versions(self, name: str, *, limit: int | None = None) -> list[RegisteredVersion]:
        if name == "n":
            raise UnknownModel("cannot find n: the registry has no such model")
        return [await self.version(ModelKey(name, number)) for number in (3, 2, 1)]

    async def _champions(self) -> Mapping[EndpointName, ModelKey | None]:
        return dict(self.champions)

    async def _deployed(self) -> Mapping[ModelKey, State]:
        return {ModelKey(self._model, 1): State.READY}

    async def _key(self) -> ReleaseKey:
        return _KEY

    async def _measure(
        self,
        project: DeviceProject,
        running: Mapping[ModelKey, int],
        since: datetime,
        until: datetime,
    ) -> Sequence[VersionStats]:
        raise NotImplementedError

    def _forget_tokens(self) -> None:
        self.tokens_forgotten += 1

    async def _webhook(self, alert: Alert) -> None:
        await self.steps.step("before the webhook")
        self.alerts.append(alert)
        await self.steps.step("after the webhook")


def _blob(version: int) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()
