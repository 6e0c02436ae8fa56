"""Blocking calls on daemon threads: a slot is free when its thread has ended, and not before."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest

from model_deployment.registry.threads import DaemonThreads
from tests.support.waiting import until


class Hanging:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.begun += 1
        assert self.go_on.wait(30)
        return "done"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    it = Hanging()
    yield it
    it.go_on.set()


async def given_up(threads: DaemonThreads, work: Callable[[], object], **more: object) -> None:
    """A caller who waits for a moment only."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await threads.run(work, **more)  # type: ignore[arg-type]


async def test_the_result_comes_back_and_so_does_an_error() -> None:
    threads = DaemonThreads("test", 1)
    assert await threads.run(lambda: threading.current_thread().daemon) is True
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: 7) == 7


async def test_a_thread_that_hangs_keeps_its_slot_when_its_caller_has_gone(
    hanging: Hanging,
) -> None:
    threads = DaemonThreads("test", 2)
    for _ in range(4):
        await given_up(threads, hanging)
    assert hanging.begun == 2
    hanging.go_on.set()
    async with asyncio.timeout(10):
        assert await threads.run(lambda: 7) == 7


async def test_caller_that_gives_up_in_the_queue_takes_no_slot(hanging: Hanging) -> None:
    threads = DaemonThreads("test", 1)
    first = asyncio.create_task(threads.run(hanging))
    await until(lambda: hanging.begun)
    await given_up(threads, hanging)
    hanging.go_on.set()
    assert await first == "done"
    async with asyncio.timeout(10):
        assert await threads.run(lambda: 7) == 7


async def test_a_thread_that_cannot_be_started_takes_no_slot() -> None:
    threads = DaemonThreads("test", 1)
    with (
        patch.object(threading.Thread, "start", side_effect=RuntimeError("no more threads")),
        pytest.raises(RuntimeError, match="no more threads"),
    ):
        await threads.run(lambda: 7)
    async with asyncio.timeout(10):
        assert await threads.run(lambda: 7) == 7


async def test_late_end_is_reported(hanging: Hanging) -> None:
    threads = DaemonThreads("test", 2)
    tidied = threading.Event()
    await threads.run(lambda: 7, late=tidied.set)
    assert not tidied.is_set()
    await given_up(threads, hanging, late=tidied.set)
    assert not tidied.is_set()
    hanging.go_on.set()
    await until(tidied.is_set)


def test_thread_that_outlives_its_loop_is_silent(
    hanging: Hanging, capsys: pytest.CaptureFixture[str]
) -> None:
    async def leave() -> None:
        await given_up(DaemonThreads("outlives", 1), hanging)

    asyncio.run(leave())
    (left,) = (thread for thread in threading.enumerate() if thread.name == "outlives")
    hanging.go_on.set()
    left.join(10)
    assert not left.is_alive()
    assert capsys.readouterr().err == ""
