"""The calls that change a deployment in place: its options, a restart, parking."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request, Response

from model_deployment.api.change_schemas import EstimateOut
from model_deployment.api.options import DeployOptions
from model_deployment.api.parameters import ChangeStrategy, Key, ModelName, ModelVersion, Wait
from model_deployment.api.problems import problem
from model_deployment.api.request_scope import user_name
from model_deployment.api.schemas import DeploymentOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.changes import Changes
from model_deployment.core.domain import Deployment, State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ChangeFailed, Conflict
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, OptionOverrides, StartMethod
from model_deployment.core.replacement import Strategy
from model_deployment.core.replicas import MAX_REPLICAS, Replicas


class Answer(Protocol):
    """Makes the answer of a call that had a deployment started."""

    async def __call__(self, row: Deployment, request: Request, response: Response) -> Any: ...


@dataclass(frozen=True)
class ChangeCalls:
    """The handlers, and what they use."""

    changes: Changes
    answer: Answer
    #: Tells more of a change that failed.
    explain: Callable[[ChangeFailed], Awaitable[ChangeFailed]]
    used_by: Callable[[ModelKey], Sequence[EndpointName]]
    show: Callable[[Deployment, Request], Awaitable[DeploymentOut]]

    async def change(
        self,
        request: Request,
        response: Response,
        name: Key,
        options: DeployOptions,
        wait: Wait = 60.0,
        strategy: ChangeStrategy = Strategy.BESIDE,
    ) -> Any:
        """Changes the options that the body names; `null` is the default. No request is lost.

        Options that only the proxies obey change at once. For others a new launch starts beside the one
        that serves; when it is ready, requests go to it, and the launch before finishes its own and ends.
        If the new launch fails, the answer is 502 and the launch before goes on.

        The next launch of a deployment that is parked or waits has the options; one that failed is started.
        """
        key = ModelKey.parse(name)
        by = user_name(request.scope) or None
        try:
            row = await self.changes.change(key, options.named(), wait, by=by, strategy=strategy)
        except ChangeFailed as error:
            raise await self.explain(error) from error
        return await self.answer(row, request, response)

    async def restart(
        self,
        request: Request,
        response: Response,
        name: Key,
        wait: Wait = 60.0,
        strategy: ChangeStrategy = Strategy.BESIDE,
    ) -> Any:
        """Starts a new launch with the same options beside the one that serves, then switches to it."""
        key = ModelKey.parse(name)
        by = user_name(request.scope) or None
        try:
            row = await self.changes.restart(key, wait, by=by, strategy=strategy)
        except ChangeFailed as error:
            raise await self.explain(error) from error
        return await self.answer(row, request, response)

    async def park(self, request: Request, response: Response, name: Key, wait: Wait = 60.0) -> Any:
        """Stops the processes once their requests are answered. The next request starts them again."""
        key = ModelKey.parse(name)
        if users := self.used_by(key):
            raise Conflict(
                f"cannot park {key}: the endpoint {users[0]} needs it ready; move its alias to another "
                "version or delete the endpoint first",
                extra={"endpoints": [str(user) for user in users]},
            )
        row = await self.changes.park(key, wait, by=user_name(request.scope) or None)
        if row.state is not State.PARKED:
            response.status_code = 202
        return await self.show(row, request)

    async def estimate(
        self,
        model: ModelName,
        version: ModelVersion,
        workers: Annotated[int | None, Query(ge=1, le=64, description="As in the deploy.")] = None,
        env_manager: Annotated[EnvManager | None, Query(description="As in the deploy.")] = None,
        start_method: Annotated[StartMethod | None, Query(description="As in the deploy.")] = None,
        replicas: Annotated[
            int | None, Query(ge=1, le=MAX_REPLICAS, description="Replicas; of a range the fewest.")
        ] = None,
    ) -> Any:
        """The memory that a deploy with these options is expected to need, and what is free.

        `shortage` is about the first replica: the others wait until there is memory for them.
        """
        named = OptionOverrides(
            workers=workers,
            env_manager=env_manager,
            start_method=start_method,
            replicas=None if replicas is None else Replicas(replicas, replicas),
        )
        found = await self.changes.estimate(ModelKey.of(model, version), named)
        return EstimateOut.model_validate(
            asdict(found)
            | {"options": found.options.as_dict(), "defaults": found.defaults.as_dict()}
        )


_CHANGE: dict[int | str, dict[str, Any]] = {
    202: {"model": DeploymentOut, "description": "Not done yet"},
    404: problem("Not deployed"),
    409: problem("Undeployed, or another change is under way"),
    422: problem("An option that cannot be used"),
    502: problem(
        "The new launch failed; the one before goes on. With the last lines of its log, if it had begun"
    ),
    503: problem("No port is free for one more launch"),
    507: problem("There is no memory for one more launch; `strategy=recreate` needs none"),
}


def router(calls: ChangeCalls) -> APIRouter:
    """The routes that change deployments in place."""
    routes = APIRouter(tags=["deployments"], route_class=StrictRoute)
    one = "/model/{name}"
    routes.patch(
        one,
        summary="Change the options of a deployment",
        response_model=DeploymentOut,
        responses=_CHANGE,
    )(calls.change)
    routes.post(
        f"{one}/restart",
        summary="Restart a deployment without a gap",
        response_model=DeploymentOut,
        responses=_CHANGE,
    )(calls.restart)
    routes.post(
        f"{one}/park",
        summary="Park a deployment",
        response_model=DeploymentOut,
        responses={
            202: {"model": DeploymentOut, "description": "Not parked yet"},
            404: problem("Not deployed"),
            409: problem("Not ready, being changed, or an endpoint needs it"),
        },
    )(calls.park)
    routes.get(
        "/deploy/{model}/{version}",
        summary="What a deploy would take",
        response_model=EstimateOut,
    )(calls.estimate)
    return routes
