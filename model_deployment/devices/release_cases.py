"""The use cases of releases: begin them, follow an endpoint, pause, resume and stop."""

from model_deployment.core.devices import DeviceProject
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    Conflict,
    IllegalTransition,
    InvalidRequest,
    NotDeployed,
    changed_meanwhile,
)
from model_deployment.core.events import by_user
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import (
    OFFERABLE,
    UNDECIDED,
    FollowedEndpoint,
    Release,
    ReleasePolicy,
    ReleaseState,
)
from model_deployment.devices.reader import DeviceReader
from model_deployment.devices.views import ProjectView, ReleaseView

#: As the registry calls a version whose files are all there.
_READY = "READY"


class ReleaseCases(DeviceReader):
    """Writes what operators want of releases; the loop obeys."""

    async def set_version(
        self, project: str, model: str | None, version: int, policy: ReleasePolicy, by: str
    ) -> ReleaseView:
        """Begin a release of a version, which supersedes the one under way; no endpoint is followed then.

        Args:
            model: None: the only one of the project.

        Raises:
            InvalidRequest: the project has not this model, or has several where none is named.
            UnknownModel: the registry has no such version.
            Conflict: the registry does not have the version whole.
        """
        found = await self._project(project)
        key = ModelKey.of(model if model is not None else _only_model(found), version)
        _check_model(found, key)
        registered = await self._parts.registry.version(key)
        if registered.status != _READY:
            raise Conflict(
                f"cannot release {key}: its status in the registry is {registered.status}; wait until it "
                f"is {_READY}"
            )
        await self._end_following(found, by)
        begun = await self._parts.releases.begin(
            found, key, policy, by=by, reason=by_user("set", by)
        )
        return await self._changed(found, begun)

    async def follow(
        self, project: str, endpoint: EndpointName, policy: ReleasePolicy, by: str
    ) -> ReleaseView | None:
        """Release each champion of an endpoint from now on.

        Returns:
            The release of the version that serves now; None if none serves.

        Raises:
            NotDeployed: there is no such endpoint.
            InvalidRequest: the project has not its model.
        """
        found = await self._project(project)
        _check_model(found, endpoint)
        champions = await self._parts.champions()
        if endpoint not in champions:
            known = ", ".join(str(one) for one in sorted(champions)) or "none"
            raise NotDeployed(
                f"cannot follow {endpoint}: there is no such endpoint (there are: {known[:300]}); make it "
                f"with PUT /endpoints/{endpoint}"
            )
        await self._parts.projects.follow(FollowedEndpoint(found.id, endpoint, policy))
        await self._parts.releases.note(found, None, by_user(f"follows {endpoint}: set", by))
        champion = champions[endpoint]
        if champion is None:
            self._parts.wake()
            return None
        return await self._release_champion(found, champion, endpoint, policy, by)

    async def _release_champion(
        self,
        project: DeviceProject,
        champion: ModelKey,
        endpoint: EndpointName,
        policy: ReleasePolicy,
        by: str,
    ) -> ReleaseView:
        newest = await self._newest(project)
        if newest is None or newest.key != champion or newest.state not in OFFERABLE | UNDECIDED:
            reason = by_user(f"{champion} is the champion of {endpoint}: set", by)
            after = newest.number if newest else 0
            try:
                newest = await self._parts.releases.begin(
                    project, champion, policy, by=by, reason=reason, endpoint=endpoint, after=after
                )
            except IllegalTransition:
                newest = await self._newest(project)  # the loop was faster
        assert newest is not None  # noqa: S101 - there is one, ours or the loop's
        return await self._changed(project, newest)

    async def unfollow(self, project: str, by: str) -> ProjectView:
        """Release nothing by itself any more. Raises UnknownProject."""
        found = await self._project(project)
        await self._end_following(found, by)
        return await self.project(found.name)

    async def _end_following(self, project: DeviceProject, by: str) -> None:
        for followed in await self._parts.projects.followed():
            if followed.project_id == project.id:
                await self._parts.projects.unfollow(project)
                text = by_user(f"no longer follows {followed.endpoint}: ended", by)
                await self._parts.releases.note(project, None, text)

    async def pause(self, project: str, number: int, by: str) -> ReleaseView:
        """Open no further stage. Devices that were told of the release go on.

        Raises:
            UnknownRelease: the project has no such release.
            Conflict: it is not under way.
        """
        return await self._steer(
            project,
            number,
            "pause",
            {ReleaseState.ROLLING},
            ReleaseState.PAUSED,
            by_user("paused", by),
        )

    async def resume(self, project: str, number: int, by: str) -> ReleaseView:
        """Let a paused release go on. Raises as :meth:`pause`."""
        return await self._steer(
            project,
            number,
            "resume",
            {ReleaseState.PAUSED},
            ReleaseState.ROLLING,
            by_user("resumed", by),
        )

    async def stop(self, project: str, number: int, by: str) -> ReleaseView:
        """Tell no device to run it any more; a new release takes devices back to what they ran before.

        Raises:
            UnknownRelease: the project has no such release.
            Conflict: it has ended, or a newer one is there.
        """
        sources = UNDECIDED | {ReleaseState.COMPLETE}
        found = await self._project(project)
        newest = await self._newest(found)
        if newest is not None and newest.number > number:
            await self._release(found, number)
            helps = "stop that one, or set" if newest.state in sources else "set"
            raise Conflict(
                f"cannot stop release {number} of {found.name}: release {newest.number} ({newest.key}) "
                f"came after it, and is {newest.state}; {helps} another version"
            )
        return await self._steer(
            project, number, "stop", sources, ReleaseState.STOPPED, by_user("stopped", by)
        )

    async def _steer(
        self,
        project: str,
        number: int,
        verb: str,
        sources: set[ReleaseState] | frozenset[ReleaseState],
        state: ReleaseState,
        reason: str,
    ) -> ReleaseView:
        found = await self._project(project)
        release = await self._release(found, number)
        if release.state not in sources:
            can = " or ".join(sorted(sources))
            raise Conflict(
                f"cannot {verb} release {number} of {found.name}: it is {release.state}, and would have to "
                f"be {can}"
            )
        with changed_meanwhile(f"{verb} release {number} of {found.name}"):
            moved = await self._parts.releases.move(release, state, reason)
        return await self._changed(found, moved)

    async def _changed(self, project: DeviceProject, release: Release) -> ReleaseView:
        """Have the loop and the devices see what was written, and show it."""
        self._parts.wake()
        self._parts.connections.tell(None)
        return await self._release_view(project, release)


def _only_model(project: DeviceProject) -> str:
    if len(project.models) == 1:
        return project.models[0]
    models = ", ".join(project.models) or "none"
    raise InvalidRequest(
        f"cannot tell which model to release in the project {project.name}: name one of {models}"
    )


def _check_model(project: DeviceProject, subject: ModelKey | EndpointName) -> None:
    """Check that a project may release versions of a model.

    Raises:
        InvalidRequest: it may not.
    """
    if subject.model not in project.models:
        models = ", ".join(project.models) or "none"
        raise InvalidRequest(
            f"cannot release {subject} in the project {project.name}: its models are {models}; add "
            f"{subject.model} with PATCH /projects/{project.name}"
        )
