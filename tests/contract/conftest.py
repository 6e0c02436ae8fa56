"""Gives each contract test a bench, and clears it away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import world
from tests.contract.bench import IMPLEMENTATIONS, Bench


@pytest.fixture(params=IMPLEMENTATIONS)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """One bench for each implementation; nothing of it outlives the test."""
    for name in ("MONGO_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    before = world.children()
    it = Bench(IMPLEMENTATIONS[request.param], tmp_path)
    yield it
    await it.runtime.close()
    it.end_worker()
    world.kill_all(it.instance)
    world.collect(before)
