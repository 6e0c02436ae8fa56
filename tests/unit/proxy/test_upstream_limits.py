"""How many requests for one launch may wait, and how large they may be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from model_deployment.core.domain import Endpoint
from model_deployment.core.errors import TooBusy
from model_deployment.core.names import ModelKey
from model_deployment.proxy.upstream import LaunchRemoved, Upstream, UpstreamCall, UpstreamLimits


@asynccontextmanager
async def launch(**limits: int) -> AsyncIterator[Upstream]:
    made = Upstream(ModelKey("m", 1), Endpoint("127.0.0.1", 1), UpstreamLimits(**limits))
    try:
        yield made
    finally:
        await made.close()


async def test_upstream_admits_a_limited_number_of_requests() -> None:
    async with launch(connections=2, queue=1) as upstream:
        with ExitStack() as calls:
            for _ in range(3):
                upstream.admit(1)
                calls.enter_context(UpstreamCall(upstream, 1))
            with pytest.raises(TooBusy, match="m-1 now: 3 requests are waiting") as caught:
                upstream.admit(0)
            assert (caught.value.status, caught.value.retry_after) == (429, 1)
        upstream.admit(1)


async def test_upstream_holds_a_limited_number_of_bytes() -> None:
    async with launch(queue_bytes=10) as upstream:
        with UpstreamCall(upstream, 6):
            upstream.admit(4)
            with pytest.raises(TooBusy, match="reached the limit of 10 bytes"):
                upstream.admit(5)
            with UpstreamCall(upstream, 4):
                upstream.admit(0)
                with pytest.raises(TooBusy):
                    upstream.admit(1)
            upstream.admit(4)


async def test_upstream_admits_a_single_request_of_any_size() -> None:
    async with launch(queue_bytes=10) as upstream:
        upstream.admit(1000)
        with UpstreamCall(upstream, 1000), pytest.raises(TooBusy):
            upstream.admit(1)
        upstream.admit(1000)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_upstream_call_frees_its_place_however_it_ends(error: type[BaseException]) -> None:
    async with launch(connections=1, queue=0, queue_bytes=1) as upstream:
        with pytest.raises(error), UpstreamCall(upstream, 9):
            raise error
        assert (upstream.held, upstream.traffic().in_flight) == (0, 0)
        upstream.admit(1)


async def aborted(upstream: Upstream) -> None:
    with UpstreamCall(upstream, 9) as call:
        call.abort(LaunchRemoved())
        await asyncio.Event().wait()


async def test_upstream_call_aborted_frees_its_place_and_raises_the_reason() -> None:
    async with launch(connections=1, queue=0) as upstream:
        with pytest.raises(LaunchRemoved):
            await aborted(upstream)
        assert upstream.held == 0
        upstream.admit(1)


async def test_upstream_closed_takes_no_calls() -> None:
    async with launch() as upstream:
        await upstream.close()
        with pytest.raises(LaunchRemoved), UpstreamCall(upstream, 9):
            raise AssertionError("it was let in")
        assert upstream.held == 0


async def test_upstream_call_within_a_call_ends_with_the_launch() -> None:
    async def nested() -> None:
        with UpstreamCall(upstream), UpstreamCall(upstream):
            await asyncio.Event().wait()

    async with launch() as upstream:
        task = asyncio.create_task(nested())
        await asyncio.sleep(0)
        await upstream.close()
        with pytest.raises(LaunchRemoved):
            await task
        assert task.cancelling() == 0
        assert upstream.traffic().in_flight == 0
