"""Answers every error as ``application/problem+json`` (RFC 9457)."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from model_deployment.api.access import NO_PATH
from model_deployment.api.request_scope import REQUEST_ID, user_name
from model_deployment.api.validation_messages import describe_errors
from model_deployment.core.errors import (
    DiskFull,
    InvalidRequest,
    ModelDeploymentError,
    NotFound,
    Unavailable,
    problem_type,
)
from model_deployment.documents.base import DocumentRefused, StoreUnavailable
from model_deployment.log.masking import mask
from model_deployment.state.database import DatabaseError, is_full

_log = logging.getLogger(__name__)

_TITLES = {404: NotFound.title, 405: "Method not allowed"}


class Problem(BaseModel):
    """An error (RFC 9457, `application/problem+json`)."""

    type: str = Field(
        description="A URI that names the kind of problem, and stays: compare this, not the texts."
    )
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] = Field(default_factory=list)


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


#: The content of an error in the API's description; ``openapi.py`` adds the schema that it names.
PROBLEM_CONTENT = {ProblemResponse.media_type: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def problem(description: str) -> dict[str, Any]:
    """An error in the API's description.

    Not with the model of :class:`Problem`: FastAPI would build it anew for each error of each call, which
    took a fifth of the time in which a controller builds its calls.
    """
    return {"description": description, "content": dict(PROBLEM_CONTENT)}


def respond(
    error: ModelDeploymentError, headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    more = error.headers | dict(headers or {})
    return ProblemResponse(error.problem(), status_code=error.status, headers=more)


def install(app: FastAPI) -> None:
    """Have an application answer all errors as problems."""
    for kind in (ModelDeploymentError, DatabaseError, StoreUnavailable, DocumentRefused):
        app.add_exception_handler(kind, _on_known)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_known(request: Request, error: Exception) -> ProblemResponse:
    answer = _translate(error)
    if answer.status >= 500:
        level = logging.WARNING if answer is error else logging.ERROR
        what = answer.detail if answer is error else f"{answer.detail} ({error})"
        fields = {"request_id": request.scope.get(REQUEST_ID, ""), "user": user_name(request.scope)}
        _log.log(level, "%s %s: %s", request.method, request.url.path, what, extra=fields)
    return respond(answer)


def _translate(error: Exception) -> ModelDeploymentError:
    match error:
        case ModelDeploymentError():
            return error
        case DatabaseError() if is_full(error):
            return DiskFull(
                "cannot save this: the disk of the data directory is full. Nothing was changed; free "
                "some space, then try again"
            )
        case DatabaseError():
            return Unavailable(
                f"cannot use the state database now: {error}. Nothing was changed", retry_after=5
            )
        case StoreUnavailable():
            return Unavailable(
                f"cannot read or write the document store now: {mask(str(error))}. Predictions go on; "
                "captures wait in the spool",
                retry_after=5,
            )
        case _:
            return InvalidRequest(f"cannot store this: {error}")


async def _on_invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    field = getattr(request.scope.get("route"), "body_field", None)
    body = field.field_info.annotation if field is not None else None
    content = InvalidRequest("").problem() | describe_errors(error.errors(), body)
    return ProblemResponse(content, status_code=InvalidRequest.status)


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = {
        404: NO_PATH,
        405: f"cannot {request.method} this path",
    }.get(error.status_code, str(error.detail))
    title = _TITLES.get(error.status_code, "Request failed")
    return ProblemResponse(
        {
            "type": problem_type(title),
            "title": title,
            "status": error.status_code,
            "detail": detail,
        },
        status_code=error.status_code,
        headers=error.headers,
    )


async def _on_unexpected(request: Request, error: Exception) -> ProblemResponse:
    # Starlette raises the error again after this answer, and the server logs the trace.
    return respond(
        ModelDeploymentError("cannot answer: an internal error; the traceback is in the log")
    )
