"""The registry: models, their versions, and a form to deploy one."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import Deployment
from model_deployment.core.errors import InvalidName
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Parts
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.registry.model_metrics import DEPLOYED
from model_deployment.registry.values import RegisteredVersion

#: Metrics of a version in the table, and how many of the others can be unfolded.
SHOWN, UNFOLDED = 6, 60


def router(parts: Parts, pages: Pages, hub: Hub) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @routes.get("/dashboard/registry")
    async def registry(request: Request) -> Response:
        serial = hub.serial
        models, rows = await asyncio.gather(parts.models(), parts.controller.all())
        deployed: defaultdict[str, list[Deployment]] = defaultdict(list)
        for row in rows:
            deployed[row.key.model].append(row)
        listed = [(model, refusal(model.name), deployed[model.name]) for model in models]
        # What cannot be deployed is not what anybody looks for.
        listed.sort(key=lambda one: (bool(one[1]), one[0].name.lower()))
        return pages.send(
            request,
            "registry",
            at="registry",
            serial=serial,
            models=listed,
        )

    @routes.get("/dashboard/registry/{model}")
    async def versions(request: Request, model: str) -> Response:
        ModelKey.of(model, 1)  # a name that could not be deployed is refused, and never a filter
        serial = hub.serial
        found, rows = await asyncio.gather(parts.versions(model), parts.controller.all())
        return pages.send(
            request,
            "versions",
            at="registry",
            serial=serial,
            model=model,
            versions=found,
            metrics=metric_names(found),
            states={row.key: row for row in rows},
            shown=SHOWN,
            most=UNFOLDED,
            defaults=parts.controller.defaults,
        )

    return routes


def refusal(name: str) -> str:
    """Why a model of this name cannot be deployed; empty if it can."""
    try:
        ModelKey.of(name, 1)
    except InvalidName as error:
        return error.detail
    return ""


def metric_names(versions: Sequence[RegisteredVersion]) -> list[str]:
    """The metrics that most versions have, first.

    Not those that are no numbers, nor those that were measured in service and written back: the pages of
    deployments show these, and here they would take the place of how good a version was when it was made.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    for version in versions:
        for name, value in version.metrics.items():
            counts[name] += math.isfinite(value) and not name.startswith(DEPLOYED)
    return sorted((name for name in counts if counts[name]), key=lambda name: (-counts[name], name))
