"""Deploy, undeploy, and what became of it."""

import asyncio
import hashlib
import shlex
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from model_deployment.api.options import DeployOptions
from model_deployment.api.parameters import Key, ModelName, ModelVersion, Wait
from model_deployment.api.problems import respond
from model_deployment.api.request_scope import user_name
from model_deployment.api.schemas import DeploymentOut, EventOut, ModelOut, Problem, ServingOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment, Desired, Handle, Memory, ProxyCounters, State
from model_deployment.core.errors import DeployFailed, NotDeployed, NotReady
from model_deployment.core.hints import advice, with_advice
from model_deployment.core.names import ModelKey
from model_deployment.core.options import OptionOverrides
from model_deployment.gate import dumps

#: What a deployment's model says of itself: ``(signature, example, request to show)``.
Describe = Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
Tail = Callable[[str, int], str]
#: What the proxy has counted of a deployment.
Count = Callable[[ModelKey], ProxyCounters]
#: What the processes of a launch take; None if they are gone.
Weigh = Callable[[Handle], Awaitable[Memory | None]]
#: How many of its workers serve; None where that cannot be told.
Workers = Callable[[Deployment], Awaitable[int | None]]

#: Lines of its log in the answer to a deploy that failed.
_LAST_LINES = 20


def problem(description: str) -> dict[str, Any]:
    """An error in the API's description."""
    return {"model": Problem, "description": description}


def router(
    controller: Controller,
    *,
    describe: Describe,
    tail: Tail,
    counters: Count,
    memory: Weigh,
    workers: Workers,
    undeploy_wait: float,
) -> APIRouter:
    """The routes.

    Args:
        describe: reads what a cached model says of itself.
        tail: the last lines of a launch's log.
        counters: what the proxy has counted.
        memory: what the processes of a launch take.
        workers: how many of its workers serve.
        undeploy_wait: how long an undeploy waits unless told otherwise, in seconds.
    """
    routes = APIRouter(tags=["deployments"], route_class=StrictRoute)

    @routes.post(
        "/deploy/{model}/{version}",
        summary="Serve a model version",
        response_model=DeploymentOut,
        responses={
            202: {"model": DeploymentOut, "description": "Still on its way"},
            404: problem("The registry has no such model version"),
            409: problem("Deployed with other options, or undeployed meanwhile"),
            422: problem("A name, version or option that cannot be used"),
            502: problem("It did not become ready; with the reason and the last lines of its log"),
            503: problem("No free port, or the registry does not answer"),
            507: problem("The disk is full, or there is not enough memory"),
        },
    )
    async def deploy(
        request: Request,
        response: Response,
        model: ModelName,
        version: ModelVersion,
        wait: Wait = 60.0,
        options: DeployOptions | None = None,
    ) -> Any:
        """Starts a model server for the version and waits until it is ready or has failed.

        Deploying what is deployed already is the same deployment: nothing is started twice. One that is
        parked is started.
        """
        key = ModelKey.of(model, version)
        row = await controller.deploy(
            key, options.overrides() if options else OptionOverrides(), wait
        )
        if row.state is State.FAILED:
            return await _failed(row)
        if row.state not in (State.READY, State.PARKED):
            response.status_code = 202
        return DeploymentOut.of(row, str(request.base_url))

    async def _failed(row: Deployment) -> Response:
        launch_id = await controller.last_launch(row.key)
        text = await asyncio.to_thread(tail, launch_id, _LAST_LINES) if launch_id else ""
        error = DeployFailed(
            with_advice(f"cannot deploy {row.key}: {row.reason}", row.reason),
            extra={
                "name": str(row.key),
                "reason": row.reason,
                "advice": advice(row.reason),
                "log": text.splitlines(),
            },
        )
        return respond(error)

    @routes.post(
        "/undeploy/{name}",
        summary="Stop serving a model version",
        response_model=DeploymentOut,
        responses={
            202: {"model": DeploymentOut, "description": "Still on its way out"},
            404: problem("Not deployed"),
            409: problem("Deployed again meanwhile"),
        },
    )
    async def undeploy(
        request: Request,
        response: Response,
        name: Key,
        wait: Wait = undeploy_wait,
    ) -> Any:
        """Takes no new requests, lets those in flight finish, stops the processes, frees the port."""
        row = await controller.undeploy(ModelKey.parse(name), wait)
        if row.state is not State.STOPPED:
            response.status_code = 202
        return DeploymentOut.of(row, str(request.base_url))

    @routes.get(
        "/get_deployed_models", summary="All deployments", response_model=list[DeploymentOut]
    )
    async def get_deployed_models(
        request: Request,
        stopped: Annotated[bool, Query(description="Also those that were undeployed.")] = False,
    ) -> Any:
        rows = await controller.all(stopped=stopped)
        return [DeploymentOut.of(row, str(request.base_url)) for row in rows]

    @routes.get(
        "/model/{name}",
        summary="One deployment, with its signature and a curl line",
        response_model=ModelOut,
        responses={404: problem("Not deployed")},
    )
    async def get_model(request: Request, name: Key) -> Any:
        row = await controller.get(ModelKey.parse(name))
        signature, example, request_body = await asyncio.to_thread(describe, row)
        taken = await memory(row.handle) if row.handle else None
        members = ModelOut.members(row, str(request.base_url))
        body = dumps(request_body).decode()
        user = user_name(request.scope)
        # curl asks for the password.
        who = f"-u {shlex.quote(user)} " if user else ""
        curl = (
            f"curl {who}-X POST {shlex.quote(members['url'])} "
            f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
        )
        return ModelOut(
            **members,
            workers_serving=await workers(row),
            signature=signature,
            input_example=example,
            curl=curl,
            rss=taken.rss if taken else None,
            pss=taken.pss if taken else None,
            memory_needed=controller.memory_needed(row),
            serving=ServingOut.of(counters(row.key)),
        )

    @routes.get(
        "/model/{name}/logs",
        summary="The end of its log",
        response_class=PlainTextResponse,
        responses={404: problem("Not deployed")},
    )
    async def get_logs(
        request: Request,
        name: Key,
        lines: Annotated[int, Query(ge=1, le=10_000, description="Lines from the end.")] = 100,
    ) -> Response:
        """What the newest launch has written, as text; with ``If-None-Match``, only where it is another."""
        row = await controller.get(ModelKey.parse(name))
        launch_id = await controller.last_launch(row.key)
        text = (await asyncio.to_thread(tail, launch_id, lines) if launch_id else "").encode()
        tag = f'"{hashlib.sha256(text).hexdigest()[:16]}"'
        # Whoever follows it asks again and again. Browsers do not keep it: logs are for operators.
        headers = {"X-Launch-Id": launch_id or "", "ETag": tag}
        if request.headers.get("if-none-match", "").removeprefix("W/") == tag:
            return Response(status_code=304, headers=headers)
        return PlainTextResponse(text, headers=headers)

    @routes.get(
        "/model/{name}/events",
        summary="What happened to it, when and why",
        response_model=list[EventOut],
        responses={404: problem("Not deployed")},
    )
    async def get_events(
        name: Key, limit: Annotated[int, Query(ge=1, le=500, description="Newest ones.")] = 100
    ) -> Any:
        events = await controller.events(ModelKey.parse(name), limit)
        return [EventOut.of(event) for event in events]

    return routes


def predictions(controller: Controller) -> APIRouter:
    """The routes of predictions, which the proxy in front answers wherever a deployment exists.

    Here for the API's description, and for what has no deployment.
    """
    routes = APIRouter(tags=["predictions"])
    body = {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "examples": {
                        "dataframe_split": {
                            "value": {"dataframe_split": {"columns": ["age"], "data": [[0.03]]}}
                        },
                        "dataframe_records": {"value": {"dataframe_records": [{"age": 0.03}]}},
                        "one record": {"value": {"age": 0.03}},
                        "inputs": {"value": {"inputs": [[0.03]]}},
                        "instances": {"value": {"instances": [[0.03]]}},
                    },
                },
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    }
    answers: dict[int | str, dict[str, Any]] = {
        400: problem("No JSON, or not JSON that means the same to everybody"),
        404: problem("Not deployed"),
        413: problem("The body is too large"),
        415: problem("A Content-Type that no model reads"),
        422: problem("It does not fit the model's signature; `errors` says where"),
        429: problem("Too many requests wait for the model"),
        502: problem("The model raised an exception, or its process broke off"),
        503: problem("Deployed and not ready"),
        504: problem("The model did not answer in time"),
        507: problem("It is parked, and there is not enough memory to start it"),
    }

    @routes.post("/{name}", summary="Predict", responses=answers, openapi_extra=body)
    @routes.post(
        "/{name}/invocations",
        summary="Predict (MLflow's path)",
        responses=answers,
        openapi_extra=body,
    )
    async def predict(name: Key) -> dict[str, Any]:
        """MLflow's scoring protocol, checked against the model's signature first."""
        key = ModelKey.parse(name)
        row = await controller.get(key)
        if row.state is State.STOPPED and row.desired is Desired.STOPPED:
            raise NotDeployed(f"cannot predict with {key}: it was undeployed")
        # Deployed in this very moment, and not in the route table yet.
        raise NotReady(f"cannot predict with {key}: it is {row.state}", retry_after=2)

    return routes
