"""Every error as ``application/problem+json`` (RFC 9457), made in one place."""

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from model_deployment.api.access import NO_PATH
from model_deployment.api.request_scope import REQUEST_ID, user_name
from model_deployment.api.validation_messages import misfits
from model_deployment.core.errors import DiskFull, InvalidRequest, ModelDeploymentError, Unavailable
from model_deployment.documents.base import DocumentRefused, StoreUnavailable
from model_deployment.log.masking import mask
from model_deployment.state.database import DatabaseError, is_full

_log = logging.getLogger(__name__)

_TITLES = {404: "Not found", 405: "Method not allowed"}


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"


def respond(
    error: ModelDeploymentError, headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    """The answer to an error."""
    more = error.headers | dict(headers or {})
    return ProblemResponse(error.problem(), status_code=error.status, headers=more)


def install(app: FastAPI) -> None:
    """Make all errors of an application problems."""
    app.add_exception_handler(ModelDeploymentError, _on_ours)
    app.add_exception_handler(DatabaseError, _on_database)
    app.add_exception_handler(StoreUnavailable, _on_store)
    app.add_exception_handler(DocumentRefused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unexpected)


def _tell(request: Request, level: int, what: str) -> None:
    fields = {"request_id": request.scope.get(REQUEST_ID, ""), "user": user_name(request.scope)}
    _log.log(level, "%s %s: %s", request.method, request.url.path, what, extra=fields)


async def _on_ours(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, ModelDeploymentError)  # noqa: S101 - registered for this class
    if error.status >= 500:
        _tell(request, logging.WARNING, error.detail)
    return respond(error)


async def _on_database(request: Request, error: Exception) -> ProblemResponse:
    """The disk, not the request and not us: what was asked for was not noted, and may be asked again."""
    assert isinstance(error, DatabaseError)  # noqa: S101
    _tell(request, logging.ERROR, f"cannot use the state: {error}")
    if is_full(error):
        return respond(
            DiskFull(
                "cannot note this: the disk of the data directory is full. Nothing was changed; make "
                "room, and try again"
            )
        )
    return respond(
        Unavailable(
            f"cannot use the state database now: {error}. Nothing was changed",
            retry_after=5,
        )
    )


async def _on_store(request: Request, error: Exception) -> ProblemResponse:
    """Predictions go on without it, and captures wait in the spool."""
    _tell(request, logging.ERROR, f"document store: {error}")
    return respond(
        Unavailable(
            f"cannot read or write the document store now: {mask(str(error))}. Predictions go on, and what "
            "they capture waits for it",
            retry_after=5,
        )
    )


async def _on_refused(request: Request, error: Exception) -> ProblemResponse:
    return respond(InvalidRequest(f"cannot keep this: {error}"))


async def _on_invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    field = getattr(request.scope.get("route"), "body_field", None)
    body = field.field_info.annotation if field is not None else None
    problem = {"type": "about:blank", "title": "Invalid request", "status": 422}
    return ProblemResponse(problem | misfits(error.errors(), body), status_code=422)


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = {
        404: NO_PATH,
        405: f"cannot {request.method} this path",
    }.get(error.status_code, str(error.detail))
    return ProblemResponse(
        {
            "type": "about:blank",
            "title": _TITLES.get(error.status_code, "Request failed"),
            "status": error.status_code,
            "detail": detail,
        },
        status_code=error.status_code,
        headers=error.headers,
    )


async def _on_unexpected(request: Request, error: Exception) -> ProblemResponse:
    # Starlette raises it again after this answer, and the server writes the trace into the log.
    return respond(ModelDeploymentError("cannot answer: an error of ours; its trace is in the log"))
