"""Gives each contract test a bench, and clears it away."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests import world
from tests.contract.bench import IMPLEMENTATIONS, Bench
from tests.waiting import until_sync


@pytest.fixture(params=IMPLEMENTATIONS)
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """One bench for each implementation; nothing of it outlives the test."""
    for name in ("MONGO_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    children: Callable[[], list[psutil.Process]] = psutil.Process().children
    before = set(children())
    it = Bench(IMPLEMENTATIONS[request.param], tmp_path)
    yield it
    await it.runtime.close()
    it.end_worker()
    world.kill_all(it.instance)
    # A runtime that was closed does not collect its children any more, and nobody else would.
    for child in set(children()) - before:
        with contextlib.suppress(ChildProcessError):
            until_sync(partial(ended, child.pid), what="the end of a child")


def ended(pid: int) -> bool:
    """Whether a child has ended; it is collected then."""
    return os.waitpid(pid, os.WNOHANG)[0] == pid
