"""The calls about projects of devices, and the releases that their devices get."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from model_deployment.client.answers import (
    ActiveModel,
    DeviceProject,
    ProjectStats,
    ReleasableVersion,
    Release,
    ReleaseDetail,
    ReleaseEvent,
    ReleasePolicyIn,
    SetRelease,
    SetReleaseIn,
)
from model_deployment.client.exchange import path
from model_deployment.client.sync.connection import Connection


class DeviceProjects(Connection):
    """Projects of devices. ``project`` is a name; ``number`` is that of a release."""

    def projects(self, *, limit: int | None = None) -> list[DeviceProject]:
        """All projects of devices, by name."""
        found: list[DeviceProject] = self.items("/projects", {}, limit)
        return found

    def project(self, project: str) -> DeviceProject:
        """A project: its models, its devices counted, and its newest release."""
        found: DeviceProject = self.data("GET", path("/projects/{}", project))
        return found

    def create_project(self, project: str, models: Sequence[str]) -> DeviceProject:
        """Make a project; versions of these registered models may be released.

        Raises:
            ApiError: 404 the registry has no such model; 409 there is a project of this name; 422 the name
                cannot be used.
        """
        body = {"name": project, "models": [*models]}
        found: DeviceProject = self.data("POST", "/projects", json=body)
        return found

    def change_project(self, project: str, models: Sequence[str]) -> DeviceProject:
        """Replace the models of a project."""
        found: DeviceProject = self.data(
            "PATCH", path("/projects/{}", project), json={"models": [*models]}
        )
        return found

    def delete_project(self, project: str, *, force: bool = False) -> None:
        """Delete a project; ``force``: with the devices that are registered.

        Raises:
            ApiError: 409 devices are registered.
        """
        self.request("DELETE", path("/projects/{}", project), params={"force": force})

    def project_models(self, project: str) -> list[ReleasableVersion]:
        """Versions that may be released, with metrics and where they run."""
        found: list[ReleasableVersion] = self.data("GET", path("/projects/{}/models", project))
        return found

    def project_stats(
        self,
        project: str,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> ProjectStats:
        """What each version did on devices and on the server, by default within a day."""
        found: ProjectStats = self.data(
            "GET", path("/projects/{}/getStats", project), params={"since": since, "until": until}
        )
        return found

    def project_events(
        self, project: str, *, release: int | None = None, limit: int = 100
    ) -> list[ReleaseEvent]:
        """What happened to releases and devices, newest first; or to one release."""
        params = {"release": release, "limit": limit}
        found: list[ReleaseEvent] = self.data(
            "GET", path("/projects/{}/events", project), params=params
        )
        return found

    def set_model(
        self,
        project: str,
        version: int,
        *,
        model: str | None = None,
        policy: ReleasePolicyIn | None = None,
    ) -> SetRelease:
        """Release a version to the devices of a project; it takes the place of a release under way.

        ``model``: the only one of the project, if left out. What a policy leaves out takes the default.

        Raises:
            ApiError: 404 the registry has no such version; 422 the project has not this model.
        """
        body: SetReleaseIn = {"version": version}
        if model is not None:
            body["model"] = model
        if policy is not None:
            body["policy"] = policy
        return self._set(project, body)

    def follow_endpoint(
        self, project: str, endpoint: str, *, policy: ReleasePolicyIn | None = None
    ) -> SetRelease:
        """Release each version that an endpoint (``<model>@<alias>``) serves, from now on.

        Raises:
            ApiError: 404 there is no such endpoint.
        """
        body: SetReleaseIn = {"endpoint": endpoint}
        if policy is not None:
            body["policy"] = policy
        return self._set(project, body)

    def unfollow_endpoint(self, project: str) -> SetRelease:
        """Follow no endpoint any more; the newest release stays."""
        return self._set(project, {"endpoint": None})

    def _set(self, project: str, body: SetReleaseIn) -> SetRelease:
        found: SetRelease = self.data("POST", path("/projects/{}/setModel", project), json=body)
        return found

    def releases(self, project: str, *, limit: int | None = None) -> list[Release]:
        """Releases of a project, newest first."""
        found: list[Release] = self.items(path("/projects/{}/releases", project), {}, limit)
        return found

    def release(self, project: str, number: int) -> ReleaseDetail:
        """A release: its stages, how far their devices are, its events and its manifest."""
        found: ReleaseDetail = self.data(
            "GET", path("/projects/{}/releases/{}", project, str(number))
        )
        return found

    def pause_release(self, project: str, number: int) -> ReleaseDetail:
        """Open no further stage.

        Raises:
            ApiError: 409 it is not under way.
        """
        return self._steer(project, number, "pause")

    def resume_release(self, project: str, number: int) -> ReleaseDetail:
        """Let a paused release go on.

        Raises:
            ApiError: 409 it is not paused.
        """
        return self._steer(project, number, "resume")

    def stop_release(self, project: str, number: int) -> ReleaseDetail:
        """Stop a release; the last complete version follows, for all devices at once.

        Raises:
            ApiError: 409 it is not under way.
        """
        return self._steer(project, number, "stop")

    def active_model(self, project: str, *, device: str | None = None) -> ActiveModel:
        """What a device should run, and the commands that it has not answered.

        ``device``: its name; with the token of a device, that device.
        """
        found: ActiveModel = self.data(
            "GET", path("/projects/{}/activeModel", project), params={"device": device}
        )
        return found

    def download_release_file(self, project: str, name: str, place: str, file: str | Path) -> Path:
        """Save a file of the newest release of a version.

        ``name`` is ``<model>-<version>``, ``place`` the path of the file in the manifest.
        """
        where = "/".join(path("{}", part) for part in place.split("/"))
        return self._save(Path(file), path("/projects/{}/download/{}/", project, name) + where, {})

    def download_blob(self, project: str, sha256: str, file: str | Path) -> Path:
        """Save a file of a release, by its SHA-256."""
        return self._save(Path(file), path("/projects/{}/blobs/{}", project, sha256), {})

    def _steer(self, project: str, number: int, order: str) -> ReleaseDetail:
        where = path(f"/projects/{{}}/releases/{{}}/{order}", project, str(number))
        found: ReleaseDetail = self.data("POST", where)
        return found
