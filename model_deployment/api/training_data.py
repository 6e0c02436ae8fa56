"""The calls that take uploads of training data, and show, send and delete their versions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect

from model_deployment.api.data_schemas import (
    DataVersionDetailsOut,
    DataVersionOut,
    StartedRunOut,
    UploadedOut,
)
from model_deployment.api.paging import next_page
from model_deployment.api.problems import problem
from model_deployment.api.reports import PAGE_HEADERS
from model_deployment.api.request_scope import user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import (
    IncompleteBody,
    InvalidRequest,
    ModelDeploymentError,
    RegistryUnavailable,
)
from model_deployment.core.names import ModelKey
from model_deployment.flows.deletion import delete_unused
from model_deployment.flows.runs import FlowRuns
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.training_data.body import UploadedFile
from model_deployment.training_data.uploads import Upload, Uploads
from model_deployment.training_data.versions import MEDIA_TYPES, Version, Versions

#: How a place in the list is written.
_MOMENT = "%Y%m%dT%H%M%S.%f"
_BINARY = {"type": "string", "format": "binary"}
_CSV = {"schema": {"type": "string"}, "example": "age,occupation,income\n39,Sales,>50K\n"}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": _CSV,
            MEDIA_TYPES["parquet"]: {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]},
                "example": {"file": "the file"},
            },
        },
    }
}
Sha256 = Annotated[str, Path(description="Of the file.", max_length=64)]
Experiment = Annotated[
    str, Query(description="Name in the settings of the project.", max_length=128)
]


@dataclass(frozen=True)
class TrainingDataCalls:
    """The handlers, and what they use.

    Attributes:
        runs: None where no project of flows is set.
        trained_on: the registered versions that were trained on a version of the data.
    """

    uploads: Uploads
    runs: FlowRuns | None
    trained_on: Callable[[str], Awaitable[list[ModelKey]]]

    @property
    def versions(self) -> Versions:
        return self.uploads.versions

    async def upload_data(
        self,
        request: Request,
        response: Response,
        experiment: Experiment,
        run: Annotated[
            bool, Query(description="Start the full flow with the file; false only keeps it.")
        ] = True,
        name: Annotated[
            str | None, Query(description="Of the file, for people.", max_length=200)
        ] = None,
    ) -> UploadedOut:
        """The body is the file, raw or as the one file of a form. It is checked before the answer: columns
        and types against the experiment's original data; `errors` of a 422 has each column that does not
        fit, with its first rows. More columns than the original data has may be sent.
        """
        declared = content_length(dict(request.scope["headers"]))
        user = user_name(request.scope)
        upload = Upload(
            experiment=experiment,
            file=UploadedFile(request.headers, _whole(request, declared)),
            declared=declared,
            user=user or None,
            name=name,
        )
        version = await self.uploads.take(upload)
        started = await self._start(version, user) if run else None
        response.headers["Location"] = f"/datasets/{version.sha256}"
        return UploadedOut(**UploadedOut.members(version), run=started)

    async def get_data_versions(
        self,
        request: Request,
        response: Response,
        experiment: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Length of a page.")] = 100,
        after: Annotated[
            str | None,
            Query(max_length=100, description="Begin behind this place, which `Link` names."),
        ] = None,
    ) -> list[DataVersionOut]:
        """The newest first. `Link` has the next page."""
        found = await asyncio.to_thread(self.versions.list, experiment)
        if experiment is not None and not found:
            await self._ensure_known(experiment)
        if after is not None:
            place = _place(after)
            found = [one for one in found if one.order < place]
        if len(found) > limit:
            last = found[limit - 1]
            next_page(request, response, after=f"{last.uploaded_at:{_MOMENT}}-{last.sha256}")
        return [DataVersionOut(**DataVersionOut.members(one)) for one in found[:limit]]

    async def get_data_version(self, sha256: Sha256) -> DataVersionDetailsOut:
        """With its analyses, and the models that were trained on it."""
        version, analyses, copy = await asyncio.to_thread(self._read, sha256)
        try:
            models = await self.trained_on(sha256)
        except RegistryUnavailable:
            models = None
        return DataVersionDetailsOut.of(version, analyses, models, copy)

    async def get_data_report(self, sha256: Sha256, experiment: Experiment) -> Response:
        """The page of the newest analysis for the experiment."""
        page = await asyncio.to_thread(self.versions.page, sha256, experiment)
        content = await asyncio.to_thread(page.read_bytes)
        return Response(content, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)

    async def get_data_file(self, sha256: Sha256) -> Response:
        """The file, byte for byte as it was uploaded: a cell that begins with `=` is a formula for a
        spreadsheet program.
        """
        version = await asyncio.to_thread(self.versions.get, sha256)
        return FileResponse(
            version.path,
            media_type=MEDIA_TYPES[version.format],
            filename=f"{version.experiment}-{version.sha256[:12]}.{version.format}",
            headers={"Cache-Control": "no-store", "ETag": f'"{version.sha256}"'},
        )

    async def delete_data_version(self, sha256: Sha256) -> Response:
        """With its analyses. The copy in MLflow stays."""
        await asyncio.to_thread(self.versions.get, sha256)
        await delete_unused(self.runs, self.versions.delete, sha256)
        return Response(status_code=204)

    async def _ensure_known(self, experiment: str) -> None:
        if self.runs is None:
            return
        known = (await asyncio.to_thread(self.runs.project.settings)).experiments
        if experiment not in known:
            raise InvalidRequest(
                f"cannot list the versions of {experiment[:60]!a}: there is no such experiment; the "
                f"project has {', '.join(known)}"
            )

    async def _start(self, version: Version, user: str) -> StartedRunOut | None:
        if self.runs is None:
            return None
        sha256 = version.sha256
        try:
            asked = await self.runs.request(
                "full_flow", experiment=version.experiment, data=sha256, by=user
            )
        except ModelDeploymentError as error:
            error.detail += f". The file is kept: start the run later, with data={sha256}"
            error.extra = {**error.extra, "sha256": sha256}
            raise
        return StartedRunOut(id=asked.id, place=asked.place)

    def _read(
        self, sha256: str
    ) -> tuple[Version, dict[str, dict[str, Any]], dict[str, Any] | None]:
        versions = self.versions
        return versions.get(sha256), versions.analyses(sha256), versions.registry(sha256)


def _place(text: str) -> tuple[datetime, str]:
    """What :attr:`Version.order` of the last version of a page was, which may be deleted by now."""
    moment, _, sha256 = text.partition("-")
    try:
        return datetime.strptime(moment, _MOMENT).replace(tzinfo=UTC), sha256
    except ValueError:
        raise InvalidRequest(
            f"cannot begin behind {text[:60]!a}: take the address of the next page from the header Link"
        ) from None


async def _whole(request: Request, declared: int | None) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        IncompleteBody: less of it came than was announced, or the caller hung up.
    """
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            yield piece
    except ClientDisconnect:
        raise IncompleteBody(
            f"cannot keep the file: the connection ended after {size} bytes. Nothing was kept"
        ) from None
    if declared is not None:
        ensure_whole(declared, size)


#: What an upload is answered with besides 202.
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: problem("The body broke off"),
    404: problem("No project of flows is set"),
    408: problem("The rest of the file did not come"),
    409: problem("The same file is kept already: `sha256` names it"),
    413: problem("The file is too large, or unpacks to too much"),
    415: problem("Neither CSV nor Parquet, or packed"),
    422: problem("No such experiment, or the file does not fit its original data"),
    429: problem("Too many uploads are under way"),
    503: problem("The original data cannot be read"),
    507: problem("The disk is full"),
}


def router(calls: TrainingDataCalls) -> APIRouter:
    routes = APIRouter(tags=["flows"])
    absent = problem("There is no such version")
    routes.post(
        "/upload_data",
        status_code=202,
        summary="Upload new training data",
        response_model=UploadedOut,
        openapi_extra=_UPLOAD_BODY,
        responses=_REFUSALS,
    )(calls.upload_data)
    strict = APIRouter(route_class=StrictRoute, tags=["flows"])
    strict.get(
        "/datasets", summary="Versions of the training data", response_model=list[DataVersionOut]
    )(calls.get_data_versions)
    strict.get(
        "/datasets/{sha256}",
        summary="A version of the training data",
        response_model=DataVersionDetailsOut,
        responses={404: absent},
    )(calls.get_data_version)
    strict.delete(
        "/datasets/{sha256}",
        summary="Delete a version of the training data",
        status_code=204,
        response_class=Response,
        responses={404: absent, 409: problem("A run uses it")},
    )(calls.delete_data_version)
    strict.get(
        "/datasets/{sha256}/report",
        summary="The page of an analysis",
        response_class=Response,
        responses={
            200: {
                "description": "The page",
                "content": {
                    "text/html": {"schema": {"type": "string"}, "example": "<!doctype html>…"}
                },
            },
            404: problem("There is no such version, or no analysis of it"),
        },
    )(calls.get_data_report)
    strict.get(
        "/datasets/{sha256}/file",
        summary="The file of a version",
        response_class=Response,
        responses={
            200: {
                "description": "The file",
                "content": {"text/csv": _CSV, MEDIA_TYPES["parquet"]: {"schema": _BINARY}},
            },
            404: absent,
        },
    )(calls.get_data_file)
    routes.include_router(strict)
    return routes
