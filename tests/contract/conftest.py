"""Gives each contract test a bench, and clears it away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import audit
from tests.support.runtime_bench import IMPLEMENTATIONS, Bench


@pytest.fixture(params=IMPLEMENTATIONS)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """One bench for each implementation; nothing of it outlives the test."""
    for name in ("MONGO_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    before = audit.children()
    it = Bench(IMPLEMENTATIONS[request.param], tmp_path)
    yield it
    await it.runtime.close()
    it.end_worker()
    audit.kill_all(it.instance)
    audit.collect(before)
