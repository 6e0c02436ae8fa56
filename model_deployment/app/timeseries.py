"""Tells the proxies which endpoint is asked at the path for time series."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from model_deployment.app.background import in_background
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.data_plane.data_plane import DataPlane
from model_deployment.flow_project.project import Project
from model_deployment.settings import Settings

_log = logging.getLogger(__name__)

#: Seconds between two looks at the settings of the project.
_PERIOD = 1.0


class TimeseriesEndpoint:
    """The setting of the controller; where there is none, that of the project of flows, as it is now."""

    def __init__(
        self, setting: str, project: Project, publish: Callable[[EndpointName | None], None]
    ) -> None:
        """
        Args:
            setting: ``<model>@<alias>``; empty to follow the project.
            publish: tells all proxies.
        """
        self._fixed = EndpointName.parse(setting) if setting else None
        self._project = project
        self._publish = publish
        self._problem = ""

    async def run(self) -> None:
        """Follow the settings of the project until cancelled."""
        while self._fixed is None and self._project.is_set:
            await asyncio.sleep(_PERIOD)
            await self.look()

    async def look(self) -> None:
        """Publish the endpoint. While the project's settings cannot be used, the one before stays."""
        if self._fixed is not None or not self._project.is_set:
            self._publish(self._fixed)
            return
        try:
            named = (await asyncio.to_thread(self._project.settings)).timeseries_endpoint
            problem = ""
            self._publish(EndpointName.parse(named) if named else None)
        except ModelDeploymentError as error:
            problem = error.detail
        if problem and problem != self._problem:
            _log.warning("the endpoint for time series stays as it was: %s", problem)
        self._problem = problem


async def follow_timeseries_endpoint(
    settings: Settings, data_plane: DataPlane, stack: AsyncExitStack
) -> None:
    """Publish the endpoint now, before the proxies get a table, and whenever the project names another."""
    endpoint = TimeseriesEndpoint(
        settings.timeseries_endpoint,
        Project(settings.flows_project),
        data_plane.publish_timeseries,
    )
    await endpoint.look()
    in_background(stack, endpoint.run(), "endpoint for time series")
