"""The contract of a runtime, for every implementation: launches end whole, stopped or by themselves."""

import asyncio
import os
import signal

import pytest

from model_deployment.core.domain import LOST, Exit, Handle
from tests.support.ports import free_port
from tests.support.runtime_bench import Bench
from tests.support.waiting import until


async def test_launch_that_exits_by_itself_is_reported_with_its_status(bench: Bench) -> None:
    handle = await bench.start(exit_at_start=7)
    assert await bench.ended(handle) == Exit("the process exited with status 7", 7)
    assert await bench.runtime.list() == []


async def test_end_of_a_launch_is_announced_unasked(bench: Bench) -> None:
    handle = await bench.serve()
    os.kill(bench.main(handle), signal.SIGKILL)
    await asyncio.wait_for(bench.exited.wait(), bench.patience)
    assert await bench.ended(handle) == Exit("the process was killed by SIGKILL", -signal.SIGKILL)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("wrapper", [False, True])
async def test_stop_ends_every_process(bench: Bench, force: bool, wrapper: bool) -> None:
    handle = await bench.serve(wrapper=wrapper)
    await bench.runtime.stop(handle, force=force)
    assert isinstance(await bench.ended(handle), Exit)
    assert bench.pids(handle) == {}
    assert await bench.runtime.list() == []
    assert not await bench.runtime.listening(handle)


@pytest.mark.parametrize("force", [False, True])
async def test_stop_may_be_repeated_also_after_the_end(bench: Bench, force: bool) -> None:
    handle = await bench.serve()
    await bench.runtime.stop(handle, force=force)
    await bench.runtime.stop(handle, force=force)
    await bench.ended(handle)
    await bench.runtime.stop(handle, force=force)


@pytest.mark.parametrize("wrapper", [False, True])
async def test_launch_that_ignores_sigterm_is_killed_by_force(bench: Bench, wrapper: bool) -> None:
    handle = await bench.serve(ignore_sigterm=True, wrapper=wrapper)
    await bench.runtime.stop(handle, force=False)
    if wrapper:  # it heeds the signal; its server does not, and may still be finishing something
        await until(lambda: len(bench.pids(handle)) == 1)
    assert await bench.runtime.poll(handle) is None
    assert await bench.runtime.listening(handle)
    await bench.runtime.stop(handle, force=True)
    assert isinstance(await bench.ended(handle), Exit)
    assert bench.pids(handle) == {}


@pytest.mark.parametrize("how", ["plain", "setsid", "double"])
async def test_grandchildren_that_left_are_ended_as_well(bench: Bench, how: str) -> None:
    handle = await bench.serve(fork_grandchild=how, ignore_sigterm=True)
    assert len(bench.pids(handle)) == 2
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    assert bench.pids(handle) == {}


@pytest.mark.parametrize("how", ["plain", "setsid", "double"])
async def test_rest_of_a_launch_without_main_process_is_ended_by_poll(
    bench: Bench, how: str
) -> None:
    handle = await bench.serve(fork_grandchild=how)
    os.kill(bench.main(handle), signal.SIGKILL)
    assert (await bench.ended(handle)).code == -signal.SIGKILL
    assert bench.pids(handle) == {}


async def test_wrapper_that_is_killed_takes_its_server_along(bench: Bench) -> None:
    handle = await bench.serve(wrapper=True)
    parent, _ = bench.parent_and_child(handle)
    os.kill(parent, signal.SIGKILL)
    await bench.ended(handle)
    assert bench.pids(handle) == {}


async def test_server_that_is_killed_ends_the_launch(bench: Bench) -> None:
    handle = await bench.serve(wrapper=True)
    _, child = bench.parent_and_child(handle)
    os.kill(child, signal.SIGKILL)
    assert (await bench.ended(handle)).code == -signal.SIGKILL


async def test_unknown_launch_is_lost(bench: Bench) -> None:
    unknown = Handle("unknown", bench.runtime.address("unknown", free_port()))
    assert await bench.runtime.poll(unknown) == LOST
    assert not await bench.runtime.listening(unknown)
    await bench.runtime.stop(unknown, force=True)
