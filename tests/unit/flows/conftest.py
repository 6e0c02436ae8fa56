"""A stub of Prefect, and runs over it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.flow_runs import Scene, flow_runs
from tests.support.prefect_engine import Engine, stub_engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    with stub_engine() as found:
        found.serve()
        yield found


@pytest.fixture
async def scene(tmp_path: Path, engine: Engine) -> AsyncIterator[Scene]:
    async with flow_runs(tmp_path, engine) as found:
        yield found
