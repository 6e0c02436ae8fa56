"""One ``GET /ping`` of a model server, on a connection of its own: a pooled one may be the last that works.

Each ready launch is asked every few seconds, so this is written for little processor time: a socket and
four calls, where an HTTP client's connection costs ten times as much.
"""

import asyncio
import errno
import re
import socket
from pathlib import Path

from model_deployment.core.domain import Address
from model_deployment.http.unix_sockets import connect

_HEALTHY = re.compile(rb"HTTP/1\.[01] 200[ \r]")
_END = b"\r\n\r\n"
#: Bytes of the longest head of an answer.
_LONGEST = 64 * 1024


async def ping(address: Address, timeout: float) -> bool:
    """Whether the server answers 200 within ``timeout`` seconds.

    Raises:
        OSError: there is no descriptor left, so nothing is known of the server.
    """
    family = socket.AF_UNIX if address.path else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(timeout):
                return _HEALTHY.match(await _head(connection, address)) is not None
        except OSError as error:  # a time-out is one
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return False


async def _head(connection: socket.socket, address: Address) -> bytes:
    """The head of the answer; empty where the server sends none."""
    loop = asyncio.get_running_loop()
    if address.path:
        await connect(connection, Path(address.path))
    else:
        # On this machine a connection is there at once; sending waits for any other, and raises its error.
        connection.connect_ex((address.host, address.port))
    request = f"GET /ping HTTP/1.1\r\nHost: {address.host}:{address.port}\r\nConnection: close"
    await loop.sock_sendall(connection, request.encode() + _END)
    head = b""
    while _END not in head:
        part = await loop.sock_recv(connection, _LONGEST)
        if not part or len(head) + len(part) > _LONGEST:
            return b""
        head += part
    return head
