"""Fills templates and sends pages. Templates escape every value; headers allow only our own files."""

import contextlib
import gzip
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from model_deployment import __version__
from model_deployment.core.errors import InvalidRequest, ModelDeploymentError, NotDeployed
from model_deployment.core.names import ModelKey
from model_deployment.core.users import Role, User
from model_deployment.dashboard import device_text
from model_deployment.dashboard.device_rows import update_text
from model_deployment.degradation.page import render as report_page
from model_deployment.degradation.wording import verdict_words
from model_deployment.documents.base import StoreUnavailable
from model_deployment.log.masking import mask
from model_deployment.rendering import numbers
from model_deployment.state.database import DatabaseError

_log = logging.getLogger(__name__)

#: Browsers run and load only our own scripts and styles, and connect only to the controller.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Vary": "Accept-Encoding",
}
#: Seconds after which the browser reloads a page that was unavailable.
_RETRY_AFTER = 10
#: Bytes of the smallest answer that is worth compressing.
_MIN_COMPRESSED = 1400


class Pages:
    def __init__(self, identify: Callable[[Mapping[str, Any]], User | None]) -> None:
        """
        Args:
            identify: the user of a request, from its ASGI scope.
        """
        self._identify = identify
        self._environment = environment = Environment(
            loader=FileSystemLoader([Path(__file__).parent / "templates", report_page.FOLDER]),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,  # it looks at each file again for each row
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {
            "numbers": numbers,
            "verdicts": verdict_words,
            "dash": numbers.NONE,
            "update_text": update_text,
            "version": __version__,
        }
        environment.filters["astuple"] = astuple
        environment.filters["plain"] = device_text.plain
        environment.filters["value"] = device_text.value
        report_page.install(environment)
        environment.filters["segment"] = lambda text: quote(str(text), safe="@")

    def text(self, name: str, **values: Any) -> str:
        """A filled template."""
        return self._environment.get_template(f"{name}.html.jinja").render(values)

    def is_operator(self, request: Request) -> bool:
        """Whether the user of a request may deploy."""
        user = self._identify(request.scope)
        return user is not None and user.may(Role.OPERATOR)

    def send(
        self,
        request: Request,
        name: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """A page, or a part of one, as the user of the request may see it."""
        user = self._identify(request.scope)
        text = self.text(
            name,
            user=user.name if user else "",
            operator=self.is_operator(request),
            **values,
        )
        more = {**_PAGE_HEADERS, **(headers or {})}
        return compressed(request, text.encode(), "text/html; charset=utf-8", status, more)

    def router(self, *, part: bool = False) -> APIRouter:
        """For routes whose errors are pages too.

        Args:
            part: the routes, and so their errors, are parts of a page. No header would tell: without
                HTTPS, browsers send no ``Sec-Fetch-Dest``.
        """
        pages = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def handled(request: Request) -> Response:
                    try:
                        return await handle(request)
                    except (HTTPException, RequestValidationError):
                        raise  # the API's own handlers answer these
                    except Exception as error:
                        return pages.problem(request, error, part=part)

                return handled

        return APIRouter(route_class=PageRoute, include_in_schema=False)

    def problem(self, request: Request, error: Exception, *, part: bool = False) -> Response:
        """An error as a page, or as a part of a page."""
        status, title, detail = _describe(request, error)
        more = error.headers if isinstance(error, ModelDeploymentError) else {}
        # What is unavailable comes back: the page reloads itself.
        again = int(more.get("Retry-After", _RETRY_AFTER)) if status == 503 else 0
        return self.send(
            request,
            "part_error" if part else "error",
            status,
            more,
            title=title,
            detail=detail,
            again=again,
            at="",
            model=_model_without(error, request),
        )

    def problem_page(self, request: Request, status: int, title: str, detail: str) -> Response:
        """An error that the API has described already, as a page."""
        return self.send(
            request, "error", status, title=title, detail=detail, again=0, at="", model=""
        )


def _model_without(error: Exception, request: Request) -> str:
    """The model whose version, named by the path, is not deployed; else empty."""
    if not isinstance(error, NotDeployed):
        return ""
    with contextlib.suppress(InvalidRequest, NotDeployed):
        return ModelKey.parse(request.path_params.get("name", "")).model
    return ""


def _describe(request: Request, error: Exception) -> tuple[int, str, str]:
    """Status, title and text of an error. Errors that the caller cannot correct are logged."""
    path = request.url.path
    if isinstance(error, ModelDeploymentError):
        return error.status, error.title, error.detail
    if isinstance(error, StoreUnavailable | DatabaseError):
        store = "document store" if isinstance(error, StoreUnavailable) else "state database"
        _log.error("%s %s: %s: %s", request.method, path, store, error)
        return 503, "Unavailable", f"cannot read the {store} now: {mask(str(error))}"
    _log.error("%s %s: cannot make this page", request.method, path, exc_info=error)
    detail = "cannot make this page: an internal error; the controller's log has the details"
    return 500, "Internal error", detail


def compressed(
    request: Request,
    content: bytes,
    media_type: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer, gzipped if the client accepts that."""
    more = dict(headers or {})
    if len(content) >= _MIN_COMPRESSED and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, 5, mtime=0)
        more["Content-Encoding"] = "gzip"
    return Response(content, status, more, media_type)
