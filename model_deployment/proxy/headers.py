"""Which headers cross the proxy. Pure.

Hop-by-hop headers end here, and so do those that ``Connection`` names (RFC 9110, section 7.6.1).
Credentials and what a gateway says of the caller are no business of a model, which is code that
somebody registered; and a model sets no cookies for the controller's address.
"""

from collections.abc import Iterable

Raw = tuple[bytes, bytes]

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
    b"authorization",
    b"cookie",
    b"content-length",  # written anew, from the body that is really sent
    b"expect",
    b"forwarded",
    b"host",
    b"x-real-ip",
}
_NOT_FOR_CALLERS = _HOP_BY_HOP | {b"date", b"server", b"set-cookie"}


def to_model(headers: Iterable[Raw]) -> list[tuple[str, str]]:
    """What of a request's headers (names in lower case, as ASGI has them) is passed on."""
    kept = _without(list(headers), _NOT_FOR_MODELS)
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in kept
        if not name.startswith(b"x-forwarded-")
    ]


def to_caller(headers: Iterable[Raw]) -> list[Raw]:
    """What of an answer's headers is passed back."""
    return _without([(name.lower(), value) for name, value in headers], _NOT_FOR_CALLERS)


def _without(headers: list[Raw], dropped: frozenset[bytes]) -> list[Raw]:
    named = [value for name, value in headers if name == b"connection"]
    if named:
        dropped |= {token.strip().lower() for token in b",".join(named).split(b",")}
    return [header for header in headers if header[0] not in dropped]


def content_length(headers: Iterable[Raw]) -> int | None:
    """The declared length of a body in bytes; None if there is none, or no number."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else None
    return None
