"""Tells the operator's webhook how releases end."""

import logging
from collections.abc import Awaitable, Callable

from model_deployment.alerts.alert import Alert, AlertKind
from model_deployment.alerts.background import BackgroundNews
from model_deployment.core.devices import DeviceProject
from model_deployment.core.releases import Release, ReleaseState

_log = logging.getLogger(__name__)

_ENDS = {
    ReleaseState.COMPLETE: (AlertKind.RELEASE_COMPLETE, "runs on the devices"),
    ReleaseState.STOPPED: (AlertKind.RELEASE_STOPPED, "was stopped"),
    ReleaseState.FAILED: (AlertKind.RELEASE_STOPPED, "could not be prepared"),
}


class ReleaseNews:
    """Tells in the background: nobody waits for it, and a failure changes nothing."""

    def __init__(
        self,
        call: Callable[[Alert], Awaitable[None]],
        told: Callable[[Release], Awaitable[None]],
    ) -> None:
        """
        Args:
            call: calls the webhook.
            told: notes that a release need not be told of any more.
        """
        self._call = call
        self._told = told
        self._background = BackgroundNews()

    def tell(self, project: DeviceProject, release: Release) -> None:
        """Begin to tell of a release that has ended, unless that is under way."""
        what = release.id, str(release.state)
        self._background.begin(what, lambda: self._tell(project, release))

    async def close(self) -> None:
        await self._background.close()

    async def _tell(self, project: DeviceProject, release: Release) -> None:
        try:
            await self._call(alert_of(project, release))
        except Exception:
            _log.exception("cannot tell of release %s of %s", release.number, project.name)
        await self._told(release)


def alert_of(project: DeviceProject, release: Release) -> Alert:
    """What the operator is told of a release that is complete, stopped or failed."""
    kind, fate = _ENDS[release.state]
    return Alert(
        kind,
        release.key,
        f"{project.name}: release {release.number} ({release.key}) {fate}",
        release.reason,
        {
            "project": project.name,
            "release": release.number,
            "state": str(release.state),
            "reverts": release.reverts,
        },
    )
