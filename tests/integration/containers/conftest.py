"""A real engine for the tests of containers, and launches on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.container_bench import ContainerBench
from tests.support.engine import TestEngine, make_engine, shared_engine
from tests.support.hostile_launches import Hostiles


@pytest.fixture(scope="session")
def engine() -> TestEngine:
    """The engine of all tests: not to be stopped."""
    return shared_engine()


@pytest.fixture(scope="package")
def own_engines() -> Iterator[dict[bool, TestEngine]]:
    """Engines that tests may stop and kill, by whether they have live-restore; made when asked for."""
    made: dict[bool, TestEngine] = {}
    yield made
    for engine in made.values():
        engine.destroy()


@pytest.fixture
def own_engine(request: pytest.FixtureRequest, own_engines: dict[bool, TestEngine]) -> TestEngine:
    """An engine that a test may stop and kill; a parameter says whether with live-restore."""
    live_restore = getattr(request, "param", False)
    if live_restore not in own_engines:
        own_engines[live_restore] = make_engine(live_restore=live_restore)
    engine = own_engines[live_restore]
    engine.revive()
    return engine


@pytest.fixture
async def bench(engine: TestEngine, tmp_path: Path) -> AsyncIterator[ContainerBench]:
    """Launches of stubs."""
    it = ContainerBench(engine, tmp_path)
    await it.prepare()
    yield it
    await it.close()


@pytest.fixture
async def hostiles(engine: TestEngine, tmp_path: Path) -> AsyncIterator[Hostiles]:
    """Launches of the programs of a test."""
    root = tmp_path / "h"
    root.mkdir()
    it = Hostiles(engine, root, program="/model/program.py")
    await it.prepare()
    yield it
    await it.close()
