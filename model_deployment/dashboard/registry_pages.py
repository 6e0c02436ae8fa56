"""The pages of the registry: all models; the versions of one, with a form to deploy a version."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import Deployment
from model_deployment.core.errors import InvalidName
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.registry.model_metrics import OURS
from model_deployment.registry.values import RegisteredVersion

#: Metrics of a version that have a column of their own, and others that can be unfolded.
_SHOWN, _UNFOLDED = 6, 60


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()

    @routes.get("/dashboard/registry")
    async def registry(request: Request) -> Response:
        models, rows = await asyncio.gather(dependencies.models(), dependencies.controller.all())
        deployed: defaultdict[str, list[Deployment]] = defaultdict(list)
        for row in rows:
            deployed[row.key.model].append(row)
        listed = [(model, refusal(model.name), deployed[model.name]) for model in models]
        # Models that cannot be deployed come last.
        listed.sort(key=lambda one: (bool(one[1]), one[0].name.lower()))
        return pages.send(
            request,
            "registry",
            at="registry",
            models=listed,
        )

    @routes.get("/dashboard/registry/{model}")
    async def versions(request: Request, model: str) -> Response:
        ModelKey.of(model, 1)  # the registry would take an invalid name as a filter
        found, rows = await asyncio.gather(
            dependencies.versions(model), dependencies.controller.all()
        )
        return pages.send(
            request,
            "versions",
            at="registry",
            model=model,
            versions=found,
            metrics=metric_names(found),
            states={row.key: row for row in rows},
            shown=_SHOWN,
            most=_UNFOLDED,
            defaults=dependencies.controller.defaults,
        )

    return routes


def refusal(name: str) -> str:
    """Why a model of this name cannot be deployed; empty if it can be."""
    try:
        ModelKey.of(name, 1)
    except InvalidName as error:
        return error.detail
    return ""


def metric_names(versions: Sequence[RegisteredVersion]) -> list[str]:
    """Metrics with a finite value, those that most versions have first.

    Metrics that were measured in service and written back are left out: they are on the pages of
    deployments, and here they would displace the metrics from training.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    for version in versions:
        for name, value in version.metrics.items():
            counts[name] += math.isfinite(value) and not name.startswith(OURS)
    return sorted((name for name in counts if counts[name]), key=lambda name: (-counts[name], name))
