"""The head of an answer to a caller."""

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time

from model_deployment.proxy.headers import RawHeader

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode()
    for status in range(200, 600)
}


@lru_cache(maxsize=1)
def date(now: int) -> RawHeader:
    """The header of answers that are sent in this second."""
    return b"date", formatdate(now, usegmt=True).encode()


def head(status: int, raw: Iterable[RawHeader], request_id: bytes, *, keep_alive: bool) -> bytes:
    """Status line and headers, with those that every answer has."""
    lines = [_STATUS_LINES[status]]
    for name, value in (date(int(time())), *raw):
        lines += (name, b": ", value, b"\r\n")
    lines += (b"x-request-id: ", request_id, b"\r\nx-content-type-options: nosniff\r\n")
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(lines)
