"""Bytes to the gateway as they are, many at a time: no HTTP client writes what is tested here."""

import asyncio
import contextlib
import re

from tests.support.nginx_gateway import AS, Gateway
from tests.support.stubs import HOST

_STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3}) ", re.MULTILINE)


async def send(gateway: Gateway, *pieces: bytes, timeout: float = 15) -> bytes:
    """Send pieces on one connection, and read until the gateway closes it."""
    reader, writer = await asyncio.open_connection(HOST, gateway.port)
    try:
        for piece in pieces:
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
        async with asyncio.timeout(timeout):
            return await _all(reader)
    finally:
        writer.close()


async def _all(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            answer += piece
    return answer


def statuses(answer: bytes) -> list[int]:
    """Of all answers on a connection; 0 where there is none but bytes (HTTP/0.9)."""
    return [int(found) for found in _STATUS.findall(answer)] or ([0] if answer else [])


def head(method: str, target: str, who: str | None = "operator", more: str = "") -> bytes:
    """The head of a request after which the connection closes, in Latin-1."""
    authorization = f"Authorization: {AS[who]['Authorization']}\r\n" if who else ""
    text = (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\n{authorization}{more}Connection: close\r\n\r\n"
    )
    return text.encode("latin-1")
