"""The pages of runs of flows: all of them as a chart and a list, and one with its tasks and its log."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.core.errors import InvalidProject, NoProject
from model_deployment.dashboard import flow_rows
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.flows.base import FlowType
from model_deployment.flows.parameters import SHA256, allowed
from model_deployment.rendering import flow_results

#: Runs that are listed.
_LISTED = 50


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()
    runs, project = dependencies.flow_runs, dependencies.project

    @routes.get("/dashboard/flows")
    async def flows(request: Request) -> Response:
        found = await _listed(dependencies, pages, request)
        try:
            given = allowed(await asyncio.to_thread(project.settings))
            problem = ""
        except (NoProject, InvalidProject) as error:
            given, problem = {}, error.detail
        return pages.send(
            request,
            "flows",
            at="flows",
            settings_problem=problem if project.is_set else "",
            allowed=json.dumps(given),
            experiments=[*given],
            flow_types=[*FlowType],
            **found,
        )

    @routes.get("/dashboard/flows/runs/{id}")
    async def flow_run(request: Request, id: str) -> Response:
        await runs.find(id)
        return pages.send(
            request, "flow_run", at="flows", **await _one(dependencies, pages, request, id)
        )

    return routes


def parts(dependencies: Dependencies, pages: Pages) -> APIRouter:
    """What the scripts of the pages load again."""
    routes = pages.router(part=True)

    @routes.get("/dashboard/flows/now")
    async def flows_now(request: Request) -> Response:
        return pages.send(request, "part_flow_runs", **await _listed(dependencies, pages, request))

    @routes.get("/dashboard/flows/runs/{id}/now")
    async def flow_run_now(request: Request, id: str) -> Response:
        return pages.send(request, "part_flow_run", **await _one(dependencies, pages, request, id))

    return routes


async def _listed(dependencies: Dependencies, pages: Pages, request: Request) -> dict[str, Any]:
    runs = dependencies.flow_runs
    records = (await runs.all())[:_LISTED]
    now = datetime.now(UTC)
    operator = pages.is_operator(request)
    state, problem = runs.service
    return {
        "rows": [flow_rows.row(one, now, runs.message(one) if operator else "") for one in records],
        "chart": flow_rows.runs_chart(records, now),
        "is_set": dependencies.project.is_set,
        "service": str(state),
        "problem": problem if operator else "",
        "active": any(not one.state.final for one in records),
    }


async def _one(
    dependencies: Dependencies, pages: Pages, request: Request, id: str
) -> dict[str, Any]:
    runs = dependencies.flow_runs
    record = await runs.find(id)
    now = datetime.now(UTC)
    shown = flow_rows.row(record, now, runs.message(record) if pages.is_operator(request) else "")
    found = flow_results.read(record.flow, record.result) if record.result else None
    kept = False
    if found and found.data and SHA256.fullmatch(found.data.sha256):
        kept = await asyncio.to_thread(runs.data.has, found.data.sha256)
    return {
        "shown": shown,
        "record": record,
        "chart": flow_rows.tasks_chart(record, now),
        "found": found,
        "kept_data": kept,
        "json": json.dumps(record.result, indent=2, ensure_ascii=False),
        "data": record.data_sha256,
    }
