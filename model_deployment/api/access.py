"""Checks who may call what, by the table in ``policies.py``: what is not there is refused."""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.routing import compile_path

from model_deployment.api.policies import POLICIES, SOCKET, RoutePolicy
from model_deployment.core.errors import (
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
    UpgradeRequired,
)
from model_deployment.core.names import RESERVED_NAMES
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER, is_socket, refuse_cross_site

Scope = MutableMapping[str, Any]

NO_PATH = "cannot find this path; /docs lists all paths"

#: First segments of paths that no deployment can have.
_TAKEN = "|".join(
    sorted({re.escape(path.split("/")[1]) for _, path in POLICIES if path[1:2] not in ("", "{")})
)
#: First segments of paths that no project can have.
_RESERVED = "|".join(map(re.escape, sorted(RESERVED_NAMES)))


def _pattern(template: str) -> re.Pattern[str]:
    pattern = compile_path(template)[0]
    if template.startswith("/{name}"):
        # Else every path of one segment would match the template of predictions.
        return re.compile(f"(?!/(?:{_TAKEN})(?:/|$)){pattern.pattern}")
    if template.startswith("/{project}"):
        # Else /v1/models, /model/events and the like would match it as well.
        return re.compile(f"(?!/(?i:{_RESERVED})(?:/|$)){pattern.pattern}")
    return pattern


#: Methods, and regular expressions of the paths, of calls that need no password. Proxies are started with
#: them.
OPEN_CALLS = frozenset(
    (method, _pattern(template).pattern)
    for (method, template), policy in POLICIES.items()
    if policy.role is None
)

#: The same, of calls that write the body to the disk as it comes.
STREAMED_CALLS = frozenset(
    (method, _pattern(template).pattern)
    for (method, template), policy in POLICIES.items()
    if policy.streams
)

_COMPILED = [
    (method, _pattern(template), policy) for (method, template), policy in POLICIES.items()
]


def authorise(scope: Scope) -> int | None:
    """Check that the user of an admitted request, or of the handshake of a WebSocket, may call its route.

    Returns:
        Bytes that its body may have, if there may be fewer than elsewhere.

    Raises:
        NotFound, MethodNotAllowed: there is no policy for the path or the method.
        Forbidden: the user has not the role of the route, or it belongs to another device or project.
        Unauthenticated: a socket needs the token of a device, and there is none.
        UpgradeRequired: the path is for WebSockets only.
        CrossSite: a page of another site made a browser send the request.
    """
    found = _matches(scope["path"])
    if not found:
        raise NotFound(NO_PATH)
    method = SOCKET if is_socket(scope) else scope["method"]
    wanted = SOCKET if _is_socket(found) and method == "GET" else method
    # A path that fits two templates has to pass both policies.
    matching = [one for one in found if one.method == ("GET" if wanted == "HEAD" else wanted)]
    if not matching:
        raise MethodNotAllowed(
            f"cannot {scope.get('method', 'open a WebSocket at')} this path",
            {"GET" if one.method == SOCKET else one.method for one in found},
        )
    user: User | None = scope[USER]
    for one in matching:
        _check_user(user, one)
        if one.policy.works and "id" not in parse_qs(scope["query_string"].decode("latin-1")):
            refuse_cross_site(dict(scope["headers"]))
    if wanted != method:
        raise UpgradeRequired(
            "cannot answer this request: this path is for WebSockets; send the handshake of RFC 6455 "
            "(GET with Upgrade: websocket)"
        )
    limits = [one.policy.max_body_bytes for one in matching]
    return min([limit for limit in limits if limit is not None], default=None)


def reads_body(scope: Scope) -> bool:
    """Whether the route of an authorised request reads the body as it comes."""
    found = [policy for method, policy in policies(scope["path"]) if method == scope["method"]]
    return bool(found) and all(policy.streams for policy in found)


def policies(path: str) -> list[tuple[str, RoutePolicy]]:
    """Methods and policies of the routes that a path may belong to."""
    return [(one.method, one.policy) for one in _matches(path)]


@dataclass(frozen=True, slots=True)
class _Match:
    """A route that a path may belong to."""

    method: str
    policy: RoutePolicy
    #: Values of the parameters in its path.
    values: Mapping[str, str]


def _matches(path: str) -> list[_Match]:
    return [
        _Match(method, policy, found.groupdict())
        for method, pattern, policy in _COMPILED
        if (found := pattern.fullmatch(path))
    ]


def _is_socket(found: Sequence[_Match]) -> bool:
    return all(one.method == SOCKET for one in found)


def _check_user(user: User | None, route: _Match) -> None:
    role = route.policy.role
    if role is None:
        return
    if user is None or not user.may(role):
        raise Forbidden(f"cannot do this: it needs the role {role}")
    if user.role is Role.DEVICE:
        # By name only: a number could be the name of one project and the id of another.
        if route.method == SOCKET:
            if route.values["client_id"].lower() != user.name.lower():
                raise Forbidden("cannot open this socket: the token is of another device")
        elif route.values["project"].lower() != user.project.lower():
            raise Forbidden("cannot do this: a device may call the paths of its own project only")
    elif route.method == SOCKET:
        what = "cannot open a socket: it needs the token of a device (Authorization: Bearer mdd_…)"
        raise Forbidden(what) if user.name else Unauthenticated(what)
