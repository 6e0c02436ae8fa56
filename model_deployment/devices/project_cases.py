"""The use cases of projects: make, change and delete them, and what they may release."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from model_deployment.core.devices import MAX_MODELS, DeviceProject, device_name
from model_deployment.core.domain import State
from model_deployment.core.errors import Conflict, InvalidRequest, UnknownModel
from model_deployment.core.events import by_user
from model_deployment.core.names import ModelKey
from model_deployment.devices.reader import DeviceReader
from model_deployment.devices.views import ProjectView, ReleasableVersion
from model_deployment.registry.values import RegisteredVersion

#: Releases of a project in which its versions are looked for, and versions of each model that are shown.
_RELEASES, _VERSIONS = 200, 100


class ProjectCases(DeviceReader):
    """Writes what operators want of projects."""

    async def create_project(self, name: str, models: Sequence[str], by: str) -> ProjectView:
        """Make a project.

        Raises:
            InvalidName: it cannot have this name.
            InvalidRequest: it has no models, or too many.
            UnknownModel: the registry has no such model.
            Conflict: there is one of this name.
        """
        device_name(name, "project")
        await self._check_models(models)
        project = await self._parts.projects.create(name, [*dict.fromkeys(models)])
        await self._parts.releases.note(project, None, by_user("project made", by))
        return await self.project(project.name)

    async def change_project(self, project: str, models: Sequence[str], by: str) -> ProjectView:
        """Let a project have other models. Releases of the others stay as they are.

        Raises as :meth:`create_project`, and Conflict: the project follows an endpoint of another model.
        """
        found = await self._project(project)
        # Models that it has may be gone from the registry by now.
        await self._check_models(models, known=found.models)
        for followed in await self._parts.projects.followed():
            if followed.project_id == found.id and followed.endpoint.model not in models:
                raise Conflict(
                    f"cannot take {followed.endpoint.model} away from the project {found.name}: it follows "
                    f"{followed.endpoint}; end that first (setModel with endpoint: null)"
                )
        wanted = [*dict.fromkeys(models)]
        if wanted != [*found.models]:
            await self._parts.projects.change(found, wanted)
            text = by_user(f"its models are {', '.join(wanted)}: changed", by)
            await self._parts.releases.note(found, None, text)
        return await self.project(found.name)

    async def delete_project(self, project: str, by: str, *, force: bool) -> None:
        """Delete a project with all that belongs to it.

        Raises:
            Conflict: devices are registered that are not revoked, and not ``force``.
        """
        found = await self._project(project)
        devices = await self._parts.devices.all(found)
        present = sum(one.revoked_at is None for one in devices)
        if present and not force:
            raise Conflict(
                f"cannot delete the project {found.name}: {present} of its devices are registered; revoke "
                "them, or delete it with force=true, and they are shut out"
            )
        await self._parts.projects.remove(found)
        self._parts.forget_tokens()
        for device in devices:
            self._parts.connections.drop(device.id)
        self._parts.wake()

    async def _check_models(self, models: Sequence[str], known: Sequence[str] = ()) -> None:
        if not 1 <= len(models) <= MAX_MODELS:
            raise InvalidRequest(
                f"cannot use {len(models)} models in a project: it has 1 to {MAX_MODELS}; name registered "
                "models"
            )
        for model in models:
            ModelKey.of(model, 1)
        if not (missing := {*models} - {*known}):
            return
        registered = [one.name for one in await self._parts.registry.models()]
        for model in sorted(missing.difference(registered)):
            near = get_close_matches(model, registered, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "register it in MLflow first"
            raise UnknownModel(f"cannot use the model {model}: the registry has none; {hint}")

    # What may be released.

    async def versions(self, project: str) -> list[ReleasableVersion]:
        """The newest versions of the project's models, by model, newest first.

        Raises:
            UnknownProject: there is no such project.
            RegistryUnavailable: the registry does not answer.
        """
        found = await self._project(project)
        read = await asyncio.gather(*(self._versions_of(model) for model in found.models))
        places = await self._places(found)
        return [places.show(one) for versions in read for one in versions]

    async def _versions_of(self, model: str) -> list[RegisteredVersion]:
        try:
            return await self._parts.registry.versions(model, limit=_VERSIONS)
        except UnknownModel:
            return []  # it was deleted from the registry

    async def _places(self, project: DeviceProject) -> "_Places":
        devices = Counter(await self._versions_run(project, await self._parts.devices.all(project)))
        numbers: dict[ModelKey, list[int]] = defaultdict(list)
        for release in await self._parts.releases.all(project, _RELEASES):
            numbers[release.key].append(release.number)
        return _Places(await self._parts.deployed(), devices, numbers)


class _Places:
    """Where versions run, and which releases they were."""

    def __init__(
        self,
        deployed: Mapping[ModelKey, State],
        devices: Mapping[ModelKey, int],
        numbers: Mapping[ModelKey, Sequence[int]],
    ) -> None:
        self._deployed = deployed
        self._devices = devices
        self._numbers = numbers

    def show(self, version: RegisteredVersion) -> ReleasableVersion:
        key = version.key
        return ReleasableVersion(
            key,
            version.created_at,
            tuple(version.aliases),
            version.status,
            version.metrics,
            self._deployed.get(key),
            self._devices.get(key, 0),
            tuple(self._numbers.get(key, ())),
        )
