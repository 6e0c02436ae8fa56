"""The dataset of a deployment: what it was trained on, or what it was asked."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Query as Parameter
from fastapi.responses import Response, StreamingResponse
from starlette.types import Send

from model_deployment.api.deployments import problem
from model_deployment.api.parameters import Key
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


def router(
    *,
    get: Get,
    find_training: FindTraining,
    documents: Documents,
    find_inputs: FindInputs = _no_inputs,
) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["monitoring"], route_class=StrictRoute)

    @routes.get(
        "/model/{name}/dataset",
        summary="What its model was trained on, or what it was asked",
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
    )
    async def get_dataset(
        name: Key,
        source: Annotated[
            Source | None,
            Parameter(
                description="`training`: what the model was trained on, where that can be found. "
                "`captured`: what it was asked, with predictions and labels. Default: the first where "
                "it can be found and neither `since` nor `until` is given, else the second."
            ),
        ] = None,
        format: Annotated[Format, Parameter(description="How it is written.")] = Format.CSV,
        since: Annotated[
            str | None,
            Parameter(
                description="Captured from this moment on: ISO 8601, in UTC unless it says otherwise, "
                "or a while before now: `24h`, `7d`.",
                examples=["24h"],
            ),
        ] = None,
        until: Annotated[
            str | None, Parameter(description="Captured before this moment, written the same way.")
        ] = None,
        limit: Annotated[int | None, Parameter(ge=1, le=10**9, description="Rows.")] = None,
    ) -> Response:
        """A file to download. If the connection breaks off, the file is not whole."""
        key = ModelKey.parse(name)
        now = datetime.now(UTC)
        query = Query.of(
            Collection.CAPTURES,
            key,
            since=parse_moment(since, now) if since is not None else None,
            until=parse_moment(until, now) if until is not None else None,
            limit=limit,
        )
        timed = since is not None or until is not None
        if timed and source is Source.TRAINING:
            raise InvalidRequest(
                "cannot choose training data by time: since and until are for source=captured"
            )
        if query.since and query.until and query.since >= query.until:
            raise InvalidRequest("cannot use this window: since has to be before until")
        await get(key)
        inputs = await find_inputs(key)
        if source is not Source.CAPTURED and not timed:
            found = await find_training(key)
            if found is not None:
                return await _send(
                    key, Source.TRAINING, format, training(found.path, format, limit, inputs)
                )
            if source is Source.TRAINING:
                raise NotFound(
                    f"cannot find the training data of {key}: its run has no artifact dataset/*.parquet "
                    "or dataset/*.csv, and no logged dataset with a source that is allowed"
                )
        try:
            there = await any_captured(documents, key.model, key.version)
        except StoreUnavailable as error:
            raise _away(error) from error
        if not there:
            raise NotFound(
                f"cannot find a dataset of {key}: no captured rows"
                + ("" if source is Source.CAPTURED or timed else ", and no training data")
            )
        stream = captured(documents, query, None, True, format, inputs)
        return await _send(key, Source.CAPTURED, format, stream)

    return routes


async def _send(
    key: ModelKey, source: Source, format: Format, stream: AsyncGenerator[bytes, None]
) -> Response:
    # The first part comes before the answer begins: what fails at once is an error like any other.
    try:
        first = await anext(stream, b"")
    except StoreUnavailable as error:
        raise _away(error) from error
    except UnreadableData as error:
        raise NotFound(f"cannot send the dataset of {key}: {error}") from error
    name = f"{key}-{source}.{format}".replace(" ", "_")
    return _Stream(
        _whole(key, first, stream),
        headers={
            # A deployable name is plain ASCII without quotes.
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Type": _MEDIA_TYPES[format],
            "Cache-Control": "no-store",
            "X-Dataset-Source": source.value,
        },
    )


def _away(error: StoreUnavailable) -> Unavailable:
    _log.warning("document store: %s", error)
    return Unavailable(
        "cannot read the captured rows: the document store does not answer now", retry_after=5
    )


class _Broken(Exception):
    """The rest of a dataset cannot be had: the server ends the connection, and the answer has no end."""


async def _whole(
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
            _log.error("the dataset of %s broke off: %s", key, error or type(error).__name__)
            raise _Broken(f"the dataset of {key} broke off") from error


class _Stream(StreamingResponse):
    """Lets go of what it reads from, however it ends."""

    def __init__(self, parts: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        super().__init__(parts, headers=headers)
        self._parts = parts

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            await self._parts.aclose()
