"""The calls for predictions, which the proxy in front answers for each deployment and endpoint.

The routes describe the calls in OpenAPI, and answer for names that have neither.
"""

from typing import Any

from fastapi import APIRouter

from model_deployment.api.parameters import Target
from model_deployment.api.problems import problem
from model_deployment.control.controller import Controller
from model_deployment.core.domain import Desired, State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import NotDeployed, NotReady
from model_deployment.core.names import VERSION, ModelKey

_EXAMPLES = {
    "dataframe_split": {"dataframe_split": {"columns": ["age"], "data": [[0.03]]}},
    "dataframe_records": {"dataframe_records": [{"age": 0.03}]},
    "one record": {"age": 0.03},
    "inputs": {"inputs": [[0.03]]},
    "instances": {"instances": [[0.03]]},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {name: {"value": value} for name, value in _EXAMPLES.items()},
            },
            "text/csv": {"schema": {"type": "string"}, "example": "age,bmi\n0.03,0.06\n"},
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The predictions, as MLflow answers them",
        "content": {"application/json": {"example": {"predictions": [152.1]}}},
    },
    400: problem("Not JSON, or JSON that programs read differently"),
    404: problem("Not deployed, or no such endpoint"),
    413: problem("The body is too large"),
    415: problem("A Content-Type that no model reads"),
    422: problem("The request does not fit the model's signature; `errors` says where"),
    429: problem("Too many requests wait for the model"),
    502: problem("The model raised an exception, or its process ended"),
    503: problem("Deployed but not ready"),
    504: problem("The model did not answer in time"),
    507: problem("Parked, and there is not enough memory to start the model"),
}


def router(controller: Controller) -> APIRouter:
    routes = APIRouter(tags=["predictions"])

    @routes.post("/{name}", summary="Predict", responses=_ANSWERS, openapi_extra=_BODY)
    @routes.post(
        "/{name}/invocations",
        name="predict_invocations",
        summary="Predict (MLflow's path)",
        responses=_ANSWERS,
        openapi_extra=_BODY,
    )
    async def predict(name: Target) -> dict[str, Any]:
        """MLflow's scoring protocol. The request is checked against the model's signature first.

        An endpoint, `<model>@<alias>`, answers with the version that serves it; `X-Model-Version` of the
        answer names it. Requests with the same `X-Route-Key` meet the same version while the rollout of
        another one goes on.
        """
        _check_deployment(name)
        key = ModelKey.parse(name)
        row = await controller.get(key)
        if row.state is State.STOPPED and row.desired is Desired.STOPPED:
            raise NotDeployed(f"cannot predict with {key}: it was undeployed")
        # Deployed a moment ago: the proxy's route table does not have it yet.
        raise NotReady(f"cannot predict with {key}: it is {row.state}", retry_after=2)

    return routes


def _check_deployment(name: str) -> None:
    """Check that a name may be that of a deployment: no proxy knows an endpoint of this name.

    Raises:
        NotDeployed, InvalidName: it is not.
    """
    if "@" in name:
        endpoint = EndpointName.parse(name)
        raise NotDeployed(
            f"cannot predict with {endpoint}: there is no such endpoint. PUT /endpoints/{endpoint} makes it"
        )
    _, hyphen, version = name.rpartition("-")
    if not (hyphen and VERSION.fullmatch(version)):
        ModelKey.addressed(name, 1)
        raise NotDeployed(
            f"cannot predict with {name}: this model has no default endpoint. Name a version, as in "
            f"{name}-1, or an endpoint, as in {name}@champion; POST /set_model makes one the default"
        )
