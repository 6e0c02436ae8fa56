"""Who may call what, and from where.

The gateway in front checks passwords too; this does not rely on it. Whatever is not in the table below is
forbidden, and a test compares the table with the routes that there are.
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

NO_PATH = "cannot find this path; /docs lists all there are"

#: Headers that say who asks, and whom.
_ONCE = (b"host", b"authorization", b"origin", b"sec-fetch-site")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Spellings of ``Host`` that are remembered as good.
_REMEMBERED = 256
_PORT = re.compile(r":[0-9]{1,5}\Z")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a route asks of its callers."""

    #: None lets everybody in.
    role: Role | None
    #: A GET that starts work, or takes one of few places, unless it asks for something by its ``id``: not
    #: from other sites' pages.
    works: bool = False


_ANYBODY, _CALLER, _OPERATOR = Policy(None), Policy(Role.CALLER), Policy(Role.OPERATOR)

#: By method and path as the routes have it. Callers predict and read; single rows that others have sent,
#: logs, and whatever changes something is for operators.
POLICIES: Mapping[tuple[str, str], Policy] = {
    ("GET", "/health"): _ANYBODY,
    ("GET", "/ready"): _CALLER,
    ("GET", "/version"): _CALLER,
    ("GET", "/metrics"): _CALLER,
    ("GET", "/get_model_list"): _CALLER,
    ("GET", "/get_model_version_list/{model}"): _CALLER,
    ("GET", "/get_deployed_models"): _CALLER,
    ("POST", "/deploy/{model}/{version}"): _OPERATOR,
    ("POST", "/undeploy/{name}"): _OPERATOR,
    ("GET", "/model/{name}"): _CALLER,
    ("GET", "/model/{name}/logs"): _OPERATOR,
    ("GET", "/model/{name}/events"): _CALLER,
    ("GET", "/model/{name}/metrics"): _CALLER,
    ("POST", "/model/{name}/set_new_metrics"): _OPERATOR,
    ("POST", "/model/{name}/feedback"): _CALLER,
    ("DELETE", "/model/{name}/captures"): _OPERATOR,
    ("GET", "/model/{name}/dataset"): _OPERATOR,
    ("GET", "/model/{name}/degradation_report"): Policy(Role.CALLER, works=True),
    ("GET", "/model/{name}/reports"): _CALLER,
    ("GET", "/compare/{model}"): _CALLER,
    ("POST", "/{name}"): _CALLER,
    ("POST", "/{name}/invocations"): _CALLER,
    ("GET", "/"): _CALLER,
    ("GET", "/dashboard"): _CALLER,
    ("GET", "/dashboard/events"): Policy(Role.CALLER, works=True),
    ("GET", "/dashboard/static/{file}"): _CALLER,
    ("GET", "/dashboard/registry"): _CALLER,
    ("GET", "/dashboard/registry/{model}"): _CALLER,
    ("GET", "/dashboard/deployments/{name}"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/charts"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/reports"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/columns"): Policy(Role.OPERATOR, works=True),
    ("GET", "/dashboard/compare/{model}"): _CALLER,
    ("GET", "/docs"): _CALLER,
    ("GET", "/docs/oauth2-redirect"): _CALLER,
    ("GET", "/redoc"): _CALLER,
    ("GET", "/openapi.json"): _CALLER,
    ("GET", "/static-offline-docs/{path:path}"): _CALLER,
}


#: First segments of paths that are no deployments.
_TAKEN = "|".join(
    sorted({re.escape(path.split("/")[1]) for _, path in POLICIES if path[1:2] not in ("", "{")})
)


def _pattern(template: str) -> re.Pattern[str]:
    pattern = compile_path(template)[0]
    if template.startswith("/{name}"):
        # Else the way of a prediction would seem to lead to every call of one segment.
        return re.compile(f"(?!/(?:{_TAKEN})(?:/|$)){pattern.pattern}")
    return pattern


_COMPILED = [
    (method, _pattern(template), policy) for (method, template), policy in POLICIES.items()
]


class Checks(Protocol):
    """Finds out who sends a request."""

    async def user(self, authorization: bytes | None) -> User | None:
        """Whose ``Authorization`` header that is; None if it proves nobody."""
        ...


class Access:
    """Lets requests in, or says why not."""

    def __init__(self, credentials: Checks, hosts: Collection[str] = ()) -> None:
        """With the users, and the names under which the controller is called.

        Args:
            hosts: besides ``localhost`` and addresses, which no other site can pretend to be.
        """
        self._credentials = credentials
        self._hosts = frozenset(host.lower() for host in hosts)
        self._good: set[bytes] = set()

    async def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Find out who calls, and note it in the scope. Whoever gets past here may predict.

        Raises:
            DoubleHeader: with two answers to one of these questions.
            Misdirected: by a name that is not ours, as in DNS rebinding.
            Unauthenticated: by nobody.
            CrossSite: a page of another site makes a browser do it.
        """
        if len(headers) != len(scope["headers"]):
            refuse_doubles([name for name, _ in scope["headers"]])
        self._check_host(headers.get(b"host", b""))
        user = await self._credentials.user(headers.get(b"authorization"))
        if user is None and not is_open(scope):
            raise Unauthenticated(
                "cannot do this without a user's name and password: send them with HTTP basic "
                "authentication (curl -u NAME), those that 'model-deployment users' has made"
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
                "cannot answer under the name in the Host header: add it to MODEL_DEPLOYMENT_ALLOWED_HOSTS "
                "if it is the controller's, or call it by its address"
            )
        if len(self._good) < _REMEMBERED:
            self._good.add(host)


def refuse_doubles(names: Sequence[bytes]) -> None:
    """Make sure that nobody in between has read another one of two headers than we do.

    Raises:
        DoubleHeader: one that matters here is there twice.
    """
    for name in _ONCE:
        if names.count(name) > 1:
            raise DoubleHeader(f"cannot take two {name.decode()} headers: send one")


def is_open(scope: Scope) -> bool:
    """Whether a request is for what everybody may call."""
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
    """Make sure that no page of another site is behind a request.

    Browsers send passwords along whichever page asks. They say which one does in ``Sec-Fetch-Site`` (W3C
    Fetch Metadata), or where they do not trust the connection in ``Origin`` only; other programs send
    neither.

    Raises:
        CrossSite: one is.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        good = site in (b"same-origin", b"none")
    else:
        origin = headers.get(b"origin")
        good = origin is None or _same(origin.decode("latin-1"), headers.get(b"host", b""))
    if not good:
        raise CrossSite(
            "cannot do this for a page of another site: only pages of this address may (Sec-Fetch-Site and "
            "Origin say which one asks)"
        )


def _same(origin: str, host: bytes) -> bool:
    """Whether an origin is the one that is called. Behind a gateway only that one knows the scheme."""
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
    """Make sure that the user of an admitted request may do what its route does.

    Raises:
        NotFound, MethodNotAllowed: no policy is for that.
        Forbidden: more rights are needed.
        CrossSite: a page of another site makes a browser do it.
    """
    found = policies(scope["path"])
    if not found:
        raise NotFound(NO_PATH)
    method = scope["method"]
    # Where a path could be two routes', the stricter one counts.
    asked = [policy for known, policy in found if known == ("GET" if method == "HEAD" else method)]
    if not asked:
        raise MethodNotAllowed(f"cannot {method} this path", {known for known, _ in found})
    user: User | None = scope[USER]
    for policy in asked:
        if policy.role is not None and (user is None or not user.may(policy.role)):
            raise Forbidden(f"cannot do this without the rights of the role {policy.role}")
        if policy.works and "id" not in parse_qs(scope["query_string"].decode("latin-1")):
            refuse_cross_site(dict(scope["headers"]))


def policies(path: str) -> list[tuple[str, Policy]]:
    """Methods and policies of the routes that a path may belong to."""
    return [(method, policy) for method, pattern, policy in _COMPILED if pattern.fullmatch(path)]
