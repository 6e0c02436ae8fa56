"""Which headers cross the proxy, and what the proxy reads in them. Pure.

Hop-by-hop headers end here, and so do those that ``Connection`` names (RFC 9110, section 7.6.1). A model
is code that anybody may have registered: it gets neither credentials nor what a gateway says of the caller,
and it sets no cookies for the controller's address.
"""

import os
import re
from collections.abc import Iterable, Mapping

from model_deployment.core.errors import UnsupportedMediaType
from model_deployment.worker.stream_frames import MEDIA_TYPE as EVENT_STREAM

RawHeader = tuple[bytes, bytes]

JSON = b"application/json"
CSV = b"text/csv"
PARQUET = b"application/vnd.apache.parquet"
#: What MLflow's model server reads.
MEDIA_TYPES = frozenset({JSON, CSV, PARQUET})

REQUEST_ID = b"x-request-id"
#: Names the version that answered.
VERSION = b"x-model-version"
#: Browsers must not guess the type of an answer.
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
#: Of a stream.
STREAM_TYPE = (b"content-type", EVENT_STREAM)
#: Of the last answer on a connection.
CLOSE = (b"connection", b"close")
_ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

_READ = (
    "models read application/json, text/csv and application/vnd.apache.parquet, each with "
    "charset=utf-8 or without parameters"
)
_FORM = "Since MLflow 2 the body names its own form: send %s with Content-Type: application/json"
_SPLIT = _FORM % '{"dataframe_split": {"columns": […], "data": […]}}'
_RECORDS = _FORM % '{"dataframe_records": [{…}, …]}'
#: What to send in place of what clients of MLflow 1 send, and curl by default.
_INSTEAD = {
    b"pandas-split": _SPLIT,
    b"application/json-numpy-split": _SPLIT,
    b"pandas-records": _RECORDS,
    b"application/x-www-form-urlencoded": "curl sends this unless told otherwise: for JSON, add "
    "-H 'Content-Type: application/json'",
}

#: Headers that concern one connection only.
HOP_BY_HOP = frozenset(
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
_NOT_FOR_MODELS = HOP_BY_HOP | {
    b"accept-encoding",  # the proxy reads answers
    b"authorization",
    b"cookie",
    b"content-length",  # written from the body that is really sent
    b"expect",
    b"forwarded",
    b"host",
    b"x-real-ip",
    REQUEST_ID,
}
#: What a model must not make a browser do with the controller's address.
_BROWSER_POLICY = {
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
    HOP_BY_HOP
    | _BROWSER_POLICY
    | {
        b"date",
        b"server",
        b"set-cookie",
        NO_SNIFFING[0],
        REQUEST_ID,
        VERSION,
    }
)


def to_model(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """The headers of a request that its model gets; names in lower case, as ASGI has them."""
    return [
        header
        for header in without(list(headers), _NOT_FOR_MODELS)
        if not header[0].startswith(b"x-forwarded-")
    ]


def for_upstream(
    headers: Iterable[RawHeader], request_id: bytes, media_type: bytes | None
) -> bytes:
    """The header lines of a request to a model.

    Args:
        media_type: the type of the body as MLflow spells it; None keeps the caller's headers.
    """
    kept = to_model(headers)
    if media_type is not None:
        kept = [header for header in kept if not header[0].startswith(b"content-")]
        kept.append((b"content-type", media_type))
    kept.append((REQUEST_ID, request_id))
    return b"".join([b"%b: %b\r\n" % header for header in kept])


def to_caller(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """The headers of an answer that its caller gets. Names are in lower case."""
    return without(list(headers), _NOT_FOR_CALLERS)


def is_json(headers: list[RawHeader]) -> bool:
    """Whether the headers of an answer say that it is uncompressed JSON."""
    named = dict(headers)
    media_type = named.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type == JSON and b"content-encoding" not in named


def is_event_stream(headers: list[RawHeader]) -> bool:
    """Whether the headers of an answer say that it is a stream of values."""
    return dict(headers).get(b"content-type", b"").startswith(EVENT_STREAM)


def without(headers: list[RawHeader], dropped: frozenset[bytes]) -> list[RawHeader]:
    """All headers but those dropped, and those that ``Connection`` names; names in lower case."""
    named = [value for name, value in headers if name == b"connection"]
    if named:
        dropped |= {token.strip().lower() for token in b",".join(named).split(b",")}
    return [header for header in headers if header[0] not in dropped]


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """The id that the caller gave the request, if it is acceptable; else a new one."""
    given = headers.get(REQUEST_ID)
    if given is not None and _ACCEPTABLE_ID.fullmatch(given):
        return given
    return os.urandom(16).hex().encode()


def media_type(headers: Mapping[bytes, bytes]) -> bytes:
    """The type of a body, in MLflow's spelling.

    Raises:
        UnsupportedMediaType: no model reads this type, or the body is compressed.
    """
    given = headers.get(b"content-type", b"")
    if given == JSON and b"content-encoding" not in headers:
        return JSON
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in (b"identity", b""):
        raise UnsupportedMediaType(
            f"cannot read a body that is compressed with {_shown(coding)}: send it without "
            f"Content-Encoding"
        )
    name, *parameters = [part.strip().lower() for part in given.split(b";")]
    for parameter in filter(None, parameters):
        _ensure_understood(parameter)
    if name not in MEDIA_TYPES:
        raise UnsupportedMediaType(_not_read(name))
    return name


def _ensure_understood(parameter: bytes) -> None:
    key, _, value = (part.strip(b'" ') for part in parameter.partition(b"="))
    if key == b"charset" and value in (b"utf-8", b"utf8"):
        return
    if key == b"charset":
        raise UnsupportedMediaType(
            f"cannot read the body: its charset is {_shown(value)}, but only utf-8 is accepted"
        )
    raise UnsupportedMediaType(
        f"cannot read the body: its Content-Type has {_shown(parameter)}, which is not accepted. "
        + _INSTEAD.get(value, f"Send it without that; {_READ}")
    )


def _not_read(name: bytes) -> str:
    what = (
        f"its Content-Type is {_shown(name)}, which no model reads"
        if name
        else "it has no Content-Type"
    )
    return f"cannot read the body: {what}. " + _INSTEAD.get(
        name, f"Send the body with its own media type; {_READ}"
    )


def _shown(value: bytes) -> str:
    return ascii(value[:80].decode("latin-1"))
