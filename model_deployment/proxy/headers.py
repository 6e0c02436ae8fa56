"""Which headers cross the proxy, and what it reads in them. Pure.

Hop-by-hop headers end here, and so do those that ``Connection`` names (RFC 9110, section 7.6.1).
Credentials and what a gateway says of the caller are no business of a model, which is code that
somebody registered; and a model sets no cookies for the controller's address.
"""

import os
import re
from collections.abc import Iterable, Mapping

from model_deployment.errors import UnsupportedMediaType

Raw = tuple[bytes, bytes]

JSON = b"application/json"
CSV = b"text/csv"
PARQUET = b"application/vnd.apache.parquet"
#: What MLflow's model server reads.
MEDIA_TYPES = frozenset({JSON, CSV, PARQUET})

REQUEST_ID = b"x-request-id"
#: Whatever a model says that its answer is, browsers are not to guess.
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
#: Of the last answer on a connection.
LAST = ((b"connection", b"close"),)
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_FOR_MODELS = _HOP_BY_HOP | {
    b"accept-encoding",  # answers are looked into
    b"authorization",
    b"cookie",
    b"content-length",  # written anew, from the body that is really sent
    b"expect",
    b"forwarded",
    b"host",
    b"x-real-ip",
    REQUEST_ID,
}
#: What a model must not make a browser do with the controller's address.
_STEERING = {
    b"access-control-allow-origin",
    b"access-control-allow-credentials",
    b"alt-svc",
    b"clear-site-data",
    b"content-security-policy",
    b"refresh",
    b"strict-transport-security",
    b"www-authenticate",
}
_NOT_FOR_CALLERS = (
    _HOP_BY_HOP
    | _STEERING
    | {
        b"date",
        b"server",
        b"set-cookie",
        NO_SNIFFING[0],
        REQUEST_ID,
    }
)


def to_model(headers: Iterable[Raw]) -> list[tuple[str, str]]:
    """What of a request's headers (names in lower case, as ASGI has them) is passed on."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in _without(list(headers), _NOT_FOR_MODELS)
        if not name.startswith(b"x-forwarded-")
    ]


def of_question(
    headers: Iterable[Raw], request_id: bytes, media_type: bytes | None
) -> list[tuple[str, str]]:
    """All that is sent to a model with a body.

    Args:
        media_type: the type as MLflow spells it; None leaves it to the caller.
    """
    kept = to_model(headers)
    if media_type is not None:
        kept = [header for header in kept if not header[0].startswith("content-")]
        kept.append(("content-type", media_type.decode("ascii")))
    return [*kept, ("x-request-id", request_id.decode("ascii"))]


def to_caller(headers: Iterable[Raw]) -> list[Raw]:
    """What of an answer's headers is passed back."""
    return _without([(name.lower(), value) for name, value in headers], _NOT_FOR_CALLERS)


def _without(headers: list[Raw], dropped: frozenset[bytes]) -> list[Raw]:
    named = [value for name, value in headers if name == b"connection"]
    if named:
        dropped |= {token.strip().lower() for token in b",".join(named).split(b",")}
    return [header for header in headers if header[0] not in dropped]


def content_length(headers: Mapping[bytes, bytes]) -> int | None:
    """The declared length of a body in bytes; None if there is none, or no number."""
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 20 else None


def announces_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request has a body (RFC 9112, section 6.3)."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """The caller's own name of a request if it is a sane one, else a new one."""
    given = headers.get(REQUEST_ID)
    if given is not None and _SANE_ID.fullmatch(given):
        return given
    return os.urandom(16).hex().encode()


def media_type(headers: Mapping[bytes, bytes]) -> bytes:
    """Of which kind a body is, in MLflow's spelling.

    Raises:
        UnsupportedMediaType: of one that no model reads, or packed.
    """
    given = headers.get(b"content-type", b"")
    if given == JSON and b"content-encoding" not in headers:
        return JSON
    name, *parameters = [part.strip().lower() for part in given.split(b";")]
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise UnsupportedMediaType("cannot read a packed body: send it without Content-Encoding")
    for parameter in filter(None, parameters):
        key, _, value = parameter.partition(b"=")
        if key.strip() != b"charset" or value.strip(b'" ') not in (b"utf-8", b"utf8"):
            raise UnsupportedMediaType("cannot read the body: only charset=utf-8 is understood")
    if name not in MEDIA_TYPES:
        raise UnsupportedMediaType(
            "cannot tell what the body is: send it with Content-Type application/json, text/csv or "
            "application/vnd.apache.parquet"
        )
    return name
