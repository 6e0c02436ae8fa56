"""The page with the settings of the project of flows: an editor, their history, and what has changed."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from model_deployment.core.errors import InvalidProject, NoProject
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.text_difference import difference
from model_deployment.flow_project import Project, history
from model_deployment.flow_project.files import SETTINGS_FILE, sha256_of
from model_deployment.flow_project.history import Saved

#: Texts that are listed.
_LISTED = 50
Number = Annotated[int | None, Query(ge=1, le=2**31)]


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()
    project = dependencies.project

    @routes.get("/dashboard/flows/settings")
    async def flow_settings(request: Request, old: Number = None, new: Number = None) -> Response:
        try:
            found = await asyncio.to_thread(_read, project, old, new)
        except NoProject as error:
            return pages.send(request, "flow_project_missing", at="flows", why=error.detail)
        return pages.send(request, "flow_settings", at="flows", **found)

    return routes


def _read(project: Project, old: int | None, new: int | None) -> dict[str, Any]:
    text, missing = _text_of(project)
    entries = history.entries(project.folder)
    now = next((one for one in entries[:1] if one.text == text), None)
    return {
        "folder": project.folder,
        "file": SETTINGS_FILE,
        "text": text,
        "tag": sha256_of(text),
        "missing": missing,
        "problems": _problems(project),
        "entries": entries[:_LISTED],
        "current": now,
        "compared": None if old is None else _compared(project, entries, text, old, new),
    }


def _text_of(project: Project) -> tuple[str, str]:
    """The text, and why there is none."""
    try:
        return project.text(), ""
    except InvalidProject as error:
        return "", error.detail


def _problems(project: Project) -> Sequence[dict[str, Any]]:
    try:
        project.settings()
    except InvalidProject as error:
        found: Sequence[dict[str, Any]] = error.extra.get("problems", ())
        return found
    return ()


def _compared(
    project: Project, entries: Sequence[Saved], text: str, old: int, new: int | None
) -> dict[str, Any]:
    """Two texts side by side; ``new`` is None for the file as it is now."""
    left = history.entry(project.folder, old).text
    right = text if new is None else history.entry(project.folder, new).text
    return {"old": old, "new": new, "lines": difference(left, right)}
