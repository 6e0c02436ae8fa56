"""How a controller and a node of the tests talk: a length and a pickle, each way.

Pickle serves a test whose two programs are one: a node of production must not use it.
"""

import asyncio
import pickle
import struct
from io import BufferedReader
from typing import Any

_LENGTH = struct.Struct(">I")


def encode(message: Any) -> bytes:
    body = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Any:
    """
    Raises:
        EOFError: the other side is gone.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def receive_blocking(file: BufferedReader) -> Any:
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    return pickle.loads(file.read(length))
