"""One deployment: its state, a form to predict with, figures, inputs, reports, and its log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import Deployment, State
from model_deployment.core.hints import advice
from model_deployment.core.names import ModelKey
from model_deployment.dashboard import charts, columns
from model_deployment.dashboard.dependencies import Parts
from model_deployment.dashboard.form import form
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.degradation.verdict_words import words
from model_deployment.rendering import numbers

_REPORTS = 50


def router(parts: Parts, pages: Pages, hub: Hub) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    within = APIRouter(route_class=pages.route_class(part=True), include_in_schema=False)

    async def deployed(name: str) -> Deployment:
        return await parts.controller.get(ModelKey.parse(name))

    @routes.get("/dashboard/deployments/{name}")
    async def deployment(request: Request, name: str) -> Response:
        view, serial = await hub.view(), hub.serial
        row = await deployed(name)  # what changes from here on, the page hears
        signature, _, sample = await asyncio.to_thread(parts.describe, row)
        return pages.send(
            request,
            "deployment",
            at="",
            build=hub.build,
            serial=serial,
            it=row,
            shown=view.rows.get(str(row.key)),
            form=form(signature, sample, sample),
            # Until the model's files are here, nothing can be said of its signature.
            known=signature is not None or row.state in (State.READY, State.PARKED),
            counters=parts.counters(row.key),
            options=row.options.as_dict(),
            advice=advice(row.reason),
            windows=list(charts.WINDOWS),
        )

    @within.get("/dashboard/deployments/{name}/charts")
    async def traffic(
        request: Request, name: str, window: Literal["15m", "1h", "6h", "24h"] = "1h"
    ) -> Response:
        row = await deployed(name)
        minutes, now = charts.WINDOWS[window], datetime.now(UTC)
        start = now.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1)
        serving = await parts.monitoring.serving(row.key, start, now + timedelta(seconds=1))
        asked = serving["total"]["requests"]
        return pages.send(
            request,
            "part_charts",
            charts=charts.traffic(serving, minutes, now) if asked else [],
            window=window,
            answers=row.state in (State.READY, State.PARKED),
            longest=window == [*charts.WINDOWS][-1],
        )

    @within.get("/dashboard/deployments/{name}/reports")
    async def reports(request: Request, name: str) -> Response:
        row = await deployed(name)
        now = datetime.now(UTC)
        found = await parts.monitoring.metrics(row.key, now - timedelta(minutes=1), now)
        made = await parts.reporter.list(row.key, _REPORTS)
        hub.look_again()
        return pages.send(
            request,
            "part_reports",
            it=row,
            metrics=found,
            trends=charts.trends(found["history"], found["comparison"]),
            reports=[
                {
                    **one,
                    "rows": _rows(one["rows"]),
                    "detail": detail(one["verdict"], one["headline"]),
                }
                for one in made
            ],
        )

    @within.get("/dashboard/deployments/{name}/columns")
    async def inputs(request: Request, name: str) -> Response:
        row = await deployed(name)
        return pages.send(request, "part_columns", found=await columns.compared(parts, row.key))

    routes.include_router(within)
    return routes


def detail(verdict: str, headline: str) -> str:
    """What the headline of a report says beyond the name of its verdict."""
    name = words(verdict).name
    rest = headline.removeprefix(name).lstrip(":;, ") if headline.startswith(name) else headline
    return rest[:1].upper() + rest[1:]


#: Counts of rows that are worth telling only where there are any.
_RARE = ("ambiguous", "unmeasured")


def _rows(counted: object) -> str:
    """How many rows a report was made of."""
    if not isinstance(counted, dict):
        return numbers.NONE
    return ", ".join(
        f"{numbers.number(n)} {name}"
        for name, n in counted.items()
        if isinstance(n, int) and (n or name not in _RARE)
    )
