"""The loop of releases: prepares them, opens stages, stops and takes back, follows endpoints."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta

from model_deployment.core.devices import Device, DeviceProject
from model_deployment.core.errors import IllegalTransition, ModelDeploymentError, UnknownProject
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import FollowedEndpoint, Release, ReleaseState
from model_deployment.devices.collaborators import ReleaseCollaborators
from model_deployment.devices.decide import (
    Finish,
    Halt,
    NoteSettled,
    OpenStage,
    PrepareRelease,
    ReleaseAction,
    decide_release,
    stage_name,
)
from model_deployment.devices.follow import BeginRelease, follow, take_back
from model_deployment.devices.preparation import PreparationDone, PreparationFailed, Preparations
from model_deployment.devices.publish import due

_log = logging.getLogger(__name__)

#: Seconds between two ticks, and before the tick after one that changed something.
_TICK, _SOON = 1.0, 0.02
#: Seconds between two looks for manifests to renew, and for files that nobody wants.
_RENEW, _TIDY = 600.0, 600.0
#: How long a release may wait for a registry or a disk before it has failed.
_PATIENCE = timedelta(hours=1)

_Projects = Mapping[int, DeviceProject]


class DeviceLoop:
    """Works for all projects, one after the other. Nothing that takes long is done within a tick."""

    def __init__(self, world: ReleaseCollaborators) -> None:
        self._world = world
        self._preparations = Preparations(self.wake)
        self._renewal: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        #: Look at the newest release of each project: one may have to be taken back, or told of.
        self._looking = True
        #: When manifests were last looked at, and files tidied up, by the monotonic clock.
        self._renewed = self._tidied = -max(_RENEW, _TIDY)

    def wake(self) -> None:
        """Have a tick now: something was ordered, or has ended."""
        self._looking = True
        self._wake.set()

    async def run(self) -> None:
        """Tick until cancelled. An error of one tick is logged, and the next one tries again."""
        while True:
            self._wake.clear()
            changed = False
            try:
                changed = await self.tick()
            except Exception:
                self._looking = True
                _log.exception("cannot look after the releases of devices")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _SOON if changed else _TICK)

    async def tick(self) -> bool:
        """Handle every project once; whether something has changed."""
        world = self._world
        projects = {one.id: one for one in await world.projects.all()}
        looking, self._looking = self._looking, False
        undecided = await world.releases.undecided() if projects else []
        self._preparations.keep(one.id for one in undecided)
        changed = False
        for release in undecided:
            if project := projects.get(release.project_id):
                changed |= await self._guarded(project, self._step(project, release))
        if looking:
            for project in projects.values():
                changed |= await self._guarded(project, self._take_back(project))
        changed |= await self._follow(projects)
        if looking or changed:
            await self._tell_ends(projects)
        await self._keep_up(projects)
        self._looking |= changed
        return changed

    async def close(self) -> None:
        await self._preparations.close()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _guarded(self, project: DeviceProject, work: Awaitable[bool]) -> bool:
        """Do something for one project, whose error keeps no other one waiting."""
        try:
            return await work
        except IllegalTransition as error:
            _log.info("%s", error.detail)
            return True  # the next tick sees what has changed meanwhile
        except UnknownProject:
            return True  # it was deleted meanwhile
        except Exception:
            self._looking = True
            _log.exception("cannot look after the releases of the project %s", project.name)
            return False

    # One release.

    async def _step(self, project: DeviceProject, release: Release) -> bool:
        world = self._world
        if release.state is ReleaseState.PREPARING:
            return await self._prepare(project, release)
        devices = await world.devices.all(project)
        updates = await world.releases.updates(release)
        action = decide_release(release, devices, updates, world.now())
        return await self._apply(release, devices, action)

    async def _apply(
        self, release: Release, devices: Sequence[Device], action: ReleaseAction | None
    ) -> bool:
        """Carry an action out; whether the release has another state or stage."""
        rows = self._world.releases
        match action:
            case OpenStage(stage, reason):
                await rows.move(release, ReleaseState.ROLLING, reason, stage=stage)
            case Finish(reason):
                await rows.move(release, ReleaseState.COMPLETE, reason)
            case Halt(reason):
                await rows.move(release, ReleaseState.STOPPED, reason)
            case NoteSettled(at):
                await rows.settle(release, at)
                return False
            case PrepareRelease() | None:
                return False
        self._world.tell([one.id for one in devices])
        return True

    async def _prepare(self, project: DeviceProject, release: Release) -> bool:
        match self._preparations.take(release.id):
            case PreparationDone(signed):
                reason = f"signed; opens {stage_name(release.policy, 0)}"
                await self._world.releases.move(
                    release,
                    ReleaseState.ROLLING,
                    reason,
                    stage=0,
                    manifest=signed.manifest,
                    signature=signed.signature,
                )
                self._world.tell(None)
                return True
            case PreparationFailed(reason, temporary):
                return await self._unready(release, reason, temporary)
            case None:
                publisher = self._world.publisher
                self._preparations.start(release.id, lambda: publisher.prepare(project, release))
                return False

    async def _unready(self, release: Release, reason: str, temporary: bool) -> bool:
        rows = self._world.releases
        waited = self._world.now() - release.created_at
        if not temporary or waited >= _PATIENCE:
            await rows.move(release, ReleaseState.FAILED, reason)
            return True
        if reason != release.reason:
            await rows.move(release, ReleaseState.PREPARING, reason)
        return False

    # One project.

    async def _take_back(self, project: DeviceProject) -> bool:
        newest = await self._newest(project)
        if newest is None or newest.state is not ReleaseState.STOPPED:
            return False
        offerable = await self._world.releases.offerable(project)
        return await self._begin(project, newest, take_back(newest, offerable))

    async def _newest(self, project: DeviceProject) -> Release | None:
        found = await self._world.releases.all(project, 1)
        return found[0] if found else None

    async def _begin(
        self, project: DeviceProject, newest: Release | None, begin: BeginRelease | None
    ) -> bool:
        if begin is None:
            return False
        await self._world.releases.begin(
            project,
            begin.key,
            begin.policy,
            by="",
            reason=begin.reason,
            endpoint=begin.endpoint,
            reverts=begin.reverts,
            after=newest.number if newest else 0,
        )
        return True

    async def _follow(self, projects: _Projects) -> bool:
        """Begin a release of each champion that has changed."""
        followed = await self._world.projects.followed() if projects else []
        if not followed:
            return False
        champions = await self._world.champions()
        changed = False
        for one in followed:
            if project := projects.get(one.project_id):
                key = champions.get(one.endpoint)
                changed |= await self._guarded(project, self._follow_one(project, one, key))
        return changed

    async def _follow_one(
        self, project: DeviceProject, followed: FollowedEndpoint, champion: ModelKey | None
    ) -> bool:
        newest = await self._newest(project)
        taken_back = None
        if newest is not None and newest.reverts is not None:
            taken_back = await self._world.releases.find(project, newest.reverts)
        return await self._begin(project, newest, follow(followed, champion, newest, taken_back))

    # All of them.

    async def _tell_ends(self, projects: _Projects) -> None:
        """Tell of the ends that the controller that wrote them could not tell of."""
        for release in await self._world.releases.untold():
            if project := projects.get(release.project_id):
                self._world.ended(project, release)

    async def _keep_up(self, projects: _Projects) -> None:
        """Have manifests renewed, and drop files that nobody wants, from time to time."""
        now = time.monotonic()
        if now - self._renewed >= _RENEW and (self._renewal is None or self._renewal.done()):
            self._renewed = now
            self._renewal = asyncio.create_task(self._renew(projects), name="renewal of manifests")
        # What is being prepared has files that no manifest names yet.
        if now - self._tidied >= _TIDY and self._preparations.idle:
            self._tidied = now
            try:
                await self._world.publisher.tidy(await self._world.releases.wanted_files())
            except Exception:
                _log.exception("cannot remove files of releases that nobody wants any more")

    async def _renew(self, projects: _Projects) -> None:
        world = self._world
        for project in projects.values():
            try:
                # Those that some device should run; no other one is ever told of.
                for release in await world.releases.offerable(project):
                    if not due(release.manifest, world.now()):
                        continue
                    signed = await world.publisher.renew(project, release)
                    await world.releases.sign(release, signed.manifest, signed.signature)
                    world.tell(None)
            except ModelDeploymentError as error:
                _log.error("cannot renew a manifest of %s: %s", project.name, error.detail)
            except Exception:
                _log.exception("cannot renew the manifests of %s", project.name)
