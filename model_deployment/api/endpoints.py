"""The calls that make, change, show and delete endpoints, and steer their rollouts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from model_deployment.api.comparison_schema import ComparisonOut
from model_deployment.api.endpoint_policy import PolicyIn
from model_deployment.api.endpoint_schemas import (
    EndpointDetailOut,
    EndpointOut,
    RolloutEventOut,
    RolloutOut,
    SetModelIn,
    SetModelOut,
)
from model_deployment.api.paging import After, Limit, page
from model_deployment.api.parameters import EndpointPath, ModelFilter, Wait
from model_deployment.api.problems import problem
from model_deployment.api.request_scope import TARGET, user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.endpoints import EndpointName
from model_deployment.endpoints.service import Endpoints
from model_deployment.endpoints.views import EndpointView

#: Descriptions of answers, by status.
Answers = dict[int | str, dict[str, Any]]
#: Writes the page of a comparison.
Page = Callable[[dict[str, Any]], str]

#: The newest rollouts and events that are shown with an endpoint.
_ROLLOUTS, _EVENTS = 10, 20
#: The page has values that callers have sent.
_PAGE_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'",
    "Cache-Control": "no-store",
}

Newest = Annotated[int, Query(ge=1, le=500, description="Number of newest ones.")]
RolloutId = Annotated[
    int | None, Query(ge=1, le=2**53, description="Id of a rollout; the newest one if left out.")
]


@dataclass(frozen=True)
class EndpointCalls:
    """The handlers, and what they use."""

    endpoints: Endpoints
    page: Page

    async def put_endpoint(
        self,
        request: Request,
        response: Response,
        name: EndpointPath,
        policy: PolicyIn | None = None,
    ) -> Any:
        """The endpoint follows the alias from then on: each version that the alias moves to is deployed,
        proves itself as the policy says, and then serves. The policy replaces the one before.
        """
        given = policy or PolicyIn()
        by = user_name(request.scope)
        view, new = await self.endpoints.put(EndpointName.parse(name), given.policy(), by)
        if new:
            response.status_code = 201
        return self._shown(request, view)

    async def get_endpoints(
        self,
        request: Request,
        response: Response,
        model: ModelFilter = None,
        limit: Limit = None,
        after: After = None,
    ) -> Any:
        views = [
            view
            for view in await self.endpoints.all()
            if model is None or view.endpoint.name.model == model
        ]
        shown = page(
            views, lambda view: str(view.endpoint.name),
            limit=limit, after=after, request=request, response=response,
        )  # fmt: skip
        return [self._shown(request, view) for view in shown]

    async def get_endpoint(self, request: Request, name: EndpointPath) -> Any:
        parsed = EndpointName.parse(name)
        view = await self.endpoints.get(parsed)
        rollouts = await self.endpoints.history(parsed, _ROLLOUTS)
        events = await self.endpoints.events(parsed, _EVENTS)
        return EndpointDetailOut.with_history(view, str(request.base_url), rollouts, events)

    async def delete_endpoint(
        self, request: Request, name: EndpointPath, wait: Wait = 60.0
    ) -> Response:
        """Its address is gone at once. Deployments that it alone asked for are undeployed."""
        await self.endpoints.delete(EndpointName.parse(name), wait, user_name(request.scope))
        return Response(status_code=204)

    async def promote(self, request: Request, name: EndpointPath) -> Any:
        """The candidate serves all requests from now on, whatever its rollout still waits for. Without a
        rollout, the version that the alias names is deployed, and serves as soon as it is ready.
        """
        return await self._steer(request, name, self.endpoints.promote)

    async def pause(self, request: Request, name: EndpointPath) -> Any:
        """The rollout stays where it is. The guards stay on."""
        return await self._steer(request, name, self.endpoints.pause)

    async def resume(self, request: Request, name: EndpointPath) -> Any:
        """Without a rollout, the version that the alias names is tried again."""
        return await self._steer(request, name, self.endpoints.resume)

    async def rollback(self, request: Request, name: EndpointPath) -> Any:
        """The champion serves all requests at once. Without a rollout, the previous champion does, which
        is kept ready for `keep_previous` seconds.
        """
        return await self._steer(request, name, self.endpoints.rollback)

    async def _steer(
        self,
        request: Request,
        name: str,
        order: Callable[[EndpointName, str], Awaitable[EndpointView]],
    ) -> EndpointOut:
        view = await order(EndpointName.parse(name), user_name(request.scope))
        return self._shown(request, view)

    async def get_rollouts(self, name: EndpointPath, limit: Newest = 100) -> Any:
        found = await self.endpoints.history(EndpointName.parse(name), limit)
        return [RolloutOut.of(rollout) for rollout in found]

    async def get_endpoint_events(self, name: EndpointPath, limit: Newest = 100) -> Any:
        found = await self.endpoints.events(EndpointName.parse(name), limit)
        return [RolloutEventOut.of(event) for event in found]

    async def get_comparison(
        self,
        name: EndpointPath,
        format: Literal["html", "json"] = "html",
        rollout: RolloutId = None,
    ) -> Response:
        """Errors, latency, predictions and quality of both versions, from replay, shadow and canary. The
        verdict and its reason come first.
        """
        found = await self.endpoints.comparison(EndpointName.parse(name), rollout)
        if format == "json":
            return JSONResponse(ComparisonOut(**found).model_dump(mode="json"))
        return HTMLResponse(self.page(found), headers=_PAGE_HEADERS)

    async def set_model(
        self, request: Request, response: Response, body: SetModelIn, wait: Wait = 60.0
    ) -> Any:
        """Makes the endpoint if there is none, and waits until the version that the alias names serves.

        The default endpoint of a model answers at `/<model>` as well.
        """
        request.scope[TARGET] = f"{body.model or ''}@{body.alias}"[:260]
        view = await self.endpoints.set_default(body.model, body.alias, wait)
        request.scope[TARGET] = str(view.endpoint.name)
        shown = SetModelOut.of(view, str(request.base_url))
        if not shown.serves:
            response.status_code = 202
        return shown

    def _shown(self, request: Request, view: EndpointView) -> EndpointOut:
        return EndpointOut.of(view, str(request.base_url))


_NONE: Answers = {404: problem("There is no such endpoint")}
_AWAY: Answers = {503: problem("The registry does not answer")}
_NO_CANDIDATE: Answers = {409: problem("There is no candidate, or it is not ready")}
_PUT: Answers = {
    201: {"model": EndpointOut, "description": "Made"},
    404: problem("The registry has no such model or alias"),
    **_AWAY,
}
_ROLLBACK: Answers = {
    **_NONE,
    409: problem("There is neither a candidate nor a previous champion"),
}
_SET: Answers = {
    202: {"model": SetModelOut, "description": "The alias's version does not serve yet"},
    404: problem("No such model or alias, or no model given and no default endpoint"),
    **_AWAY,
}
_COMPARISON: Answers = {
    200: {
        "description": "The comparison",
        "model": ComparisonOut,
        "content": {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>…"}},
    },
    404: problem("There is no such endpoint or rollout"),
}


def router(calls: EndpointCalls) -> APIRouter:
    routes = APIRouter(tags=["endpoints"], route_class=StrictRoute)
    one = "/endpoints/{name}"
    shown = EndpointOut
    routes.put(
        one, summary="Make an endpoint, or change its policy", response_model=shown, responses=_PUT
    )(calls.put_endpoint)
    routes.get("/endpoints", summary="All endpoints", response_model=list[EndpointOut])(
        calls.get_endpoints
    )
    routes.get(
        one,
        summary="What an endpoint serves, what is on its way, and why",
        response_model=EndpointDetailOut,
        responses=_NONE,
    )(calls.get_endpoint)
    routes.delete(
        one,
        summary="Delete an endpoint",
        status_code=204,
        response_class=Response,
        responses=_NONE,
    )(calls.delete_endpoint)
    for path, summary, call, answers in (
        ("promote", "Make the candidate the champion now", calls.promote, _NO_CANDIDATE),
        ("pause", "Keep a rollout where it is", calls.pause, _NO_CANDIDATE),
        ("resume", "Let a paused rollout go on", calls.resume, _NO_CANDIDATE),
        ("rollback", "Go back to the champion, or to the previous one", calls.rollback, _ROLLBACK),
    ):
        routes.post(
            f"{one}/{path}", summary=summary, response_model=shown, responses={**_NONE, **answers}
        )(call)
    routes.get(
        f"{one}/rollouts", summary="Rollouts, newest first", response_model=list[RolloutOut],
        responses=_NONE,
    )(calls.get_rollouts)  # fmt: skip
    routes.get(
        f"{one}/events", summary="What happened, newest first",
        response_model=list[RolloutEventOut], responses=_NONE,
    )(calls.get_endpoint_events)  # fmt: skip
    routes.get(f"{one}/comparison", summary="Champion against candidate", responses=_COMPARISON)(
        calls.get_comparison
    )
    routes.post(
        "/set_model",
        summary="Make an endpoint the default one, and wait until its version serves",
        response_model=SetModelOut,
        responses=_SET,
    )(calls.set_model)
    return routes
