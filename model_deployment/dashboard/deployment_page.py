"""The page of one deployment: its head, one of its tabs, and parts that the scripts of tabs load."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from model_deployment.core.domain import Desired, State
from model_deployment.core.hints import advice
from model_deployment.core.names import ModelKey
from model_deployment.dashboard import captured_columns, charts
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.deployment_tabs import (
    ANSWERING,
    LABELS,
    Opened,
    chosen,
    launches,
    values,
)
from model_deployment.dashboard.endpoint_rows import uses
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.predict_table import table
from model_deployment.degradation.wording.verdict_words import words
from model_deployment.rendering import numbers

_REPORTS = 50


def router(dependencies: Dependencies, pages: Pages, hub: Hub) -> APIRouter:
    """The head of the page with one of its tabs."""
    routes = pages.router()

    @routes.get("/dashboard/deployments/{name}")
    async def page(
        request: Request,
        name: str,
        tab: str = "",
        # Only the scripts of tabs read these: what a link wants to be seen.
        since: str = "",
        until: str = "",
        launch: str = "",
        replica: str = "",
        search: str = "",
        level: str = "",
    ) -> Response:
        overview = await hub.overview()
        deployment = await dependencies.controller.get(ModelKey.parse(name))
        shown = chosen(tab, deployment)
        stopping = deployment.state is State.STOPPING and deployment.desired is not Desired.STOPPED
        parking = stopping and bool(deployment.parking)
        return pages.send(
            request,
            "deployment",
            at="",
            build=hub.build,
            deployment=deployment,
            row=overview.rows.get(str(deployment.key)),
            parking=parking,
            # A parked deployment answers: a request starts it. So does one that is being parked.
            parked=deployment.state is State.PARKED or parking,
            advice=advice(deployment.reason),
            tab=str(shown),
            tabs={str(one): label for one, label in LABELS.items()},
            **await values(shown, dependencies, Opened(deployment, overview)),
        )

    return routes


def parts(dependencies: Dependencies, pages: Pages, hub: Hub) -> APIRouter:
    """Parts of the page that its script loads afterwards."""
    routes = pages.router(part=True)
    get, monitoring = dependencies.controller.get, dependencies.monitoring

    @routes.get("/dashboard/deployments/{name}/charts")
    async def traffic(
        request: Request,
        name: str,
        window: Literal["15m", "1h", "6h", "24h"] = "1h",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Response:
        deployment = await get(ModelKey.parse(name))
        minutes, now = charts.WINDOWS[window], datetime.now(UTC)
        chosen_range = None if since is None or until is None else charts.between(since, until)
        span = chosen_range or charts.latest(minutes, now, None)
        serving = await monitoring.serving(deployment.key, span.since, span.until)
        if chosen_range is None:
            span = charts.latest(minutes, now, charts.first_minute(serving))
        served = serving["total"]["requests"] > 0
        return pages.send(
            request,
            "part_charts",
            charts=charts.traffic(serving, span) if served or chosen_range else [],
            window=window,
            answers=deployment.state in ANSWERING,
            longest=window == [*charts.WINDOWS][-1],
        )

    # The tag of predictions, because it changes nothing either.
    @routes.post("/dashboard/deployments/{name}/rows", tags=["predictions"])
    async def rows(request: Request, name: str) -> Response:
        deployment = await get(ModelKey.parse(name))
        signature, _, _ = await asyncio.to_thread(dependencies.describe, deployment)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        found = await asyncio.to_thread(table, media_type, await request.body(), signature)
        return JSONResponse(asdict(found), headers={"Cache-Control": "no-store"})

    @routes.get("/dashboard/deployments/{name}/launches")
    async def current(request: Request, name: str) -> Response:
        deployment = await get(ModelKey.parse(name))
        found = await launches(dependencies, deployment)
        return pages.send(request, "part_launches", **found)

    @routes.get("/dashboard/deployments/{name}/uses")
    async def used_by(request: Request, name: str) -> Response:
        rows = (await hub.overview()).endpoints.values()
        return pages.send(request, "part_uses", uses=uses(rows, ModelKey.parse(name)))

    return routes


def monitoring_parts(dependencies: Dependencies, pages: Pages) -> APIRouter:
    """Parts that read the document store: quality, and inputs beside the training data."""
    routes = pages.router(part=True)
    get, monitoring = dependencies.controller.get, dependencies.monitoring

    @routes.get("/dashboard/deployments/{name}/reports")
    async def quality(request: Request, name: str) -> Response:
        deployment = await get(ModelKey.parse(name))
        now = datetime.now(UTC)
        metrics = await monitoring.metrics(deployment.key, now - timedelta(minutes=1), now)
        reports = await dependencies.reporter.list(deployment.key, _REPORTS)
        return pages.send(
            request,
            "part_reports",
            deployment=deployment,
            metrics=metrics,
            trends=charts.trends(metrics["history"], metrics["comparison"]),
            reports=[
                {
                    **report,
                    "rows": _rows(report["rows"]),
                    "detail": detail(report["verdict"], report["headline"]),
                }
                for report in reports
            ],
        )

    @routes.get("/dashboard/deployments/{name}/columns")
    async def inputs(request: Request, name: str) -> Response:
        deployment = await get(ModelKey.parse(name))
        compared = await captured_columns.compare(dependencies, deployment.key)
        return pages.send(request, "part_columns", compared=compared)

    return routes


def detail(verdict: str, headline: str) -> str:
    """What the headline of a report says beyond the name of its verdict."""
    name = words(verdict).name
    rest = headline.removeprefix(name).lstrip(":;, ") if headline.startswith(name) else headline
    return rest[:1].upper() + rest[1:]


#: Row counts that are shown only if they are not zero.
_RARE = ("ambiguous", "unmeasured")


def _rows(counted: object) -> str:
    """The row counts of a report."""
    if not isinstance(counted, dict):
        return numbers.NONE
    return ", ".join(
        f"{numbers.number(n)} {name}"
        for name, n in counted.items()
        if isinstance(n, int) and (n or name not in _RARE)
    )
