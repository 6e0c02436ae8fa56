"""The calls that deploy and undeploy model versions, and show deployments."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from model_deployment.api.launch_schemas import LaunchFigures
from model_deployment.api.options import DeployOptions
from model_deployment.api.paging import After, Limit, page
from model_deployment.api.parameters import (
    ChangeStrategy,
    Key,
    ModelFilter,
    ModelName,
    ModelVersion,
    Wait,
)
from model_deployment.api.problems import problem, respond
from model_deployment.api.registry_schemas import RegisteredOut
from model_deployment.api.request_scope import user_name
from model_deployment.api.schemas import DeploymentOut, EventOut, ModelOut, ServingOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.changes import Changes
from model_deployment.control.controller import Controller
from model_deployment.control.deployment_environments import DeploymentEnvironments
from model_deployment.core.domain import Deployment, Handle, State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    ChangeFailed,
    Conflict,
    DeployFailed,
    InvalidRequest,
    NotDeployed,
)
from model_deployment.core.hints import advice, with_advice
from model_deployment.core.measures import LaunchTraffic, Memory, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.options import OptionOverrides
from model_deployment.core.replacement import Strategy
from model_deployment.gate import dumps
from model_deployment.registry.version_details import VersionDetails
from model_deployment.runtime.base import Identify
from model_deployment.runtime.logs import tail_of

#: Reads the files of a deployment's model: ``(signature, example, request to show)``.
Describe = Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
#: The last lines of a launch's log.
Tail = Callable[[str, int], Awaitable[str]]
#: What the proxies have counted of a deployment.
Count = Callable[[ModelKey], ProxyCounters]
#: Memory of launches by their ids, without those that have ended.
Measure = Callable[[Sequence[Handle]], Awaitable[Mapping[str, Memory]]]
#: What proxies have seen of a launch.
Traffic = Callable[[str], LaunchTraffic]
#: Number of workers that serve; None where that is unknown.
Workers = Callable[[Deployment], Awaitable[int | None]]

#: What the registry says of a version; None if it does not answer and was never asked.
FindDetails = Callable[[ModelKey], Awaitable[VersionDetails | None]]
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
    traffic: Traffic
    identify: Identify
    workers: Workers
    refresh: Callable[[], Awaitable[None]]
    used_by: UsedBy
    #: Told of a version that a user deploys: no endpoint undeploys it any more.
    disown: Callable[[ModelKey], Awaitable[None]]
    changes: Changes
    registered: FindDetails
    environments: DeploymentEnvironments

    async def deploy(
        self,
        request: Request,
        response: Response,
        model: ModelName,
        version: ModelVersion,
        wait: Wait = 60.0,
        replace: Annotated[
            bool,
            Query(
                description="Change other options of a deployed version in place, as PATCH does."
            ),
        ] = False,
        strategy: ChangeStrategy = Strategy.BESIDE,
        options: DeployOptions | None = None,
    ) -> Any:
        """Starts a model server for the version, and waits until it is ready or has failed.

        A deploy of a deployed version starts nothing, unless the deployment is parked: then it is started.
        With other options than it is deployed with, it is answered 409, or with `replace` changes them.
        """
        key = ModelKey.of(model, version)
        overrides = options.overrides() if options else OptionOverrides()
        by = user_name(request.scope) or None
        try:
            row = await self.changes.deploy(
                key,
                overrides,
                wait,
                by=by,
                strategy=strategy if replace else None,
                wanted=self.disown,
            )
        except ChangeFailed as error:
            raise await self.explain(error) from error
        return await self.answer(row, request, response)

    async def answer(self, row: Deployment, request: Request, response: Response) -> Any:
        """A deployment after a call that had it started: 502 if it failed, 202 if it is not done yet."""
        if row.state is State.FAILED:
            return await self._failed(row)
        changing = row.replacement is not None and row.replacement.under_way
        if row.state not in (State.READY, State.PARKED) or changing:
            response.status_code = 202
        return await self.show(row, request)

    async def show(self, row: Deployment, request: Request) -> DeploymentOut:
        environment = await self.environments.view(row)
        return DeploymentOut.of(row, str(request.base_url), self.identify, environment)

    async def _failed(self, row: Deployment) -> Response:
        error = DeployFailed(
            with_advice(f"cannot deploy {row.key}: {row.reason}", row.reason),
            extra={
                "name": str(row.key),
                "reason": row.reason,
                "advice": advice(row.reason),
                "log": (await self._last_lines(row)).splitlines(),
            },
        )
        return respond(error)

    async def _last_lines(self, row: Deployment) -> str:
        """The end of the log of the newest launch, or where there is none, of the build before it."""
        launch_id = await self.controller.last_launch(row.key)
        found = await self.tail(launch_id, _LAST_LINES) if launch_id else ""
        if found or (path := await self.environments.log(row)) is None:
            return found
        return await asyncio.to_thread(tail_of, path, _LAST_LINES)

    async def explain(self, error: ChangeFailed) -> ChangeFailed:
        """The error of a change with advice, and with the end of the log of the launch that failed."""
        launch_id = error.extra["launch_id"]
        log = await self.tail(launch_id, _LAST_LINES) if launch_id else ""
        told = {"advice": advice(str(error.extra["reason"])), "log": log.splitlines()}
        return ChangeFailed(error.detail, extra={**error.extra, **told})

    async def undeploy(self, request: Request, response: Response, name: str, wait: float) -> Any:
        key = ModelKey.parse(name)
        if users := self.used_by(key):
            raise _in_use(key, users)
        row = await self.controller.undeploy(key, wait)
        if row.state is not State.STOPPED:
            response.status_code = 202
        return await self.show(row, request)

    async def get_deployed_models(
        self,
        request: Request,
        response: Response,
        stopped: Annotated[bool, Query(description="Include undeployed model versions.")] = False,
        model: ModelFilter = None,
        state: Annotated[
            list[State] | None, Query(description="Only these states; may be repeated.")
        ] = None,
        limit: Limit = None,
        after: After = None,
    ) -> Any:
        stopped = stopped or State.STOPPED in (state or ())
        rows = [
            row
            for row in await self.controller.all(stopped=stopped)
            if (model is None or row.key.model == model) and (not state or row.state in state)
        ]
        begin = None if after is None else _place(after)
        shown = page(
            rows, lambda row: row.key, limit=limit, after=begin, request=request, response=response
        )
        return [await self.show(row, request) for row in shown]

    async def get_model(self, request: Request, name: Key) -> Any:
        row = await self.controller.get(ModelKey.parse(name))
        signature, example, request_body = await asyncio.to_thread(self.describe, row)
        memory = await self.memory([one.handle for one in row.launches if one.handle])
        registered = await self.registered(row.key)
        await self.refresh()
        launch_ids = [one.launch_id for one in row.launches if one.launch_id]
        figures = LaunchFigures(memory, {id: self.traffic(id).in_flight for id in launch_ids})
        environment = await self.environments.view(row)
        base_url = str(request.base_url)
        members = ModelOut.members(row, base_url, self.identify, environment, figures)
        return ModelOut(
            **members,
            workers_serving=await self.workers(row),
            signature=signature,
            input_example=example,
            curl=_curl(members["url"], dumps(request_body).decode(), user_name(request.scope)),
            rss=figures.total("rss"),
            pss=figures.total("pss"),
            registered=RegisteredOut.of(registered) if registered else None,
            memory_needed=self.controller.memory_needed(row),
            serving=ServingOut.of(row, self.counters(row.key)),
        )

    async def get_events(
        self,
        name: Key,
        limit: Annotated[int, Query(ge=1, le=500, description="Number of newest events.")] = 100,
    ) -> Any:
        events = await self.controller.events(ModelKey.parse(name), limit)
        return [EventOut.of(event) for event in events]


def _place(after: str) -> ModelKey:
    try:
        return ModelKey.parse(after)
    except NotDeployed:
        raise InvalidRequest(
            f"cannot begin behind {after[:60]!r}: it is no <model>-<version>"
        ) from None


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
        f"{one}/events",
        summary="State changes, with times and reasons",
        response_model=list[EventOut],
        responses=_ONE,
    )(calls.get_events)
    return routes
