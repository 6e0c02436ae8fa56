"""What stands in for ``asyncio.timeout`` in old Pythons does the same."""

import asyncio
import sys
from typing import Any

import pytest

from model_deployment.worker import program_files
from model_deployment.worker.time_limit import time_limit


def old() -> Any:
    """The one of Python 3.9."""
    source = (program_files.PACKAGE / "worker" / "time_limit.py").read_text()
    names: dict[str, Any] = {"__name__": "old"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 9, 0))
        exec(source, names)
    assert names["time_limit"] is not time_limit
    return names["time_limit"]


@pytest.fixture(params=["new", "old"])
def limit(request: pytest.FixtureRequest) -> Any:
    return time_limit if request.param == "new" else old()


async def test_what_is_done_in_time_goes_on(limit: Any) -> None:
    async with limit(10):
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_takes_longer_is_cancelled(limit: Any) -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        async with limit(0.01):
            await wait()
    assert ended == [True]
    await asyncio.sleep(0)  # nothing is cancelled any more


async def test_exceptions_pass(limit: Any) -> None:
    with pytest.raises(KeyError):
        async with limit(10):
            raise KeyError


async def test_cancellation_by_others_stays_one(limit: Any) -> None:
    async def wait() -> None:
        async with limit(10):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
