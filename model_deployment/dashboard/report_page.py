"""The page of one report: verdict, reasons and numbers, what to do now, and Evidently's page on demand."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import ModelDeploymentError, NotFound
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.report_steps import steps
from model_deployment.datasets.drifted import frequent_now
from model_deployment.degradation.page.render import page_values

#: Seconds that the registry may take to name the version before.
_PATIENCE = 2.0
#: Earlier metrics in the charts.
_HISTORY = 100
#: Seconds after which the page of an unfinished report is loaded again.
_AGAIN = 3


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()

    @routes.get("/dashboard/reports/{name}/{id}")
    async def report(request: Request, name: str, id: str) -> Response:
        key = ModelKey.parse(name)
        made = await dependencies.reporter.get(key, id)
        if made is None:
            if not dependencies.reporter.is_running(key, id):
                raise NotFound(
                    f"cannot find report {id[:64]!a} of {key}: it never was, or it is too old"
                )
            return pages.send(request, "report_running", at="", key=key, again=_AGAIN)
        rows = await dependencies.controller.all(stopped=True)
        deployed = {row.key: row for row in rows if row.state is not State.STOPPED}
        before, endpoints = await asyncio.gather(
            _before(dependencies, key, rows), dependencies.endpoints.all()
        )
        operator = pages.is_operator(request)
        return pages.send(
            request,
            "report",
            at="",
            key=key,
            deployed=key in deployed,
            made=made,
            evidently=await dependencies.reporter.has_evidently(id),
            kept=await dependencies.reporter.page(id) is not None,
            steps=steps(
                key,
                made,
                before=before,
                deployed=deployed,
                endpoints=endpoints,
                operator=operator,
                drifted=bool(frequent_now(made["report"])),
            ),
            **page_values(_named(made, key), await _history(dependencies, key, made)),
        )

    return routes


def _named(made: dict[str, Any], key: ModelKey) -> dict[str, Any]:
    """The report with what one that could not be made has not."""
    window = {"since": made["since"], "until": made["until"]}
    usual = {
        "model": key.model,
        "version": key.version,
        "window": window,
        "made_at": made["ts"].isoformat(),
    }
    return {**usual, "headline": made.get("headline") or "", **made["report"]}


async def _before(
    dependencies: Dependencies, key: ModelKey, rows: Sequence[Deployment]
) -> ModelKey | None:
    """The version before: by the registry, else of those that were ever deployed."""
    with suppress(ModelDeploymentError, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            found = await dependencies.versions(
                key.model, limit=1, before=key.version, patience=0.0
            )
            return found[0].key if found else None
    same = [row.key for row in rows if row.key.model == key.model]
    return max(
        (one for one in same if one.version < key.version),
        key=lambda one: one.version,
        default=None,
    )


async def _history(
    dependencies: Dependencies, key: ModelKey, made: dict[str, Any]
) -> list[dict[str, Any]]:
    """Metrics from before the report, oldest first."""
    found = await dependencies.monitoring.history(key, _HISTORY)
    return [one for one in found[::-1] if one["ts"] < made["ts"].isoformat()]
