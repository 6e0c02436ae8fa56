"""The call that sends a dataset of a deployment: training data or captured requests."""

import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Query as Parameter
from fastapi.responses import Response, StreamingResponse
from starlette.types import Send

from model_deployment.api.names import Named, Names
from model_deployment.api.parameters import KeyOrEndpoint
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
from model_deployment.datasets.drifted import CAPTURES, ROWS, frequent_now, selector
from model_deployment.documents.base import (
    CapturedOn,
    Collection,
    Documents,
    Query,
    StoreUnavailable,
)
from model_deployment.reports.inputs import FindInputs, FindTraining, source_of
from model_deployment.tabular.input_columns import ModelInputs

_log = logging.getLogger(__name__)

#: What a file name of a header is written without.
_ODD = re.compile(r"[^!-~]")

_MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.JSONL: "application/x-ndjson",
}
#: How each is described; a Parquet file has no example in text.
_CONTENT: Mapping[str, dict[str, Any]] = {
    _MEDIA_TYPES[Format.CSV]: {
        "schema": {"type": "string"},
        "example": "age,bmi,prediction,label\n0.03,0.06,152.1,131.0\n",
    },
    _MEDIA_TYPES[Format.PARQUET]: {"schema": {"type": "string", "format": "binary"}},
    _MEDIA_TYPES[Format.JSONL]: {
        "schema": {"type": "string"},
        "example": '{"age": 0.03, "bmi": 0.06, "prediction": 152.1, "label": 131.0}\n',
    },
}


class Source(StrEnum):
    """Which dataset."""

    TRAINING = "training"
    CAPTURED = "captured"
    DEVICES = "devices"


async def _no_inputs(key: ModelKey) -> ModelInputs:
    return ModelInputs()


@dataclass(frozen=True)
class DatasetCalls:
    """The handler, and what it uses."""

    names: Names
    find_training: FindTraining
    documents: Documents
    find_inputs: FindInputs = _no_inputs

    async def get_dataset(
        self,
        name: KeyOrEndpoint,
        source: Annotated[
            Source | None,
            Parameter(
                description="`training`: the data that the model was trained on, if it can be found. "
                "`captured`: captured requests, with predictions and labels. `devices`: the same of what "
                "devices predicted, also of a version that is not deployed here. Default: training data if "
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
        """A file to download. The file is incomplete if the connection ends early.

        Of an endpoint: training data are those of the version that serves now; captured requests are those
        that came by the endpoint, whichever version answered, and the column `version` tells which.
        """
        query = _captures(since, until, limit)
        timed = since is not None or until is not None
        if timed and source is Source.TRAINING:
            raise InvalidRequest(
                "cannot select training data by time: since and until apply to source=captured only"
            )
        if source is Source.DEVICES:
            return await self._of_devices(name, format, query)
        found = await self.names.find(name)
        inputs = await self.find_inputs(found.key)
        wants_training = source is not Source.CAPTURED and not timed
        if wants_training and (data := await self.find_training(found.key)) is not None:
            stream = training(data.path, format, limit, inputs)
            return await _send(str(found.key), Source.TRAINING, format, stream)
        if source is Source.TRAINING:
            raise NotFound(
                f"cannot find the training data of {found.key}: its run has no artifact dataset/*.parquet "
                "or dataset/*.csv, and no logged dataset with an allowed source"
            )
        query = replace(query, model=found.key.model, version=found.version)
        await self._check_captured(found, wants_training)
        endpoint = str(found.endpoint) if found.endpoint else None
        stream = captured(self.documents, query, None, True, format, inputs, endpoint)
        return await _send(str(found), Source.CAPTURED, format, stream)

    async def _of_devices(self, name: str, format: Format, query: Query) -> Response:
        """What devices captured of a version; of an endpoint, of the version that serves now."""
        try:
            key = await self.names.version(name, CapturedOn.DEVICES)
            known = await any_captured(
                self.documents, key.model, key.version, source=CapturedOn.DEVICES
            )
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if not known:
            raise NotFound(f"cannot find a dataset of {key}: devices have sent no captures of it")
        query = replace(
            query, collection=Collection.DEVICE_CAPTURES, model=key.model, version=key.version
        )
        inputs = await self.find_inputs(key)
        stream = captured(self.documents, query, None, True, format, inputs)
        return await _send(str(key), Source.DEVICES, format, stream)

    async def get_drifted_rows(
        self,
        name: KeyOrEndpoint,
        id: Annotated[str, Parameter(max_length=64, description="Id of a stored report.")],
    ) -> Response:
        """A CSV file of captured rows in the report's window, the newest first, with the column `drifted`
        that names the reasons.

        A row is there if one of the report's drifted columns has a value in it that has become frequent: it
        falls into a bin of the report's histogram (or is a category) whose share of all rows is at least
        twice as large as in the reference; where no share has doubled, into the one that rose most. At most
        10,000 rows of the newest 20,000 captured requests.
        """
        try:
            key = await self.names.version(name, CapturedOn.DEVICES)
            made = await self.documents.get(Collection.REPORTS, id)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if made is None or (made["model"], made["version"]) != (key.model, key.version):
            raise NotFound(f"cannot find report {id!a} of {key}")
        found = frequent_now(made["report"])
        if not found:
            raise NotFound(f"cannot find drifted rows: no column of report {id!a} has drifted")
        query = Query.of(
            source_of(made).captures,
            key,
            since=datetime.fromisoformat(made["since"]),
            until=datetime.fromisoformat(made["until"]),
            newest_first=True,
            limit=ROWS,
        )
        inputs = await self.find_inputs(key)
        stream = captured(
            self.documents, query, None, True, Format.CSV, inputs,
            select=selector(found), most_captures=CAPTURES,
        )  # fmt: skip
        return await _send(f"{key}-drifted", Source.CAPTURED, Format.CSV, stream)

    async def _check_captured(self, found: Named, wants_training: bool) -> None:
        endpoint = str(found.endpoint) if found.endpoint else None
        try:
            known = await any_captured(self.documents, found.key.model, found.version, endpoint)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if not known:
            more = " and no training data" if wants_training else ""
            raise NotFound(f"cannot find a dataset of {found}: there are no captured rows{more}")


def _captures(since: str | None, until: str | None, limit: int | None) -> Query:
    now = datetime.now(UTC)
    query = Query(
        Collection.CAPTURES,
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
                "content": {**_CONTENT},
            },
            404: problem("Not deployed, or there is no such dataset"),
            422: problem("A time, a format or a limit that cannot be used"),
            503: problem("The registry, or the document store, does not answer"),
        },
    )(calls.get_dataset)
    routes.get(
        "/model/{name}/drifted_rows",
        summary="The captured rows that a report's drift comes from",
        response_class=Response,
        responses={
            200: {
                "description": "The rows",
                "content": {
                    "text/csv": {
                        "schema": {"type": "string"},
                        "example": "request_id,ts,row,drifted,bmi,prediction,label\n"
                        "7f1c,2026-01-31T11:59:00.000Z,0,bmi,38.2,211.4,\n",
                    }
                },
            },
            404: problem("Not deployed, no such report, or no column has drifted"),
            503: problem("The document store does not answer"),
        },
    )(calls.get_drifted_rows)
    return routes


async def _send(
    whose: str, source: Source, format: Format, stream: AsyncGenerator[bytes, None]
) -> Response:
    # The first part is read before the answer begins, so that an early failure is answered as a problem.
    try:
        first = await anext(stream, b"")
    except StoreUnavailable as error:
        raise _unavailable(error) from error
    except UnreadableData as error:
        raise NotFound(f"cannot send the dataset of {whose}: {error}") from error
    name = f"{whose}-{source}.{format}".replace(" ", "_")
    return _ClosingStream(
        _parts(whose, first, stream),
        headers={
            # Names have no quotes. Those of deployments are plain ASCII; an alias can have any letter.
            "Content-Disposition": f'attachment; filename="{_ODD.sub("_", name)}"',
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
    whose: str, first: bytes, stream: AsyncGenerator[bytes, None]
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
                "cannot send the rest of the dataset of %s: %s",
                whose,
                error or type(error).__name__,
            )
            raise _Broken(f"cannot send the rest of the dataset of {whose}") from error


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
