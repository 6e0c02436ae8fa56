"""The call that predicts a time series: the proxies answer it, the route describes it in OpenAPI."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from model_deployment.api.problems import problem
from model_deployment.core.errors import Unavailable

_VALUES: list[Any] = [float(50 + day % 7) for day in range(30)]


class SeriesIn(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input_data": _VALUES, "prediction_step": 3}]}
    )

    input_data: list[float]
    """The last values of the series, the oldest first; as many as the model takes, 30 as a rule."""
    prediction_step: int | None = None
    """Values to predict, from 1 to the model's horizon. Default: the horizon."""


class SeriesPrediction(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model_name": "sales",
                    "prediction": [52.1, 53.0, 53.8],
                    "message": "predicted 3 values from the last 30 with sales@champion",
                }
            ]
        },
        protected_namespaces=(),
    )

    model_name: str
    """The registered model; `X-Model-Version` of the answer names the version."""
    prediction: list[float]
    """The next values, in order."""
    message: str
    """What was predicted, in words."""


_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: problem("Not JSON, or JSON that programs read differently"),
    404: problem("No endpoint is set for time series, or the one that is set does not exist"),
    409: problem("The endpoint that is set serves no model of a time series"),
    413: problem("The body is too large"),
    422: problem(
        "Too few or too many values, one that is no finite number, or steps out of range; `errors` says "
        "what is allowed"
    ),
    429: problem("Too many requests wait for the model"),
    502: problem(
        "The model raised an exception, its process ended, or its answer is no row of numbers"
    ),
    503: problem("No version serves the endpoint now"),
    504: problem("The model did not answer in time"),
    507: problem("Parked, and there is not enough memory to start the model"),
}


def router() -> APIRouter:
    routes = APIRouter(tags=["predictions"])

    @routes.post(
        "/predict_timeseries",
        summary="Predict the next values of a time series",
        response_model=SeriesPrediction,
        responses=_ANSWERS,
    )
    async def predict_timeseries(body: SeriesIn) -> Any:
        """Asks the endpoint that is set for time series: `MODEL_DEPLOYMENT_TIMESERIES_ENDPOINT`, or
        `timeseries_endpoint` in the settings of the project of flows. The request is captured and counted
        like any other of this endpoint.
        """
        raise Unavailable("cannot answer this here: the proxies answer it", retry_after=1)

    return routes
