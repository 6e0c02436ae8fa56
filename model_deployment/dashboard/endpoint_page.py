"""The page of one endpoint: what answers its requests, its rollout with steps and guards, its history."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.core.endpoints import EndpointName, Rollout
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.endpoint_actions import Actions
from model_deployment.dashboard.endpoint_lines import guard_line, policy_lines
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.rollout_steps import steps
from model_deployment.endpoints.reader import EndpointReader
from model_deployment.endpoints.views import EndpointView, VersionRole
from model_deployment.rendering import numbers

#: The newest rollouts and events that are shown.
_ROLLOUTS, _EVENTS = 50, 200


def router(dependencies: Dependencies, pages: Pages, hub: Hub) -> APIRouter:
    """The page itself."""
    routes = pages.router()

    @routes.get("/dashboard/endpoints/{name}")
    async def page(request: Request, name: str) -> Response:
        found = await _found(dependencies.endpoints, name)
        return pages.send(request, "endpoint", at="", build=hub.build, **found)

    return routes


def parts(dependencies: Dependencies, pages: Pages) -> APIRouter:
    """The part of the page that its script loads again when something has changed."""
    routes = pages.router(part=True)

    @routes.get("/dashboard/endpoints/{name}/now")
    async def now(request: Request, name: str) -> Response:
        return pages.send(request, "part_endpoint", **await _found(dependencies.endpoints, name))

    return routes


async def _found(endpoints: EndpointReader, text: str) -> dict[str, Any]:
    """What the templates show of an endpoint."""
    name = EndpointName.parse(text)
    view = await endpoints.get(name)
    events = await endpoints.events(name, _EVENTS)
    now = datetime.now(UTC)
    return {
        "view": view,
        "endpoint": view.endpoint,
        "actions": Actions(view),
        "news": _news(view),
        "steps": steps(view.endpoint.policy, view.rollout, events, now) if view.rollout else [],
        "guards": [guard_line(one) for one in view.judgement.readings] if view.judgement else [],
        "findings": _findings(view),
        "policy": policy_lines(view.endpoint.policy),
        "rollouts": [(one, _took(one, now)) for one in await endpoints.history(name, _ROLLOUTS)],
        "events": events,
    }


def _findings(view: EndpointView) -> list[tuple[str, Any]]:
    """What was found before and beside the guards, with its outcome and reason."""
    found = (("Check", view.check), ("Replay", view.replay), ("Guards", view.judgement))
    return [(name, one) for name, one in found if one is not None]


def _news(view: EndpointView) -> str:
    """What pages tell when it changes: the state of the newest rollout, without its reason."""
    rollout = view.rollout
    if rollout is None:
        return "no rollout yet"
    state = str(rollout.state).replace("_", " ")
    shares = [one.share for one in view.versions if one.role is VersionRole.CANDIDATE]
    share = sum(shares) if rollout.active else 0
    return f"version {rollout.candidate}: {state}{f' {numbers.percent(share)}' if share else ''}"


def _took(rollout: Rollout, now: datetime) -> str:
    return numbers.duration(((rollout.ended_at or now) - rollout.started_at).total_seconds())
