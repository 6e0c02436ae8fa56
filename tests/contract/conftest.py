"""Gives each contract test a bench, and clears it away."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import children
from tests.support.benches import IMPLEMENTATIONS, LOCAL, MakeBench
from tests.support.engine import shared_engine
from tests.support.runtime_bench import Bench


@pytest.fixture(params=IMPLEMENTATIONS)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """One bench for each implementation; nothing of it outlives the test."""
    if request.param == "container":
        shared_engine()  # a process that outlives the test
    async with _bench(IMPLEMENTATIONS[request.param], tmp_path, monkeypatch) as it:
        yield it


@pytest.fixture(params=LOCAL)
async def local_bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """The same, of those whose launches are processes of this machine."""
    async with _bench(LOCAL[request.param], tmp_path, monkeypatch) as it:
        yield it


@contextlib.asynccontextmanager
async def _bench(
    make: MakeBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    for name in ("MONGO_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    before = children.children()
    with contextlib.ExitStack() as stack:
        it = make(root, stack)
        await it.prepare()
        yield it
        await it.close()
        children.collect(before)
