"""What a call does not know is refused, in its query and in its body: left out, it would go unnoticed."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from model_deployment.core.errors import IncompleteBody, InvalidRequest, UnsupportedMediaType
from model_deployment.gate import MalformedJson, loads

#: Bodies that say nothing, which a call that takes none may have.
_NOTHING = (b"", b"{}", b"null")


class StrictRoute(APIRoute):
    """A route that reads JSON, and refuses every other body."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """With a check before FastAPI, which takes a body of another kind for bytes, or for none."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            body = await request.body()
            if self.body_field is not None:
                _ensure_json(request, body)
            elif body.strip() not in _NOTHING:
                known = sorted(parameter.alias for parameter in self.dependant.query_params)
                takes = f"; in its query it takes {', '.join(known)}" if known else ""
                raise InvalidRequest(f"cannot use the body: this call takes none{takes}")
            return await handle(request)

        return checked


async def known_parameters_only(request: Request) -> None:
    """A dependency of all calls.

    Raises:
        InvalidRequest: naming one that is unknown, and those that are known.
    """
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = {parameter.alias for parameter in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            more = ", and options in a JSON body" if route.body_field is not None else ""
            raise InvalidRequest(f"cannot use the query parameter {name[:60]!a}: {takes}{more}")


def _ensure_json(request: Request, body: bytes) -> None:
    """Make sure that FastAPI will see all of a body.

    Raises:
        IncompleteBody: one is announced, and none came.
        UnsupportedMediaType: it is no JSON by its headers.
        InvalidRequest: it has a key twice, of which one would be lost.
    """
    if not body:
        if "transfer-encoding" in request.headers:
            raise IncompleteBody(
                "cannot use the request: its headers announce a body (Transfer-Encoding), and none came. "
                "Nothing was done; send it again, or without that header"
            )
        return
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise UnsupportedMediaType(
            f"cannot read a body that is packed with {coding[:40]!a}: send it without Content-Encoding"
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
        _ensure_unique(body)


def _ensure_unique(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_members)
    except UnicodeDecodeError:
        raise InvalidRequest("cannot use the body: it is no UTF-8 text") from None
    except (ValueError, RecursionError):
        return  # FastAPI says where


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"cannot use the body: it has the key {twice[:60]!a} twice")
    return members
