"""What a process prints, by a pipe of our own: asyncio waits for the end of the pipes that it makes, and a
program that the process has started may hold them open for ever."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator


class Printed:
    """The end of a pipe from which is read what processes print."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self._transport: asyncio.BaseTransport | None = None

    @contextlib.asynccontextmanager
    async def pipe(self) -> AsyncIterator[int]:
        """The number of the other end, for the process that is started inside.

        Raises:
            OSError: there can be no pipe.
        """
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb"):
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(self.reader), os.fdopen(reading, "rb")
            )
            yield writing

    def close(self) -> None:
        """Read no further."""
        if self._transport is not None:
            self._transport.close()
