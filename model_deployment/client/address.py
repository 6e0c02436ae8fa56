"""Where a controller is, and as whom to ask it, from what users write."""

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from model_deployment.client.errors import BadAddress

DEFAULT_PORT = 8000
_SCHEMES = {"http": "http", "https": "https", "model-deployment": "http"}
#: What listens everywhere is asked on this machine.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Address:
    """A controller, or the gateway in front of it."""

    url: str
    user: str = ""
    password: str = ""
    #: On this machine: no HTTP proxy of the site lies between.
    loopback: bool = False

    def __repr__(self) -> str:
        return f"Address({self.url!r}, user={self.user!r})"


def address(url: str = "", user: str = "", password: str = "") -> Address:
    """Read an address.

    Args:
        url: such as ``http://host:8000``, ``host:8000``, ``host``, ``:8000``, ``[::1]:8000``, or a page of
            the dashboard. Without a scheme it is ``http``; with neither scheme nor port, the port is 8000.
            May contain user and password (``https://ann:secret@host``). Default: ``MODEL_DEPLOYMENT_URL``,
            else ``http://127.0.0.1:8000``.
        user, password: default: those of the address, else ``MODEL_DEPLOYMENT_USER`` and ``_PASSWORD``.

    Raises:
        BadAddress: the text is no address.
    """
    text = (url or os.environ.get("MODEL_DEPLOYMENT_URL", "")).strip() or "http://127.0.0.1:8000"
    parts = _parts(text)
    host = _EVERYWHERE.get(parts.hostname or "", parts.hostname or "127.0.0.1")
    given_scheme, _, _ = text.partition("://")
    plain = "://" not in text or given_scheme.lower() == "model-deployment"
    port = parts.port if parts.port is not None else DEFAULT_PORT if plain else None
    shown = f"[{host}]" if ":" in host else host
    path = parts.path.partition("/dashboard")[0].rstrip("/")
    own_user = user or unquote(parts.username or "") or os.environ.get("MODEL_DEPLOYMENT_USER", "")
    own_password = (
        password or unquote(parts.password or "") or os.environ.get("MODEL_DEPLOYMENT_PASSWORD", "")
    )
    return Address(
        f"{_SCHEMES[parts.scheme]}://{shown}{'' if port is None else f':{port}'}{path}",
        own_user,
        own_password if own_user else "",
        _is_loopback(host),
    )


def _parts(text: str) -> SplitResult:
    whole = text if "://" in text else f"http://{_bracketed(text)}"
    try:
        parts = urlsplit(whole)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise _bad(text, str(error)) from error
    if parts.scheme not in _SCHEMES:
        raise _bad(text, f"the scheme {parts.scheme!r} is neither http nor https")
    if not host and port is None:
        raise _bad(text, "it names no host")
    if any(character.isspace() or character in "\\<>\"'" for character in host or ""):
        raise _bad(text, "the host has characters that no host has")
    return parts


def _bracketed(text: str) -> str:
    """An IPv6 address in brackets, which keep its colons apart from that of a port."""
    try:
        return f"[{ipaddress.IPv6Address(text)}]"
    except ValueError:
        return text


def _bad(text: str, why: str) -> BadAddress:
    shown = text.rpartition("@")[2]  # without the password
    return BadAddress(
        f"cannot use {shown!r} as the address of a controller: {why}. Write it like "
        "http://127.0.0.1:8000, or http://[::1]:8000"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
