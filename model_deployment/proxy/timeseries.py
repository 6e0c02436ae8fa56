"""``POST /predict_timeseries``: asks the endpoint that is set for time series."""

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import Conflict, ModelDeploymentError, NotFound
from model_deployment.core.series import METADATA, Series
from model_deployment.gate import loads
from model_deployment.proxy import problems
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.endpoint_table import EndpointEntry
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.series_request import SeriesDialect, series_request
from model_deployment.proxy.translated_bodies import TranslatedBodies

PATH = b"/predict_timeseries"


class TimeseriesPath:
    """Turns requests at the path into requests for the endpoint."""

    def __init__(self, routes: Routes, context: ExchangeContext) -> None:
        self._routes = routes
        self._bodies = TranslatedBodies(context)

    def claims(self, request: CallerRequest) -> bool:
        return request.path == PATH and request.method == "POST"

    async def prepare(self, request: CallerRequest) -> bool:
        """Make it a request for the endpoint.

        Returns:
            False if it has been answered.
        """
        try:
            await self._translate(request)
        except ModelDeploymentError as error:
            if request.body_complete:
                problems.respond(request, error)
            else:
                await problems.refuse(request, error)
            return False
        return True

    async def _translate(self, request: CallerRequest) -> None:
        endpoint = self._endpoint()
        async with self._bodies.received(request) as content:
            body = await run(len(content) > LARGE, loads, content)
            series = self._series(endpoint)
            asked = series_request(body, series, endpoint)
        request.redirect(endpoint.path.encode("ascii"), asked.body(series))
        request.dialect = SeriesDialect(endpoint, series.window, asked.steps)

    def _endpoint(self) -> EndpointName:
        endpoint = self._routes.timeseries
        if endpoint is None:
            raise NotFound(
                "cannot predict a time series: no endpoint is set for it. Set "
                "MODEL_DEPLOYMENT_TIMESERIES_ENDPOINT, or timeseries_endpoint in the settings.yaml of the "
                "project of flows, to an endpoint like sales@champion"
            )
        return endpoint

    def _series(self, endpoint: EndpointName) -> Series:
        """What the version takes that serves the endpoint."""
        entry = self._routes.lookup(endpoint.path.encode("ascii"))
        if not isinstance(entry, EndpointEntry):
            raise NotFound(
                f"cannot predict a time series: the endpoint {endpoint}, which is set for it, does not "
                f"exist. PUT /endpoints/{endpoint} makes it; or set another one"
            )
        champion = entry.champion
        if champion is None:
            raise problems.no_champion(entry.route)
        if champion.kind.series is not None:
            return champion.kind.series
        if champion.service is None:  # its files may not be there yet
            raise problems.not_ready(champion.route)
        raise Conflict(
            f"cannot predict a time series with {endpoint}: {champion.route.key} is no model of a time "
            f"series. Log the model with metadata={{'{METADATA}': {{'window': 30, 'horizon': 7}}}}, as "
            "SeriesExperiment does, or set another endpoint"
        )
