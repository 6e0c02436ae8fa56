"""A stream between the thread of its generator and the event loop."""

import asyncio
from collections.abc import Iterator

import pytest

from model_deployment.worker.model_stream import AHEAD, ModelStream
from tests.support.waiting import until


class Counted:
    def __init__(self, most: int = 10**9) -> None:
        self.made = 0
        self.closed = False
        self._most = most

    def values(self) -> Iterator[int]:
        try:
            while self.made < self._most:
                self.made += 1
                yield self.made
        finally:
            self.closed = True


async def test_generator_is_a_few_values_ahead_and_ends_when_nobody_takes_them() -> None:
    stream: ModelStream[int] = ModelStream()
    counted = Counted()
    running = asyncio.get_running_loop().run_in_executor(None, stream.run, counted.values)
    await until(lambda: counted.made == AHEAD + 1)
    assert await stream.take(5) == [*range(1, AHEAD + 1)]
    await until(lambda: counted.made == 2 * AHEAD + 1)
    stream.close()
    await running
    assert counted.closed
    assert counted.made <= 2 * AHEAD + 2


async def test_values_end_with_the_generator_and_a_wait_for_them_has_a_limit() -> None:
    stream: ModelStream[int] = ModelStream()
    with pytest.raises(TimeoutError):
        await stream.take(0.01)
    counted = Counted(2)
    await asyncio.get_running_loop().run_in_executor(None, stream.run, counted.values)
    found: list[int] = []
    while values := await stream.take(5):
        found += values
    assert (found, counted.closed) == ([1, 2], True)


async def test_stream_that_is_closed_before_its_turn_begins_no_generator() -> None:
    stream: ModelStream[int] = ModelStream()
    stream.close()
    counted = Counted()
    await asyncio.get_running_loop().run_in_executor(None, stream.run, counted.values)
    assert (counted.made, await stream.take(1)) == (0, [])
