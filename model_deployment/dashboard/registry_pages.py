"""The page of all registered models, and the page that stands for the registry while it is away."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import Deployment
from model_deployment.core.errors import InvalidName, RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages

#: Seconds after which the browser asks again while the registry is away.
_AGAIN = 10


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()

    @routes.get("/dashboard/registry")
    async def registry(request: Request) -> Response:
        rows, endpoints = await asyncio.gather(
            dependencies.controller.all(), dependencies.endpoints.all()
        )
        try:
            models = await dependencies.models()
        except RegistryUnavailable as error:
            return away(pages, request, error, "", rows)
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
            followed={str(view.endpoint.name) for view in endpoints},
        )

    return routes


def away(
    pages: Pages,
    request: Request,
    error: RegistryUnavailable,
    model: str,
    rows: Sequence[Deployment],
) -> Response:
    """The page that says why the registry cannot be shown and what goes on without it.

    Args:
        model: only its deployments are listed; empty: all are.
    """
    shown = [row for row in rows if model in ("", row.key.model)]
    return pages.send(
        request,
        "registry_away",
        503,
        {"Retry-After": str(_AGAIN)},
        at="registry",
        model=model,
        why=error.detail,
        rows=shown,
        again=_AGAIN,
    )


def refusal(name: str) -> str:
    """Why a model of this name cannot be deployed; empty if it can be."""
    try:
        ModelKey.of(name, 1)
    except InvalidName as error:
        return error.detail
    return ""
