"""How many requests for one launch may wait, and how large they may be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest

from model_deployment.core.domain import Address
from model_deployment.core.errors import TooBusy
from model_deployment.core.names import ModelKey
from model_deployment.proxy.body_reservation import BodyReservation
from model_deployment.proxy.limits_file import create_limits_file
from model_deployment.proxy.shared_limits import SharedLimits, unshared_usage
from model_deployment.proxy.upstream import (
    LaunchRemoved,
    Shares,
    Upstream,
    UpstreamCall,
    UpstreamLimits,
)

KEY = ModelKey("m", 1)


@asynccontextmanager
async def launch(**limits: int) -> AsyncIterator[Upstream]:
    shares = Shares(unshared_usage(), UpstreamLimits(**limits))
    made = Upstream(KEY, Address("127.0.0.1", 1), shares)
    try:
        yield made
    finally:
        await made.close()


def admit(upstream: Upstream, size: int) -> None:
    """Let one more request in, and out again."""
    with UpstreamCall(upstream, size):
        pass


async def test_upstream_admits_a_limited_number_of_requests() -> None:
    async with launch(connections=2, queue=1) as upstream:
        with ExitStack() as calls:
            for _ in range(3):
                calls.enter_context(UpstreamCall(upstream, 1))
            with pytest.raises(TooBusy, match="m-1 now: 3 requests are waiting") as caught:
                admit(upstream, 0)
            assert (caught.value.status, caught.value.retry_after) == (429, 1)
        admit(upstream, 1)


async def test_upstream_holds_a_limited_number_of_bytes() -> None:
    async with launch(queue_bytes=10) as upstream:
        with UpstreamCall(upstream, 6):
            admit(upstream, 4)
            with pytest.raises(TooBusy, match="10 bytes in all, the smaller of MODEL_DEPLOY"):
                admit(upstream, 5)
            with UpstreamCall(upstream, 4):
                admit(upstream, 0)
                with pytest.raises(TooBusy):
                    admit(upstream, 1)
            admit(upstream, 4)


async def test_upstream_admits_a_single_request_of_any_size() -> None:
    async with launch(queue_bytes=10) as upstream:
        admit(upstream, 1000)
        with UpstreamCall(upstream, 1000), pytest.raises(TooBusy):
            admit(upstream, 1)
        admit(upstream, 1000)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_upstream_call_frees_its_place_however_it_ends(error: type[BaseException]) -> None:
    async with launch(connections=1, queue=0, queue_bytes=1) as upstream:
        with pytest.raises(error), UpstreamCall(upstream, 9):
            raise error
        assert (upstream.held, upstream.traffic().in_flight) == (0, 0)
        admit(upstream, 1)


async def aborted(upstream: Upstream) -> None:
    with UpstreamCall(upstream, 9) as call:
        call.abort(LaunchRemoved())
        await asyncio.Event().wait()


async def test_upstream_call_aborted_frees_its_place_and_raises_the_reason() -> None:
    async with launch(connections=1, queue=0) as upstream:
        with pytest.raises(LaunchRemoved):
            await aborted(upstream)
        assert upstream.held == 0
        admit(upstream, 1)


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


async def test_upstreams_of_two_proxies_share_the_limits(tmp_path: Path) -> None:
    limits = UpstreamLimits(connections=1, queue=1, queue_bytes=10)
    create_limits_file(tmp_path / "limits", rows=1, columns=2)
    with ExitStack() as stack:
        made = list[Upstream]()
        for column in range(2):
            usage = stack.enter_context(closing(SharedLimits.open(tmp_path / "limits", column)))
            shares = Shares(usage.row(0), limits)
            made.append(Upstream(KEY, Address("127.0.0.1", 1), shares))
        here, there = made
        with UpstreamCall(here, 1), UpstreamCall(there, 1):
            for upstream in made:
                with pytest.raises(TooBusy, match="2 requests are waiting"):
                    admit(upstream, 1)
        with UpstreamCall(here, 6), BodyReservation(there) as reservation:
            with pytest.raises(TooBusy, match="10 bytes in all"):
                reservation.add(5)
            reservation.add(4)
            reservation.resize(1)
            admit(here, 3)
        async with here.slots:
            waiting = asyncio.create_task(there.slots.acquire())
            await asyncio.sleep(0)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 10)
        for upstream in made:
            assert (upstream.held, upstream.callers) == (0, 0)
            await upstream.close()
