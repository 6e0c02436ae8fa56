"""The call that sends a dataset of a deployment: training data or captured requests."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Query as Parameter
from fastapi.responses import Response, StreamingResponse
from starlette.types import Send

from model_deployment.api.parameters import Key
from model_deployment.api.problems import problem
from model_deployment.api.times import parse_moment
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import InvalidRequest, NotFound, Unavailable
from model_deployment.core.names import ModelKey
from model_deployment.datasets.captured import (
    Format,
    UnreadableData,
    any_captured,
    captured,
    training,
)
from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable
from model_deployment.reports.inputs import FindInputs, FindTraining
from model_deployment.tabular.input_columns import ModelInputs

_log = logging.getLogger(__name__)

_MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.JSONL: "application/x-ndjson",
}


class Source(StrEnum):
    """Which dataset."""

    TRAINING = "training"
    CAPTURED = "captured"


#: Returns a deployment, or raises NotDeployed.
Get = Callable[[ModelKey], Awaitable[Any]]


async def _no_inputs(key: ModelKey) -> ModelInputs:
    return ModelInputs()


@dataclass(frozen=True)
class DatasetCalls:
    """The handler, and what it uses."""

    get: Get
    find_training: FindTraining
    documents: Documents
    find_inputs: FindInputs = _no_inputs

    async def get_dataset(
        self,
        name: Key,
        source: Annotated[
            Source | None,
            Parameter(
                description="`training`: the data that the model was trained on, if it can be found. "
                "`captured`: captured requests, with predictions and labels. Default: training data if "
                "they can be found and neither `since` nor `until` is given, else captured requests."
            ),
        ] = None,
        format: Annotated[Format, Parameter(description="File format.")] = Format.CSV,
        since: Annotated[
            str | None,
            Parameter(
                description="Captured at this time or later: ISO 8601, in UTC if it has no offset, or a "
                "duration before now such as `24h`, `7d`.",
                examples=["24h"],
            ),
        ] = None,
        until: Annotated[
            str | None, Parameter(description="Captured before this time, in the same forms.")
        ] = None,
        limit: Annotated[
            int | None, Parameter(ge=1, le=10**9, description="Number of rows at most.")
        ] = None,
    ) -> Response:
        """A file to download. The file is incomplete if the connection ends early."""
        key = ModelKey.parse(name)
        query = _captures(key, since, until, limit)
        timed = since is not None or until is not None
        if timed and source is Source.TRAINING:
            raise InvalidRequest(
                "cannot select training data by time: since and until apply to source=captured only"
            )
        await self.get(key)
        inputs = await self.find_inputs(key)
        wants_training = source is not Source.CAPTURED and not timed
        if wants_training and (found := await self.find_training(key)) is not None:
            stream = training(found.path, format, limit, inputs)
            return await _send(key, Source.TRAINING, format, stream)
        if source is Source.TRAINING:
            raise NotFound(
                f"cannot find the training data of {key}: its run has no artifact dataset/*.parquet or "
                "dataset/*.csv, and no logged dataset with an allowed source"
            )
        await self._check_captured(key, wants_training)
        stream = captured(self.documents, query, None, True, format, inputs)
        return await _send(key, Source.CAPTURED, format, stream)

    async def _check_captured(self, key: ModelKey, wants_training: bool) -> None:
        try:
            found = await any_captured(self.documents, key.model, key.version)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if not found:
            more = " and no training data" if wants_training else ""
            raise NotFound(f"cannot find a dataset of {key}: there are no captured rows{more}")


def _captures(key: ModelKey, since: str | None, until: str | None, limit: int | None) -> Query:
    now = datetime.now(UTC)
    query = Query.of(
        Collection.CAPTURES,
        key,
        since=parse_moment(since, now) if since is not None else None,
        until=parse_moment(until, now) if until is not None else None,
        limit=limit,
    )
    if query.since and query.until and query.since >= query.until:
        raise InvalidRequest("cannot use this time window: since must be before until")
    return query


def router(calls: DatasetCalls) -> APIRouter:
    routes = APIRouter(tags=["monitoring"], route_class=StrictRoute)
    routes.get(
        "/model/{name}/dataset",
        summary="Training data or captured requests",
        response_class=Response,
        responses={
            200: {
                "description": "The dataset",
                "content": {media_type: {} for media_type in _MEDIA_TYPES.values()},
            },
            404: problem("Not deployed, or there is no such dataset"),
            422: problem("A time, a format or a limit that cannot be used"),
            503: problem("The registry, or the document store, does not answer"),
        },
    )(calls.get_dataset)
    return routes


async def _send(
    key: ModelKey, source: Source, format: Format, stream: AsyncGenerator[bytes, None]
) -> Response:
    # The first part is read before the answer begins, so that an early failure is answered as a problem.
    try:
        first = await anext(stream, b"")
    except StoreUnavailable as error:
        raise _unavailable(error) from error
    except UnreadableData as error:
        raise NotFound(f"cannot send the dataset of {key}: {error}") from error
    name = f"{key}-{source}.{format}".replace(" ", "_")
    return _ClosingStream(
        _parts(key, first, stream),
        headers={
            # A deployable name is plain ASCII without quotes.
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Type": _MEDIA_TYPES[format],
            "Cache-Control": "no-store",
            "X-Dataset-Source": source.value,
        },
    )


def _unavailable(error: StoreUnavailable) -> Unavailable:
    _log.warning("document store: %s", error)
    return Unavailable(
        "cannot read the captured rows: the document store does not answer now", retry_after=5
    )


class _Broken(Exception):
    """The rest of a dataset cannot be read: the connection ends, and the answer stays incomplete."""


async def _parts(
    key: ModelKey, first: bytes, stream: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream):
        try:
            if first:
                yield first
            async for part in stream:
                if part:
                    yield part
        except Exception as error:
            _log.error(
                "cannot send the rest of the dataset of %s: %s", key, error or type(error).__name__
            )
            raise _Broken(f"cannot send the rest of the dataset of {key}") from error


class _ClosingStream(StreamingResponse):
    """Closes its source, however the answer ends."""

    def __init__(self, parts: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(parts, headers=headers)
        self._parts = parts

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            await self._parts.aclose()
