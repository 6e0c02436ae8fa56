"""A client of one model server, for calls that are no prediction of a caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from model_deployment.core.domain import Address
from model_deployment.http.unix_sockets import open_folder


@asynccontextmanager
async def model_session(address: Address, timeout: float) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose requests to ``address.url`` reach the model server, also over a Unix socket.

    Args:
        timeout: seconds that a request may take.

    Raises:
        OSError: the folder of the socket is gone.
    """
    limit = aiohttp.ClientTimeout(total=timeout)
    if not address.path:
        async with aiohttp.ClientSession(timeout=limit) as session:
            yield session
        return
    path = Path(address.path)
    with open_folder(path.parent) as folder:
        connector = aiohttp.UnixConnector(f"{folder}/{path.name}")
        async with aiohttp.ClientSession(timeout=limit, connector=connector) as session:
            yield session
