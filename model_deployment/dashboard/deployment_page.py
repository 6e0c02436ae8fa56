"""The page of one deployment: state, predict form, traffic, quality, inputs, events, options and log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import State
from model_deployment.core.hints import advice
from model_deployment.core.merging import turned_off
from model_deployment.core.names import ModelKey
from model_deployment.dashboard import captured_columns, charts
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.endpoint_rows import uses
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.predict_form import form
from model_deployment.degradation.wording.verdict_words import words
from model_deployment.rendering import numbers

_REPORTS = 50
#: States that answer a request; a parked deployment is started by it.
_ANSWERING = (State.READY, State.PARKED)


def router(dependencies: Dependencies, pages: Pages, hub: Hub) -> APIRouter:
    """The page itself."""
    routes = pages.router()

    @routes.get("/dashboard/deployments/{name}")
    async def page(request: Request, name: str) -> Response:
        overview = await hub.overview()
        deployment = await dependencies.controller.get(ModelKey.parse(name))
        counters = dependencies.counters(deployment.key)
        signature, _, example = await asyncio.to_thread(dependencies.describe, deployment)
        return pages.send(
            request,
            "deployment",
            at="",
            build=hub.build,
            deployment=deployment,
            row=overview.rows.get(str(deployment.key)),
            uses=uses(overview.endpoints.values(), deployment.key),
            form=form(signature, example),
            # The signature is unknown until the model's files have been fetched.
            known=signature is not None or deployment.state in _ANSWERING,
            counters=counters,
            merging=turned_off(deployment.merging_in_force, counters.unmergeable)
            if deployment.state is State.READY
            else None,
            options=deployment.options.as_dict(),
            advice=advice(deployment.reason),
            windows=list(charts.WINDOWS),
        )

    return routes


def parts(dependencies: Dependencies, pages: Pages, hub: Hub) -> APIRouter:
    """Parts of the page that its script loads afterwards."""
    routes = pages.router(part=True)
    get, monitoring = dependencies.controller.get, dependencies.monitoring

    @routes.get("/dashboard/deployments/{name}/charts")
    async def traffic(
        request: Request, name: str, window: Literal["15m", "1h", "6h", "24h"] = "1h"
    ) -> Response:
        deployment = await get(ModelKey.parse(name))
        minutes, now = charts.WINDOWS[window], datetime.now(UTC)
        start = now.replace(second=0, microsecond=0) - timedelta(minutes=minutes - 1)
        serving = await monitoring.serving(deployment.key, start, now + timedelta(seconds=1))
        served = serving["total"]["requests"] > 0
        return pages.send(
            request,
            "part_charts",
            charts=charts.traffic(serving, minutes, now) if served else [],
            window=window,
            answers=deployment.state in _ANSWERING,
            longest=window == [*charts.WINDOWS][-1],
        )

    @routes.get("/dashboard/deployments/{name}/reports")
    async def quality(request: Request, name: str) -> Response:
        deployment = await get(ModelKey.parse(name))
        now = datetime.now(UTC)
        metrics = await monitoring.metrics(deployment.key, now - timedelta(minutes=1), now)
        reports = await dependencies.reporter.list(deployment.key, _REPORTS)
        hub.checks.expire()
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

    @routes.get("/dashboard/deployments/{name}/uses")
    async def used_by(request: Request, name: str) -> Response:
        rows = (await hub.overview()).endpoints.values()
        return pages.send(request, "part_uses", uses=uses(rows, ModelKey.parse(name)))

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
