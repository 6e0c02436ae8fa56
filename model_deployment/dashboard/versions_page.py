"""The page of a model's versions: what they are, how good, which are deployed; compare and deploy them."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.registry_pages import away
from model_deployment.dashboard.version_table import (
    ASCENDING,
    DESCENDING,
    STEPS,
    Choice,
    columns,
    in_order,
    metric_names,
    usual_order,
)

#: The newest versions that a table is sorted from.
_SORTED = 2000
#: Seconds that the metrics of a page may take; the page reads the others afterwards.
_PATIENCE = 1.5
#: Metrics of a version that can be unfolded.
_UNFOLDED = 60


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()

    @routes.get("/dashboard/registry/{model}")
    async def versions(
        request: Request,
        model: str,
        sort: Annotated[str, Query(max_length=250)] = "",
        order: Literal["ascending", "descending", ""] = "",
        limit: Annotated[int, Query(ge=1, le=STEPS[-1])] = STEPS[0],
        metrics: Literal["wait", ""] = "",
    ) -> Response:
        """``metrics=wait`` waits for metrics as long as the registry may take."""
        ModelKey.of(model, 1)  # the registry would take an invalid name as a filter
        choice = Choice(sort, (order or usual_order(sort)) if sort else "", limit)
        rows, endpoints = await asyncio.gather(
            dependencies.controller.all(), dependencies.endpoints.all()
        )
        try:
            found = await dependencies.versions(
                model,
                limit=_SORTED if sort else limit + 1,
                patience=None if metrics or sort else _PATIENCE,
            )
        except RegistryUnavailable as error:
            return away(pages, request, error, model, rows)
        ordered = in_order(found, sort, choice.order) if sort else found
        shown = ordered[:limit]
        names = metric_names(found)
        own = columns(names, shown, choice)
        return pages.send(
            request,
            "versions",
            at="registry",
            model=model,
            choice=choice,
            versions=shown,
            count=len(found),
            more=len(found) > len(shown),
            columns=own,
            others=[name for name in names if name not in {column.name for column in own}],
            late=sum(version.late for version in shown),
            states={row.key: row for row in rows},
            followed={str(view.endpoint.name) for view in endpoints},
            unfolded=_UNFOLDED,
            declarations=dependencies.controller.defaults.declarations(),
            defaults=dependencies.controller.defaults.as_dict(),
            orders={"": "", ASCENDING: "smallest first", DESCENDING: "largest first"},
        )

    return routes
