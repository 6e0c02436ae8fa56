"""The calls that show, check and save the settings of the project of flows."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from model_deployment.api.flow_project_schemas import (
    FlowProjectOut,
    SavedSettingsOut,
    SavedTextOut,
    SettingsCheckOut,
)
from model_deployment.api.problems import problem
from model_deployment.api.request_scope import user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import InvalidProject, InvalidRequest, UnsupportedMediaType
from model_deployment.flow_project import Project, ProjectSettings, history
from model_deployment.flow_project.files import sha256_of
from model_deployment.flow_project.parse import parse

#: RFC 9512.
YAML = "application/yaml"
#: What clients send as YAML, and what they send if they do not care.
_TYPES = {YAML, "text/yaml", "application/x-yaml", "text/x-yaml", "text/plain"}
_EXAMPLE = (
    "experiments:\n  income:\n    class: experiments.income:Income\n    data: data/income.csv\n"
)
_TEXT = {"schema": {"type": "string"}, "example": _EXAMPLE}
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "SHA-256 of the text, in quotes."}}
_NO_PROJECT: dict[int | str, dict[str, Any]] = {404: problem("No project is set")}
_UNREADABLE: dict[int | str, dict[str, Any]] = {422: problem("The file cannot be read")}
_PUT: dict[str, Any] = {
    "requestBody": {"required": True, "content": {YAML: _TEXT}},
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "The `ETag` of the text that this one replaces.",
        }
    ],
}
#: Describes what runs may be given: by experiment and flow, each parameter as a JSON schema.
DescribeRuns = Callable[[ProjectSettings], dict[str, dict[str, dict[str, Any]]]]


@dataclass(frozen=True)
class FlowProjectCalls:
    """The handlers, and what they use."""

    project: Project
    describe_runs: DescribeRuns

    async def get_flow_project(self) -> Any:
        """Settings that cannot be used are no error of this call: `problems` says why."""
        return await asyncio.to_thread(self._shown)

    def _shown(self) -> FlowProjectOut:
        text = self.project.text()
        try:
            settings = self.project.settings()
        except InvalidProject as error:
            found = error.extra.get("problems", [])
            return FlowProjectOut(sha256=sha256_of(text), settings=None, runs={}, problems=found)
        return FlowProjectOut(
            sha256=sha256_of(text),
            settings=settings.model_dump(mode="json", by_alias=True),
            runs=self.describe_runs(settings),
            problems=[],
        )

    async def get_flow_settings(self) -> Response:
        """The text of `settings.yaml`, comments and all."""
        text = await asyncio.to_thread(self.project.text)
        return Response(text, media_type=YAML, headers={"ETag": _etag(text)})

    async def put_flow_settings(self, request: Request, response: Response) -> Any:
        """A text that cannot be used is refused, each problem with its line, and nothing changes. Runs that
        have begun keep the settings that they began with.
        """
        text = await _text_of(request)
        folder, expected = self.project.folder, _expected(request)
        by = user_name(request.scope)
        saved = await asyncio.to_thread(history.save, folder, text, by=by, expected=expected)
        response.headers["ETag"] = _etag(saved.text)
        return SavedSettingsOut.of(saved)

    async def check_flow_settings(self, request: Request) -> Any:
        """Checks a text, and saves nothing."""
        self.project.folder  # noqa: B018 - a project has to be set
        try:
            await asyncio.to_thread(parse, await _text_of(request))
        except InvalidProject as error:
            return SettingsCheckOut(usable=False, problems=error.extra["problems"])
        return SettingsCheckOut(usable=True, problems=[])

    async def get_flow_settings_history(
        self,
        limit: Annotated[int, Query(ge=1, le=history.MOST_KEPT, description="Of the newest.")] = 50,
    ) -> Any:
        """The newest first. An edit outside the controller is kept when somebody saves the next text."""
        found = await asyncio.to_thread(history.entries, self.project.folder)
        return [SavedSettingsOut.of(one) for one in found[:limit]]

    async def get_saved_flow_settings(
        self, number: Annotated[int, Path(ge=1, le=2**31, description="Of the history.")]
    ) -> Any:
        found = await asyncio.to_thread(history.entry, self.project.folder, number)
        return SavedTextOut.of(found)


def _etag(text: str) -> str:
    return f'"{sha256_of(text)}"'


def _expected(request: Request) -> str | None:
    """The SHA-256 in ``If-Match``; None if any text may be replaced."""
    given = request.headers.get("if-match", "*").strip()
    return None if given == "*" else given.removeprefix("W/").strip('"')


async def _text_of(request: Request) -> str:
    given = request.headers.get("content-type", YAML).partition(";")[0].strip().lower()
    if given not in _TYPES or request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType(
            f"cannot read the settings: their Content-Type is {given[:80]!a}. Send YAML, with "
            f"Content-Type: {YAML} and without Content-Encoding"
        )
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"cannot read the settings: byte {error.start} is no UTF-8; send UTF-8"
        ) from None


def router(calls: FlowProjectCalls) -> APIRouter:
    routes = APIRouter(tags=["flows"], route_class=StrictRoute)
    texts = APIRouter(tags=["flows"])
    routes.get(
        "/api/flow-project",
        summary="The project of flows, and what runs may be given",
        response_model=FlowProjectOut,
        responses={**_NO_PROJECT, **_UNREADABLE},
    )(calls.get_flow_project)
    routes.get(
        "/api/flow-project/settings",
        summary="The settings of the project, as text",
        response_class=Response,
        responses={200: {"content": {YAML: _TEXT}, "headers": _ETAG}, **_NO_PROJECT, **_UNREADABLE},
    )(calls.get_flow_settings)
    texts.put(
        "/api/flow-project/settings",
        summary="Save the settings of the project",
        response_model=SavedSettingsOut,
        responses={
            200: {"headers": _ETAG},
            **_NO_PROJECT,
            412: problem("Somebody has changed the settings since they were read"),
            422: problem("The text cannot be used, or the folder cannot be written"),
            507: problem("The disk is full"),
        },
        openapi_extra=_PUT,
    )(calls.put_flow_settings)
    texts.post(
        "/api/flow-project/settings/check",
        summary="Check settings, and save nothing",
        response_model=SettingsCheckOut,
        responses=_NO_PROJECT,
        openapi_extra={"requestBody": _PUT["requestBody"]},
    )(calls.check_flow_settings)
    routes.get(
        "/api/flow-project/history",
        summary="The texts that the settings have had",
        response_model=list[SavedSettingsOut],
        responses=_NO_PROJECT,
    )(calls.get_flow_settings_history)
    routes.get(
        "/api/flow-project/history/{number}",
        summary="One text that the settings have had",
        response_model=SavedTextOut,
        responses={404: problem("No project is set, or the text is not kept")},
    )(calls.get_saved_flow_settings)
    both = APIRouter()
    both.include_router(routes)
    both.include_router(texts)
    return both
