"""The handshake of a WebSocket (RFC 6455, section 4.2.1). Pure."""

import re
from collections.abc import Sequence

#: 16 bytes in base64: the last character has the 2 bits that are left.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_VERSION = b"13"


def is_handshake(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request is a valid handshake.

    Args:
        version: of HTTP.
        headers: with names in lower case.
    """
    if method != b"GET" or version != "1.1":
        return False
    names = [name for name, _ in headers]
    if b"transfer-encoding" in names or _values(headers, b"content-length") not in ([], [b"0"]):
        return False
    keys = _values(headers, b"sec-websocket-key")
    return (
        b"websocket" in _tokens(headers, b"upgrade")
        and b"upgrade" in _tokens(headers, b"connection")
        and _values(headers, b"sec-websocket-version") == [_VERSION]
        and len(keys) == 1
        and _KEY.fullmatch(keys[0]) is not None
    )


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value.strip() for found, value in headers if found == name]


def _tokens(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [part.strip().lower() for part in b",".join(_values(headers, name)).split(b",")]
