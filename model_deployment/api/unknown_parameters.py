"""Refuses what a call would not read: unknown query parameters, and bodies that are not its JSON."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRoute

from model_deployment.core.errors import IncompleteBody, InvalidRequest, UnsupportedMediaType
from model_deployment.gate import MalformedJson, loads

#: Bodies that a call without a body accepts.
_EMPTY = (b"", b"{}", b"null")


class StrictRoute(APIRoute):
    """A route that reads JSON and refuses every other body."""

    #: Whether a key that occurs twice is refused here; if not, the call looks at the body itself.
    unique_keys = True

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Check the body before FastAPI, which would ignore a body of another type."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            body = await request.body()
            if self.body_field is not None:
                _ensure_json(request, body, unique_keys=self.unique_keys)
            elif body.strip() not in _EMPTY:
                known = sorted(parameter.alias for parameter in self.dependant.query_params)
                takes = f"; query parameters are {', '.join(known)}" if known else ""
                raise InvalidRequest(f"cannot use the body: this call takes no body{takes}")
            return await handle(request)

        return checked


async def known_parameters_only(request: HTTPConnection) -> None:
    """Refuse a query parameter that the call does not have; a dependency of all calls, and of WebSockets.

    Raises:
        InvalidRequest: with the unknown parameter and the known ones.
    """
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = {parameter.alias for parameter in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            takes = f"the call takes {', '.join(sorted(known))}" if known else "the call takes none"
            more = "; options belong in a JSON body" if route.body_field is not None else ""
            raise InvalidRequest(f"cannot use the query parameter {name[:60]!a}: {takes}{more}")


def _ensure_json(request: Request, body: bytes, *, unique_keys: bool) -> None:
    """Refuse a body of which FastAPI would ignore something.

    Raises:
        IncompleteBody: the headers announce a body, and none came.
        UnsupportedMediaType: the headers name another type than JSON, or a compression.
        InvalidRequest: a key occurs twice, the text is not UTF-8, or it is nested too deeply to be read.
    """
    if not body:
        if "transfer-encoding" in request.headers:
            raise IncompleteBody(
                "cannot use the request: its headers announce a body (Transfer-Encoding), but no body "
                "arrived. Nothing was done; send the request again, or omit that header"
            )
        return
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise UnsupportedMediaType(
            f"cannot read a body compressed with {coding[:40]!a}: send it without Content-Encoding"
        )
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        what = f"its Content-Type is {given[:80]!a}" if given else "it has no Content-Type"
        raise UnsupportedMediaType(
            f"cannot read the body: {what}. Send JSON, with Content-Type: application/json"
        )
    try:
        loads(body)
    except MalformedJson:
        _ensure_readable(body, _members if unique_keys else dict)


def _ensure_readable(body: bytes, members: Callable[[list[tuple[str, Any]]], Any]) -> None:
    try:
        json.loads(body, object_pairs_hook=members)
    except UnicodeDecodeError:
        raise InvalidRequest("cannot use the body: it is not UTF-8") from None
    except RecursionError:
        raise InvalidRequest(
            "cannot use the body: it is nested too deeply to be read; send fewer levels"
        ) from None
    except ValueError:
        return  # FastAPI names the place


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"cannot use the body: the key {twice[:60]!a} occurs twice")
    return members
