"""Calls of the controller over HTTP, with the standard library.

Proxies of the environment are not used and redirects are not followed: the token goes to the enrolled
address only.
Each call has a connection of its own, since calls are rare; a download keeps its own as long as it lasts.
"""

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from model_deployment_agent import __version__
from model_deployment_agent.errors import AgentError, ControllerRefused, TokenRejected, Unreachable

#: Seconds without a byte after which a call is given up.
TIMEOUT = 30.0
#: Bytes of an answer that is not a file.
MAX_ANSWER = 8 * 1024 * 1024
#: Answers that may be others a moment later.
_LATER = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the controller is, and how it is reached."""

    scheme: str
    host: str
    port: int
    #: What all paths begin with; empty or ``/…``.
    prefix: str

    @classmethod
    def of(cls, url: str, *, insecure: bool) -> "Address":
        """Read an address.

        Raises:
            AgentError: it is none, or is plain HTTP to another machine and that was not allowed.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise AgentError(f"cannot use the address {url[:200]!a}: {error}") from error
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.query
            or parts.username
        ):
            raise AgentError(
                f"cannot use the address {url[:200]!a}: it has to be like https://models.example.org"
            )
        if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
            raise AgentError(
                f"cannot use {url[:200]!a}: over plain http others on the way could read the token; "
                "use https, or say --insecure"
            )
        port = port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    @property
    def socket_url(self) -> str:
        """The address for WebSockets, without a path of ours."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.scheme == 'https' else 'ws'}://{host}:{self.port}{self.prefix}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its body."""

    status: int
    etag: str
    #: JSON.
    body: Any


class Controller:
    """The controller of a device. Methods block; they are for threads."""

    def __init__(self, address: Address, certificates: Path | None = None) -> None:
        """
        Args:
            certificates: those that the controller's is checked with; None or no such file: the system's.
        """
        self.address = address
        self._certificates = certificates
        self._tls: ssl.SSLContext | None = None
        self._open: set[http.client.HTTPConnection] = set()

    def abort(self) -> None:
        """Cut what is under way in other threads: their calls end as :class:`Unreachable`."""
        for connection in self._open.copy():
            with contextlib.suppress(OSError, AttributeError):  # it has no socket yet, or no more
                connection.sock.shutdown(socket.SHUT_RDWR)

    def tls(self) -> ssl.SSLContext | None:
        """How https is checked; None for http."""
        if self.address.scheme == "http":
            return None
        if self._tls is None:
            own = self._certificates if self._certificates and self._certificates.exists() else None
            self._tls = ssl.create_default_context(cafile=own)
        return self._tls

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send JSON, get JSON.

        Raises:
            Unreachable, TokenRejected, ControllerRefused: as the names say.
        """
        content = None if body is None else json.dumps(body).encode()
        more = {**(headers or {}), **({"Content-Type": "application/json"} if content else {})}
        with self.open(method, path, token=token, body=content, headers=more) as response:
            text = response.read(MAX_ANSWER + 1)
            if len(text) > MAX_ANSWER:
                raise Unreachable(
                    f"cannot read the answer of the controller: more than {MAX_ANSWER:,} bytes"
                )
            try:
                found = json.loads(text) if text else None
            except ValueError as error:
                raise Unreachable(
                    f"cannot read the answer of the controller to {path}: {error}"
                ) from error
            return Answer(response.status, response.headers.get("ETag", ""), found)

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a request whose body is read inside; 416 and 304 are answers, too.

        Raises:
            Unreachable, TokenRejected, ControllerRefused: as the names say; also while the body is read.
        """
        more = {"User-Agent": f"model-deployment-agent/{__version__}", **(headers or {})}
        if token:
            more["Authorization"] = f"Bearer {token}"
        try:
            with contextlib.closing(self._connection()) as connection, self._noted(connection):
                connection.request(method, self.address.prefix + path, body=body, headers=more)
                response = connection.getresponse()
                if response.status not in {200, 201, 202, 204, 206, 304, 416}:
                    raise _refusal(response, path)
                yield response
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"cannot reach the controller at {self.address.host}: {error!a:.200}"
            ) from error

    @contextlib.contextmanager
    def _noted(self, connection: http.client.HTTPConnection) -> Iterator[None]:
        self._open.add(connection)
        try:
            yield
        finally:
            self._open.discard(connection)

    def _connection(self) -> http.client.HTTPConnection:
        tls = self.tls()
        if tls is None:
            return http.client.HTTPConnection(self.address.host, self.address.port, timeout=TIMEOUT)
        return http.client.HTTPSConnection(
            self.address.host, self.address.port, timeout=TIMEOUT, context=tls
        )


def _refusal(response: http.client.HTTPResponse, path: str) -> AgentError:
    detail = ""
    with contextlib.suppress(ValueError, AttributeError, socket.timeout):
        detail = str(json.loads(response.read(65536)).get("detail", ""))[:500]
    text = f"the controller answered {response.status} to {path}" + (
        f": {detail}" if detail else ""
    )
    if response.status == 401:
        return TokenRejected(text)
    # A redirect is not followed: it may be that of a portal of the network, before somebody logs in.
    if response.status in _LATER or 300 <= response.status < 400:
        return Unreachable(text)
    return ControllerRefused(text, response.status)


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")
