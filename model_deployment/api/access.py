"""Who may call what, and from where.

A request whose path is not in ``POLICIES`` is refused. The gateway in front has the same table, written by
``make docs`` (``nginx/routes.conf``), and checks passwords too; the controller does not rely on it.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.routing import compile_path

from model_deployment.api.request_scope import USER
from model_deployment.core.domain import Role, User
from model_deployment.core.errors import (
    CrossSite,
    DoubleHeader,
    Forbidden,
    MethodNotAllowed,
    Misdirected,
    NotFound,
    Unauthenticated,
)

Scope = MutableMapping[str, Any]

NO_PATH = "cannot find this path; /docs lists all paths"

#: Headers that say who sends the request, and to whom.
_ONCE = (b"host", b"authorization", b"origin", b"sec-fetch-site")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Values of ``Host`` that are remembered as good.
_REMEMBERED = 256
_PORT = re.compile(r":[0-9]{1,5}\Z")


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """Who may call a route."""

    #: None: no password is needed.
    role: Role | None
    #: A GET that starts work or takes one of few places, unless its query names an ``id``: pages of other
    #: sites may not send it.
    works: bool = False
    #: The location of ``nginx/gateway.conf`` that passes the request on. Default: that of the role.
    location: str = ""

    @property
    def handler(self) -> str:
        return self.location or (str(self.role) if self.role else "anyone")


_ANYONE = RoutePolicy(None)
_CALLER = RoutePolicy(Role.CALLER)
_OPERATOR = RoutePolicy(Role.OPERATOR)
_DEPLOY = RoutePolicy(Role.OPERATOR, location="deploy")

#: By method and path template. Callers predict and read. Operators also see logs and single rows of other
#: callers, and may change something.
POLICIES: Mapping[tuple[str, str], RoutePolicy] = {
    ("POST", "/{name}"): _CALLER,
    ("POST", "/{name}/invocations"): _CALLER,
    ("GET", "/health"): _ANYONE,
    ("GET", "/ready"): _CALLER,
    ("GET", "/version"): _CALLER,
    ("GET", "/metrics"): _CALLER,
    ("GET", "/get_model_list"): _CALLER,
    ("GET", "/get_model_version_list/{model}"): _CALLER,
    ("GET", "/get_deployed_models"): _CALLER,
    ("POST", "/deploy/{model}/{version}"): _DEPLOY,
    ("POST", "/undeploy/{name}"): _DEPLOY,
    ("GET", "/model/{name}"): _CALLER,
    ("GET", "/model/{name}/logs"): _OPERATOR,
    ("GET", "/model/{name}/events"): _CALLER,
    ("GET", "/model/{name}/metrics"): _CALLER,
    ("POST", "/model/{name}/set_new_metrics"): _OPERATOR,
    ("POST", "/model/{name}/feedback"): _CALLER,
    ("DELETE", "/model/{name}/captures"): _OPERATOR,
    ("GET", "/model/{name}/dataset"): RoutePolicy(Role.OPERATOR, location="dataset"),
    ("GET", "/model/{name}/degradation_report"): RoutePolicy(
        Role.CALLER, works=True, location="report"
    ),
    ("GET", "/model/{name}/reports"): RoutePolicy(Role.CALLER, location="report"),
    ("GET", "/compare/{model}"): _CALLER,
    ("GET", "/"): _CALLER,
    ("GET", "/dashboard"): _CALLER,
    ("GET", "/dashboard/events"): RoutePolicy(Role.CALLER, works=True),
    ("GET", "/dashboard/static/{file}"): _CALLER,
    ("GET", "/dashboard/registry"): _CALLER,
    ("GET", "/dashboard/registry/{model}"): _CALLER,
    ("GET", "/dashboard/deployments/{name}"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/charts"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/reports"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/columns"): RoutePolicy(Role.OPERATOR, works=True),
    ("GET", "/dashboard/compare/{model}"): _CALLER,
    ("GET", "/docs"): _CALLER,
    ("GET", "/docs/oauth2-redirect"): _CALLER,
    ("GET", "/redoc"): _CALLER,
    ("GET", "/openapi.json"): _CALLER,
    ("GET", "/static-offline-docs/{path:path}"): _CALLER,
}


#: First segments of paths that no deployment can have.
_TAKEN = "|".join(
    sorted({re.escape(path.split("/")[1]) for _, path in POLICIES if path[1:2] not in ("", "{")})
)


def _pattern(template: str) -> re.Pattern[str]:
    pattern = compile_path(template)[0]
    if template.startswith("/{name}"):
        # Else every path of one segment would match the template of predictions.
        return re.compile(f"(?!/(?:{_TAKEN})(?:/|$)){pattern.pattern}")
    return pattern


_COMPILED = [
    (method, _pattern(template), policy) for (method, template), policy in POLICIES.items()
]


class Authenticator(Protocol):
    """Finds out who sends a request."""

    async def user(self, authorization: bytes | None) -> User | None:
        """The user whose password the ``Authorization`` header carries; None if it is not valid."""
        ...


class Access:
    """Authenticates requests, and checks the headers that say where they come from."""

    def __init__(self, credentials: Authenticator, hosts: Collection[str] = ()) -> None:
        """Create the check.

        Args:
            hosts: names of the controller besides ``localhost`` and IP addresses, which no other site can
                pretend to be.
        """
        self._credentials = credentials
        self._hosts = frozenset(host.lower() for host in hosts)
        self._good: set[bytes] = set()

    async def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Put the user into the scope. An admitted request may predict.

        Raises:
            DoubleHeader: a header that is checked here occurs twice.
            Misdirected: ``Host`` is not a name of the controller, as in DNS rebinding.
            Unauthenticated: no valid name and password.
            CrossSite: a page of another site made a browser send the request.
        """
        if len(headers) != len(scope["headers"]):
            refuse_repeated_headers([name for name, _ in scope["headers"]])
        self._check_host(headers.get(b"host", b""))
        user = await self._credentials.user(headers.get(b"authorization"))
        if user is None and not is_open(scope):
            raise Unauthenticated(
                "cannot do this without a user name and a password: send them with HTTP basic "
                "authentication (curl -u NAME); 'model-deployment users add NAME' adds a user"
            )
        scope[USER] = user
        if scope["method"] not in _SAFE:
            refuse_cross_site(headers)

    def _check_host(self, host: bytes) -> None:
        if host in self._good:
            return
        text = host.decode("latin-1").lower()
        if not is_ours(text, self._hosts):
            raise Misdirected(
                "cannot answer under the name in the Host header: it is not a known name of this "
                "controller; call the controller by its IP address, or add the name to "
                "MODEL_DEPLOYMENT_ALLOWED_HOSTS"
            )
        if len(self._good) < _REMEMBERED:
            self._good.add(host)


def refuse_repeated_headers(names: Sequence[bytes]) -> None:
    """Refuse a header that occurs twice: a gateway might have checked the other one.

    Raises:
        DoubleHeader: a header that is checked here occurs twice.
    """
    for name in _ONCE:
        if names.count(name) > 1:
            raise DoubleHeader(f"cannot accept two {name.decode()} headers: send one")


def is_open(scope: Scope) -> bool:
    """Whether the route of a request needs no password."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    policy = POLICIES.get((method, scope["path"]))
    return policy is not None and policy.role is None


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` (RFC 9110, section 7.2), in lower case, is a name of this controller."""
    name = _PORT.sub("", host)
    if name == "localhost" or name.removesuffix(".") in names:
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") else name)
    except ValueError:
        return False
    return True


def refuse_cross_site(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a request that a page of another site made a browser send.

    Browsers send stored passwords with the requests of any page. ``Sec-Fetch-Site`` (W3C Fetch Metadata)
    says which site the page is from, or only ``Origin`` where the browser does not trust the connection;
    other programs send neither.

    Raises:
        CrossSite: the page is of another site.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        good = site in (b"same-origin", b"none")
    else:
        origin = headers.get(b"origin")
        good = origin is None or _is_origin(origin.decode("latin-1"), headers.get(b"host", b""))
    if not good:
        raise CrossSite(
            "cannot accept a request from a page of another site: only the controller's own pages may "
            "make such requests (the browser names the site in Sec-Fetch-Site or Origin)"
        )


def _is_origin(origin: str, host: bytes) -> bool:
    """Whether an origin is the called one. The scheme is not compared: only the gateway knows it."""
    try:
        parts = urlsplit(origin)
        port = {"http": ":80", "https": ":443"}.get(parts.scheme)
    except ValueError:
        return False
    if port is None or parts.path or parts.query or parts.fragment:
        return False
    return parts.netloc.lower().removesuffix(port) == host.decode("latin-1").lower().removesuffix(
        port
    )


def authorise(scope: Scope) -> None:
    """Check that the user of an admitted request may call its route.

    Raises:
        NotFound, MethodNotAllowed: there is no policy for the path or the method.
        Forbidden: the user has not the role that the route needs.
        CrossSite: a page of another site made a browser send the request.
    """
    found = policies(scope["path"])
    if not found:
        raise NotFound(NO_PATH)
    method = scope["method"]
    # A path that fits two templates has to pass both policies.
    matching = [
        policy for known, policy in found if known == ("GET" if method == "HEAD" else method)
    ]
    if not matching:
        raise MethodNotAllowed(f"cannot {method} this path", {known for known, _ in found})
    user: User | None = scope[USER]
    for policy in matching:
        if policy.role is not None and (user is None or not user.may(policy.role)):
            raise Forbidden(f"cannot do this: it needs the role {policy.role}")
        if policy.works and "id" not in parse_qs(scope["query_string"].decode("latin-1")):
            refuse_cross_site(dict(scope["headers"]))


def policies(path: str) -> list[tuple[str, RoutePolicy]]:
    """Methods and policies of the routes that a path may belong to."""
    return [(method, policy) for method, pattern, policy in _COMPILED if pattern.fullmatch(path)]
