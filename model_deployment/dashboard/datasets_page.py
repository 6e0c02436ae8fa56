"""The pages of training data: the versions with a form for uploads, and one with its analyses."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.core.errors import InvalidProject, NoProject, RegistryUnavailable
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.training_data.versions import Version

#: Versions that are listed, and columns that are shown of one.
_LISTED, _COLUMNS = 100, 500
_TONES = {"error": "bad", "warning": "warn", "info": "info"}


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()
    uploads, project = dependencies.uploads, dependencies.project

    @routes.get("/dashboard/datasets")
    async def datasets(request: Request) -> Response:
        found = await asyncio.to_thread(uploads.versions.list)
        listed = await asyncio.to_thread(
            lambda: [
                (one, _judged(uploads.versions.analyses(one.sha256))) for one in found[:_LISTED]
            ]
        )
        try:
            experiments = [*(await asyncio.to_thread(project.settings)).experiments]
            problem = ""
        except (NoProject, InvalidProject) as error:
            experiments, problem = [], error.detail
        return pages.send(
            request,
            "datasets",
            at="flows",
            listed=listed,
            count=len(found),
            experiments=experiments,
            is_set=project.is_set,
            project_problem=problem,
            limit=uploads.max_bytes,
        )

    @routes.get("/dashboard/datasets/{sha256}")
    async def dataset(request: Request, sha256: str) -> Response:
        versions = uploads.versions
        version: Version = await asyncio.to_thread(versions.get, sha256)
        analyses = await asyncio.to_thread(versions.analyses, sha256)
        try:
            models = await dependencies.trained_on(sha256)
            registry_problem = ""
        except RegistryUnavailable as error:
            models, registry_problem = [], error.detail
        return pages.send(
            request,
            "dataset",
            at="flows",
            data=version,
            columns=version.columns[:_COLUMNS],
            analyses={name: _shown(one) for name, one in analyses.items()},
            models=models,
            registry_problem=registry_problem,
            copy=await asyncio.to_thread(versions.registry, sha256),
            using=await dependencies.flow_runs.using(sha256),
            tones=_TONES,
        )

    return routes


def _judged(analyses: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """By experiment: its name, the worst findings in words, and their tone."""
    return [(name, *_worst(analysis)) for name, analysis in analyses.items()]


def _worst(analysis: Mapping[str, Any]) -> tuple[str, str]:
    counts = analysis.get("counts")
    if isinstance(counts, Mapping):
        for severity, word in (("error", "error"), ("warning", "warning")):
            if number := counts.get(severity):
                return f"{number} {word}{'' if number == 1 else 's'}", _TONES[severity]
    return "nothing odd", "good"


def _shown(analysis: Mapping[str, Any]) -> dict[str, Any]:
    findings: Sequence[Mapping[str, Any]] = analysis.get("findings") or ()
    words, tone = _worst(analysis)
    return {
        "headline": str(analysis.get("headline") or ""),
        "words": words,
        "tone": tone,
        "findings": [one for one in findings if isinstance(one, Mapping)],
    }
