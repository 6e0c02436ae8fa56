"""The calls that deploy and undeploy model versions, and show deployments."""

import asyncio
import hashlib
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from model_deployment.api.options import DeployOptions
from model_deployment.api.parameters import Key, ModelName, ModelVersion, Wait
from model_deployment.api.problems import problem, respond
from model_deployment.api.request_scope import user_name
from model_deployment.api.schemas import DeploymentOut, EventOut, ModelOut, ServingOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment, Handle, Memory, ProxyCounters, State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import Conflict, DeployFailed
from model_deployment.core.hints import advice, with_advice
from model_deployment.core.names import ModelKey
from model_deployment.core.options import OptionOverrides
from model_deployment.gate import dumps

#: Reads the files of a deployment's model: ``(signature, example, request to show)``.
Describe = Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
#: The last lines of a launch's log.
Tail = Callable[[str, int], str]
#: What the proxies have counted of a deployment.
Count = Callable[[ModelKey], ProxyCounters]
#: Memory of the processes of a launch; None if they have ended.
Measure = Callable[[Handle], Awaitable[Memory | None]]
#: Number of workers that serve; None where that is unknown.
Workers = Callable[[Deployment], Awaitable[int | None]]

#: The endpoints that use a deployment.
UsedBy = Callable[[ModelKey], Sequence[EndpointName]]

#: Log lines in the answer to a failed deploy.
_LAST_LINES = 20


@dataclass(frozen=True)
class DeploymentCalls:
    """The handlers, and what they use."""

    controller: Controller
    describe: Describe
    tail: Tail
    counters: Count
    memory: Measure
    workers: Workers
    refresh: Callable[[], Awaitable[None]]
    used_by: UsedBy
    #: Told of a version that a user deploys: no endpoint undeploys it any more.
    disown: Callable[[ModelKey], Awaitable[None]]

    async def deploy(
        self,
        request: Request,
        response: Response,
        model: ModelName,
        version: ModelVersion,
        wait: Wait = 60.0,
        options: DeployOptions | None = None,
    ) -> Any:
        """Starts a model server for the version, and waits until it is ready or has failed.

        A deploy of a deployed version starts nothing, unless the deployment is parked: then it is started.
        """
        key = ModelKey.of(model, version)
        overrides = options.overrides() if options else OptionOverrides()
        row = await self.controller.deploy(key, overrides, wait, wanted=self.disown)
        if row.state is State.FAILED:
            return await self._failed(row)
        if row.state not in (State.READY, State.PARKED):
            response.status_code = 202
        return DeploymentOut.of(row, str(request.base_url))

    async def _failed(self, row: Deployment) -> Response:
        error = DeployFailed(
            with_advice(f"cannot deploy {row.key}: {row.reason}", row.reason),
            extra={
                "name": str(row.key),
                "reason": row.reason,
                "advice": advice(row.reason),
                "log": (await self._last_lines(row.key, _LAST_LINES))[1].splitlines(),
            },
        )
        return respond(error)

    async def _last_lines(self, key: ModelKey, lines: int) -> tuple[str, str]:
        """The id of the newest launch, and the end of its log; both empty if there was no launch."""
        launch_id = await self.controller.last_launch(key)
        if not launch_id:
            return "", ""
        return launch_id, await asyncio.to_thread(self.tail, launch_id, lines)

    async def undeploy(self, request: Request, response: Response, name: str, wait: float) -> Any:
        key = ModelKey.parse(name)
        if users := self.used_by(key):
            raise _in_use(key, users)
        row = await self.controller.undeploy(key, wait)
        if row.state is not State.STOPPED:
            response.status_code = 202
        return DeploymentOut.of(row, str(request.base_url))

    async def get_deployed_models(
        self,
        request: Request,
        stopped: Annotated[bool, Query(description="Include undeployed model versions.")] = False,
    ) -> Any:
        rows = await self.controller.all(stopped=stopped)
        return [DeploymentOut.of(row, str(request.base_url)) for row in rows]

    async def get_model(self, request: Request, name: Key) -> Any:
        row = await self.controller.get(ModelKey.parse(name))
        signature, example, request_body = await asyncio.to_thread(self.describe, row)
        memory = await self.memory(row.handle) if row.handle else None
        members = ModelOut.members(row, str(request.base_url))
        await self.refresh()
        return ModelOut(
            **members,
            workers_serving=await self.workers(row),
            signature=signature,
            input_example=example,
            curl=_curl(members["url"], dumps(request_body).decode(), user_name(request.scope)),
            rss=memory.rss if memory else None,
            pss=memory.pss if memory else None,
            memory_needed=self.controller.memory_needed(row),
            serving=ServingOut.of(row, self.counters(row.key)),
        )

    async def get_logs(
        self,
        request: Request,
        name: Key,
        lines: Annotated[int, Query(ge=1, le=10_000, description="Number of last lines.")] = 100,
    ) -> Response:
        """The log of the newest launch, as text. With ``If-None-Match``, 304 if the text is the same."""
        row = await self.controller.get(ModelKey.parse(name))
        launch_id, text = await self._last_lines(row.key, lines)
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        # A follower polls, hence the tag. Browsers must not store logs, which are for operators.
        headers = {"X-Launch-Id": launch_id, "ETag": tag}
        if request.headers.get("if-none-match", "").removeprefix("W/") == tag:
            return Response(status_code=304, headers=headers)
        return PlainTextResponse(text, headers=headers)

    async def get_events(
        self,
        name: Key,
        limit: Annotated[int, Query(ge=1, le=500, description="Number of newest events.")] = 100,
    ) -> Any:
        events = await self.controller.events(ModelKey.parse(name), limit)
        return [EventOut.of(event) for event in events]


def _in_use(key: ModelKey, users: Sequence[EndpointName]) -> Conflict:
    names = [str(name) for name in users]
    several = len(names) > 1
    return Conflict(
        f"cannot undeploy {key}: the endpoint{'s' if several else ''} {', '.join(names)} "
        f"{'use' if several else 'uses'} it; move the alias to another version, roll back, or delete the "
        f"endpoint (DELETE /endpoints/{names[0]})",
        extra={"endpoints": names},
    )


def _curl(url: str, body: str, user: str) -> str:
    # curl asks for the password.
    login = f"-u {shlex.quote(user)} " if user else ""
    header = "-H 'Content-Type: application/json'"
    return f"curl {login}-X POST {shlex.quote(url)} {header} -d {shlex.quote(body)}"


_DEPLOY: dict[int | str, dict[str, Any]] = {
    202: {"model": DeploymentOut, "description": "Not ready yet"},
    404: problem("The registry has no such model version"),
    409: problem("Deployed with other options, or undeployed in the meantime"),
    422: problem("A name, version or option that cannot be used"),
    502: problem("The start failed; the answer has the reason and the last lines of the log"),
    503: problem("No free port, or the registry does not answer"),
    507: problem("The disk is full, or there is not enough memory"),
}
_UNDEPLOY: dict[int | str, dict[str, Any]] = {
    202: {"model": DeploymentOut, "description": "Not stopped yet"},
    404: problem("Not deployed"),
    409: problem("An endpoint uses it, or it was deployed again in the meantime"),
}
_ONE: dict[int | str, dict[str, Any]] = {404: problem("Not deployed")}


def router(calls: DeploymentCalls, *, undeploy_wait: float) -> APIRouter:
    """The routes of deployments.

    Args:
        undeploy_wait: seconds that an undeploy waits by default.
    """
    routes = APIRouter(tags=["deployments"], route_class=StrictRoute)
    routes.post(
        "/deploy/{model}/{version}",
        summary="Serve a model version",
        response_model=DeploymentOut,
        responses=_DEPLOY,
    )(calls.deploy)

    @routes.post(
        "/undeploy/{name}",
        summary="Stop serving a model version",
        response_model=DeploymentOut,
        responses=_UNDEPLOY,
    )
    async def undeploy(
        request: Request, response: Response, name: Key, wait: Wait = undeploy_wait
    ) -> Any:
        """Accepts no new requests, lets those in flight finish, stops the processes, frees the port."""
        return await calls.undeploy(request, response, name, wait)

    one = "/model/{name}"
    routes.get(
        "/get_deployed_models", summary="All deployments", response_model=list[DeploymentOut]
    )(calls.get_deployed_models)
    routes.get(
        one,
        summary="One deployment, with its signature and a curl line",
        response_model=ModelOut,
        responses=_ONE,
    )(calls.get_model)
    routes.get(
        f"{one}/logs",
        summary="The end of the log",
        response_class=PlainTextResponse,
        responses=_ONE,
    )(calls.get_logs)
    routes.get(
        f"{one}/events",
        summary="State changes, with times and reasons",
        response_model=list[EventOut],
        responses=_ONE,
    )(calls.get_events)
    return routes
