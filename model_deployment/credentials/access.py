"""Who sends a request, and from where: the password, the ``Host`` header, and pages of other sites."""

import ipaddress
import re
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from model_deployment.core.errors import CrossSite, DoubleHeader, Misdirected, Unauthenticated
from model_deployment.core.users import User

Scope = MutableMapping[str, Any]

#: Key of the ASGI scope for the user: a :class:`~model_deployment.core.users.User`, or None.
USER = "model_deployment.user"

#: Headers that say who sends the request, and to whom.
_ONCE = (b"host", b"authorization", b"origin", b"sec-fetch-site")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Values of ``Host`` that are remembered as good.
_REMEMBERED = 256
_PORT = re.compile(r":[0-9]{1,5}\Z")


class Authenticator(Protocol):
    """Finds out who sends a request."""

    async def user(self, authorization: bytes | None) -> User | None:
        """The user whose password the ``Authorization`` header carries; None if it is not valid.

        Raises:
            Unauthenticated: it is not valid, and the error says why.
        """
        ...


class Access:
    """Authenticates requests, and checks the headers that say where they come from."""

    def __init__(
        self,
        credentials: Authenticator,
        hosts: Collection[str] = (),
        open_calls: Collection[tuple[str, str]] = (),
    ) -> None:
        """Create the check.

        Args:
            open_calls: methods, and regular expressions of the paths, of the calls that need no password.
            hosts: names of the controller besides ``localhost`` and IP addresses, which no other site can
                pretend to be.
        """
        self._credentials = credentials
        self._hosts = frozenset(host.lower() for host in hosts)
        self._open_calls = [(method, re.compile(path)) for method, path in open_calls]
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
        scope[USER] = await self._user(scope, headers)
        # A page may open a WebSocket to any site, which is not asked first (RFC 6455, section 10.2).
        if is_socket(scope) or scope["method"] not in _SAFE:
            refuse_cross_site(headers)

    async def _user(self, scope: Scope, headers: Mapping[bytes, bytes]) -> User | None:
        try:
            user = await self._credentials.user(headers.get(b"authorization"))
        except Unauthenticated:
            if not self._is_open(scope):
                raise
            return None
        if user is None and not self._is_open(scope):
            raise Unauthenticated(
                "cannot do this without a user name and a password: send them with HTTP basic "
                "authentication (curl -u NAME), or the password as a bearer token (OpenAI's clients: as "
                "api_key); 'model-deployment users add NAME' adds a user"
            )
        return user

    def _is_open(self, scope: Scope) -> bool:
        if is_socket(scope):
            return False
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = scope["path"]
        return any(method == one and pattern.fullmatch(path) for one, pattern in self._open_calls)

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


def is_socket(scope: Scope) -> bool:
    """Whether a request is the handshake of a WebSocket; such scopes have no method."""
    return bool(scope.get("type") == "websocket")


def refuse_repeated_headers(names: Sequence[bytes]) -> None:
    """Refuse a header that occurs twice: a gateway might have checked the other one.

    Raises:
        DoubleHeader: a header that is checked here occurs twice.
    """
    for name in _ONCE:
        if names.count(name) > 1:
            raise DoubleHeader(f"cannot accept two {name.decode()} headers: send one")


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
