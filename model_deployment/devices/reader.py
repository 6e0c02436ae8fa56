"""What is shown of projects, devices and releases: the use cases that change nothing."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from model_deployment.core.device_messages import DeviceLogLine
from model_deployment.core.devices import (
    UNSUCCESSFUL,
    Device,
    DeviceProject,
    DeviceUpdate,
    Presence,
    UpdateState,
    device_name,
    presence,
)
from model_deployment.core.errors import UnknownDevice, UnknownProject, UnknownRelease
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import FollowedEndpoint, Release, ReleaseEvent, ReleaseState
from model_deployment.devices.collaborators import DeviceParts
from model_deployment.devices.decide import (
    ReleaseStanding,
    is_stage_open,
    stage_name,
    stage_of,
    wish,
)
from model_deployment.devices.views import (
    DeviceView,
    NamedUpdate,
    ProjectStats,
    ProjectView,
    ReleaseStageView,
    ReleaseView,
)

#: Releases among which the versions that devices run are looked for first.
_RELEASES = 100
#: Versions of a project whose figures are shown: those of the most devices, then the newest releases'.
_MEASURED = 10


class DeviceReader:
    """Reads rows, and puts together what they mean."""

    def __init__(self, parts: DeviceParts) -> None:
        self._parts = parts

    # Projects.

    async def projects(self) -> list[ProjectView]:
        """Oldest first."""
        followed = {one.project_id: one for one in await self._parts.projects.followed()}
        devices: dict[int, list[Device]] = defaultdict(list)
        for device in await self._parts.devices.all():
            devices[device.project_id].append(device)
        return [
            await self._project_view(one, devices[one.id], followed.get(one.id))
            for one in await self._parts.projects.all()
        ]

    async def project(self, project: str) -> ProjectView:
        """Raises UnknownProject."""
        found = await self._project(project)
        followed = [
            one for one in await self._parts.projects.followed() if one.project_id == found.id
        ]
        devices = await self._parts.devices.all(found)
        return await self._project_view(found, devices, followed[0] if followed else None)

    async def _project_view(
        self, project: DeviceProject, devices: Sequence[Device], follows: FollowedEndpoint | None
    ) -> ProjectView:
        now = self._parts.now()
        return ProjectView(
            project,
            Counter[Presence](presence(one, now) for one in devices),
            await self._newest(project),
            follows,
        )

    async def stats(self, project: str, since: datetime, until: datetime) -> ProjectStats:
        """What devices and servers did in a span of time. Raises UnknownProject, Unavailable."""
        found = await self._project(project)
        devices = await self._parts.devices.all(found)
        running = Counter(await self._versions_run(found, devices))
        versions = dict(running.most_common(_MEASURED))
        for release in await self._parts.releases.all(found, _MEASURED):
            if len(versions) < _MEASURED:
                versions.setdefault(release.key, 0)
        measured = await self._parts.measure(found, versions, since, until)
        return ProjectStats(since, until, tuple(measured))

    async def _versions_run(
        self, project: DeviceProject, devices: Sequence[Device]
    ) -> list[ModelKey]:
        """The version that each device runs, of those that run one and are not revoked."""
        numbers = Counter(
            one.running for one in devices if one.running is not None and one.revoked_at is None
        )
        known = {one.number: one.key for one in await self._parts.releases.all(project, _RELEASES)}
        for number in numbers.keys() - known.keys():
            if older := await self._parts.releases.find(project, number):
                known[number] = older.key
        return [known[number] for number in numbers.elements() if number in known]

    # Devices.

    async def devices(self, project: str) -> list[DeviceView]:
        """By name. Raises UnknownProject."""
        found = await self._project(project)
        return await self._device_views(found, await self._parts.devices.all(found))

    async def device(self, project: str, device: str) -> DeviceView:
        """Raises UnknownProject, UnknownDevice."""
        found = await self._project(project)
        return await self._device_view(found, await self._device(found, device))

    async def _device_view(self, project: DeviceProject, device: Device) -> DeviceView:
        offerable = await self._parts.releases.offerable(project)
        updates = await self._parts.releases.updates_of(device)
        return self._views(project, [device], offerable, updates)[0]

    async def _device_views(
        self, project: DeviceProject, devices: Sequence[Device]
    ) -> list[DeviceView]:
        offerable = await self._parts.releases.offerable(project)
        updates = [
            one for release in offerable for one in await self._parts.releases.updates(release)
        ]
        return self._views(project, devices, offerable, updates)

    def _views(
        self,
        project: DeviceProject,
        devices: Sequence[Device],
        offerable: Sequence[Release],
        updates: Sequence[DeviceUpdate],
    ) -> list[DeviceView]:
        made = {(one.release_id, one.device_id): one for one in updates}
        now, online = self._parts.now(), self._parts.connections.online()
        views = []
        for device in devices:
            wanted = wish(device, offerable)
            views.append(
                DeviceView(
                    device,
                    project.name,
                    presence(device, now),
                    wanted.number if wanted else None,
                    made.get((wanted.id, device.id)) if wanted else None,
                    device.id in online,
                )
            )
        return views

    async def logs(
        self, project: str, device: str, limit: int, before: int | None = None
    ) -> list[DeviceLogLine]:
        """Newest first. Raises UnknownProject, UnknownDevice."""
        found = await self._device(await self._project(project), device)
        return await self._parts.logs.log(found, limit, before)

    async def updates(self, project: str, device: str) -> list[NamedUpdate]:
        """Newest first. Raises UnknownProject, UnknownDevice."""
        found = await self._device(await self._project(project), device)
        updates = await self._parts.releases.updates_of(found)
        return [NamedUpdate(found.name, one) for one in updates]

    # Releases.

    async def releases(self, project: str, limit: int, before: int | None = None) -> list[Release]:
        """Newest first. Raises UnknownProject."""
        return await self._parts.releases.all(await self._project(project), limit, before)

    async def release(self, project: str, number: int) -> ReleaseView:
        """Raises UnknownProject, UnknownRelease."""
        found = await self._project(project)
        return await self._release_view(found, await self._release(found, number))

    async def events(
        self, project: str, limit: int, number: int | None = None
    ) -> list[ReleaseEvent]:
        """Newest first; those of one release, or all. Raises UnknownProject."""
        return await self._parts.releases.events(await self._project(project), limit, number)

    async def _release_view(self, project: DeviceProject, release: Release) -> ReleaseView:
        devices = await self._parts.devices.all(project)
        updates = {one.device_id: one for one in await self._parts.releases.updates(release)}
        shown = release
        if release.state in (ReleaseState.ROLLING, ReleaseState.PAUSED):
            standing = ReleaseStanding(release, devices, updates.values(), self._parts.now())
            if waiting := standing.waiting():
                shown = replace(release, reason=f"{release.reason}; {waiting}")
        return ReleaseView(project.name, shown, stages_of(release, devices, updates))

    # Rows by what a caller calls them.

    async def _project(self, text: str) -> DeviceProject:
        found = await self._parts.projects.find(text)
        if found is None:
            known = ", ".join(one.name for one in await self._parts.projects.all()) or "none"
            raise UnknownProject(
                f"cannot find the project {text[:64]!a}; there are: {known[:500]}. POST /projects makes one"
            )
        return found

    async def _device(self, project: DeviceProject, text: str) -> Device:
        name = device_name(text, "device")
        found = await self._parts.devices.find(project, name)
        if found is None:
            raise UnknownDevice(
                f"cannot find the device {name} in the project {project.name}; GET "
                f"/{project.name}/devices lists its devices"
            )
        return found

    async def _release(self, project: DeviceProject, number: int) -> Release:
        found = await self._parts.releases.find(project, number)
        if found is None:
            newest = await self._newest(project)
            last = f"the newest one is {newest.number}" if newest else "it has none yet"
            raise UnknownRelease(f"cannot find release {number} of {project.name}: {last}")
        return found

    async def _newest(self, project: DeviceProject) -> Release | None:
        found = await self._parts.releases.all(project, 1)
        return found[0] if found else None


def stages_of(
    release: Release, devices: Sequence[Device], updates: Mapping[int, DeviceUpdate]
) -> tuple[ReleaseStageView, ...]:
    """The stages of a release, with what each device has made of it.

    Args:
        updates: by id of the device.
    """
    policy = release.policy
    members: list[list[Device]] = [[] for _ in range(policy.stages)]
    for device in devices:
        if device.revoked_at is None:
            members[stage_of(policy, release.number, device)].append(device)
    return tuple(_stage(release, stage, found, updates) for stage, found in enumerate(members))


def _stage(
    release: Release, stage: int, devices: Sequence[Device], updates: Mapping[int, DeviceUpdate]
) -> ReleaseStageView:
    told = [NamedUpdate(one.name, updates[one.id]) for one in devices if one.id in updates]
    told.sort(key=lambda one: (_urgency(one.update), one.device))
    return ReleaseStageView(
        number=stage,
        name=stage_name(release.policy, stage),
        open=is_stage_open(release, stage),
        devices=len(devices),
        counts=Counter(one.update.state for one in told),
        updates=tuple(told),
    )


def _urgency(update: DeviceUpdate) -> int:
    """What needs somebody comes first, what is well comes last."""
    if update.state in UNSUCCESSFUL:
        return 0
    return 2 if update.state is UpdateState.RUNNING else 1
