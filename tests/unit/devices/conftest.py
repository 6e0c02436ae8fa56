"""A fleet of devices, benches of their connections, and a publisher of releases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.connection_bench import ConnectionBench, MakeBench, connection_benches
from tests.support.fleet import MODEL, PROJECT, Fleet, fleet
from tests.support.published import Published


@pytest.fixture
async def it() -> AsyncIterator[Fleet]:
    """A project without devices."""
    with fleet() as made:
        await made.start()
        await made.service.create_project(PROJECT, [MODEL], "op")
        yield made
        await made.gone()


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    """Makes benches of connections; limits are named."""
    async with connection_benches(tmp_path) as made:
        yield made


@pytest.fixture
async def bench(make_bench: MakeBench) -> ConnectionBench:
    """Of connections with the usual limits."""
    return await make_bench()


@pytest.fixture
def made(tmp_path: Path) -> Published:
    """A publisher that has published nothing yet."""
    return Published(tmp_path)
