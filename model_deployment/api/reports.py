"""The calls that make and show degradation reports."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from model_deployment.api.monitoring import STORE_AWAY, Since, Until, window
from model_deployment.api.names import Names
from model_deployment.api.parameters import KeyOrEndpoint
from model_deployment.api.problems import problem
from model_deployment.api.report_schemas import ReportOut, ReportRunningOut, ReportSummaryOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import NotFound
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import CapturedOn
from model_deployment.reports.service import Reporter

#: Restricts what the page of a report may do: the page contains values that callers have sent.
PAGE_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; font-src data:; "
    "frame-src 'self' data: blob:; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}


Format = Annotated[
    Literal["html", "json", "evidently"],
    Query(
        description="`html`: a page to keep. `evidently`: the page that Evidently makes of the same rows, "
        "which is kept for the newest 20 reports of a deployment."
    ),
]
Source = Annotated[
    CapturedOn,
    Query(
        description="Whose predictions the report is about: those of servers, or those of devices. Of "
        "devices, also of a version that is not deployed here."
    ),
]

_ONE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report",
        "model": ReportOut,
        "content": {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>…"}},
    },
    202: {
        "model": ReportRunningOut,
        "description": "Not finished yet; `Location` is the address of the report",
    },
    404: problem("Not deployed, or no such report"),
    503: STORE_AWAY,
}


def router(names: Names, reporter: Reporter) -> APIRouter:
    routes = APIRouter(tags=["monitoring"], route_class=StrictRoute)

    @routes.get(
        "/model/{name}/degradation_report",
        summary="A degradation report, new or stored",
        response_class=Response,
        responses=_ONE,
    )
    async def degradation_report(
        request: Request,
        name: KeyOrEndpoint,
        format: Format = "html",
        since: Since = "30d",
        until: Until = None,
        id: Annotated[
            str | None, Query(max_length=64, description="Id of a stored report.")
        ] = None,
        wait: Annotated[
            float, Query(ge=0, le=600, description="Seconds to wait for the report.")
        ] = 60.0,
        source: Source = CapturedOn.SERVERS,
    ) -> Response:
        """Of an endpoint: the report of the version that serves now."""
        key = await names.version(name, source)
        if id is None:
            id = reporter.begin(key, *window(since, until), source)
        made = await reporter.wait(key, id, wait) or await reporter.get(key, id)
        if made is None:
            if not reporter.is_running(key, id):
                raise NotFound(f"cannot find report {id!a} of {key}")
            return _running(request, key, id, format, source)
        if format == "json":
            return JSONResponse(_public(made, key))
        stored = _evidently if format == "evidently" else _own_page
        return _page(await stored(reporter, made), request.headers.get("accept-encoding", ""))

    @routes.get(
        "/model/{name}/reports",
        summary="Stored reports, with verdict and headline",
        response_model=list[ReportSummaryOut],
        responses={404: problem("Not deployed"), 503: STORE_AWAY},
    )
    async def reports(
        name: KeyOrEndpoint,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        source: Annotated[
            CapturedOn | None, Query(description="Only reports about predictions of these.")
        ] = None,
    ) -> Any:
        """Of an endpoint: the reports of the version that serves now."""
        key = await names.version(name, source or CapturedOn.SERVERS)
        found = await reporter.list(key, limit, source)
        return [ReportSummaryOut(**ReportSummaryOut.members(one, key.path)) for one in found]

    return routes


def _running(request: Request, key: ModelKey, id: str, format: str, source: CapturedOn) -> Response:
    path = key.path.replace("/", "/model/", 1)
    where = f"{path}/degradation_report?id={id}&format={format}"
    if source is not CapturedOn.SERVERS:
        where += f"&source={source}"
    return JSONResponse(
        {"id": id, "status": "running", "url": str(request.base_url).rstrip("/") + where},
        202,
        headers={"Location": where, "Retry-After": "5"},
    )


async def _own_page(reporter: Reporter, made: Mapping[str, Any]) -> bytes:
    """Compressed with gzip."""
    page = await reporter.page(made["_id"])
    if page is None:
        raise NotFound(
            f"cannot find a page of report {made['_id']!a}: its verdict is {made['verdict']}"
        )
    return page


async def _evidently(reporter: Reporter, made: Mapping[str, Any]) -> bytes:
    """Compressed with gzip."""
    html = await reporter.evidently(made["_id"])
    if html is None:
        raise NotFound(
            f"cannot find a page by Evidently of report {made['_id']!a}: no column could be compared, or "
            "the report is not among the newest 20, or an earlier release made it"
        )
    return await asyncio.to_thread(gzip.compress, html.encode(), 1)


def _public(made: Mapping[str, Any], key: ModelKey) -> dict[str, Any]:
    members = ReportOut.members(made, key.path)
    out = ReportOut(**members, model=key.model, version=key.version, report=made["report"])
    return out.model_dump(mode="json")


def _page(packed: bytes, accepted: str) -> Response:
    if "gzip" in accepted:
        return Response(
            packed,
            media_type="text/html; charset=utf-8",
            headers=PAGE_HEADERS | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
        )
    return Response(
        gzip.decompress(packed), media_type="text/html; charset=utf-8", headers=PAGE_HEADERS
    )
