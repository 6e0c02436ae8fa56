"""WebSockets that are opened by hand, and their frames byte by byte."""

import asyncio
import struct
from collections.abc import Awaitable, Callable

from tests.support.raw_http import Wire
from tests.support.socket_front import SocketFront, handshake

#: Makes a proxy with a controller; its arguments are those of :class:`SocketFront`.
Fronts = Callable[..., Awaitable[SocketFront]]


async def opened(front: SocketFront, **changes: str) -> Wire:
    """A tunnel, opened by hand."""
    wire = await front.call()
    await wire.send(handshake(**changes))
    answer = await wire.head()
    assert answer is not None
    assert answer.status == 101, answer
    return wire


def frame(text: bytes, *, first: int = 0x81) -> bytes:
    """A masked frame (RFC 6455, section 5.2), whose mask changes nothing."""
    size = len(text)
    if size < 126:
        return struct.pack("!BBI", first, 0x80 | size, 0) + text
    if size < 65536:
        return struct.pack("!BBHI", first, 0x80 | 126, size, 0) + text
    return struct.pack("!BBQI", first, 0x80 | 127, size, 0) + text


async def read(wire: Wire, size: int) -> bytes:
    """So many of the bytes that come."""
    async with asyncio.timeout(10):
        return await wire._reader.readexactly(size)
