"""A real engine for the tests of containers, and launches on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.container_bench import ContainerBench
from tests.support.engine import TestEngine, make_engine, shared_engine


@pytest.fixture(scope="session")
def engine() -> TestEngine:
    """The engine of all tests: not to be stopped."""
    return shared_engine()


@pytest.fixture
def own_engine(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    """An engine that a test may stop and kill; a parameter says whether with live-restore."""
    engine = make_engine(live_restore=getattr(request, "param", False))
    try:
        yield engine
    finally:
        engine.destroy()


@pytest.fixture
async def bench(engine: TestEngine, tmp_path: Path) -> AsyncIterator[ContainerBench]:
    """Launches of stubs."""
    it = ContainerBench(engine, tmp_path)
    await it.prepare()
    yield it
    await it.close()
