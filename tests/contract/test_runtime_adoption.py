"""The contract of a runtime, for every implementation: launches outlive it, and the next one has them."""

import asyncio
import json
import os
import signal
from dataclasses import replace

import pytest

from model_deployment.core.domain import LOST, Exit
from model_deployment.core.options import Options
from model_deployment.runtime.exit_reasons import of_status
from tests.support.runtime_bench import Bench
from tests.support.waiting import until


def unseen(bench: Bench, code: int) -> Exit:
    """The end of a launch of an earlier runtime object."""
    return of_status(code) if bench.remembers else LOST


async def test_launch_that_ended_unseen_is_lost(bench: Bench) -> None:
    handle = await bench.serve()
    await bench.runtime.stop(handle, force=True)
    await until(lambda: not bench.pids(handle))
    await bench.replace_runtime()
    assert await bench.ended(handle) == unseen(bench, -signal.SIGKILL)


async def test_launches_of_another_instance_are_not_listed(bench: Bench) -> None:
    handle = await bench.serve()
    bench.instance += "-other"
    await bench.replace_runtime()
    assert await bench.runtime.list() == []
    bench.instance = bench.instance.removesuffix("-other")
    assert bench.pids(handle)


@pytest.mark.parametrize("wrapper", [False, True])
async def test_new_runtime_finds_the_launches_of_the_old_one(bench: Bench, wrapper: bool) -> None:
    handle = await bench.serve(wrapper=wrapper)
    await bench.replace_runtime()
    assert await bench.runtime.list() == [handle]
    assert await bench.runtime.poll(handle) is None
    assert await bench.runtime.listening(handle)


async def test_end_of_an_adopted_launch_is_announced_too(bench: Bench) -> None:
    await bench.serve()
    await bench.replace_runtime()
    (handle,) = await bench.runtime.list()
    assert await bench.runtime.poll(handle) is None
    bench.exited.clear()
    os.kill(bench.main(handle), signal.SIGKILL)
    await asyncio.wait_for(bench.exited.wait(), bench.patience)
    assert await bench.ended(handle) == unseen(bench, -signal.SIGKILL)


@pytest.mark.parametrize("force", [False, True])
async def test_adopted_launch_can_be_stopped(bench: Bench, force: bool) -> None:
    handle = await bench.serve(wrapper=True)
    await bench.replace_runtime()
    await bench.runtime.stop(handle, force=force)
    assert await bench.ended(handle) == unseen(bench, -signal.SIGKILL if force else -signal.SIGTERM)
    assert bench.pids(handle) == {}


async def test_orphans_of_a_launch_that_broke_unseen_are_ended_by_poll(bench: Bench) -> None:
    if bench.remembers:
        pytest.skip("such a launch ends as a whole")
    handle = await bench.serve(wrapper=True)
    await bench.runtime.close()
    parent, child = bench.parent_and_child(handle)
    os.kill(parent, signal.SIGKILL)
    await until(lambda: [*bench.pids(handle)] == [child])
    await bench.replace_runtime()
    assert [found.launch_id for found in await bench.runtime.list()] == [handle.launch_id]
    assert await bench.ended(handle) == LOST
    assert bench.pids(handle) == {}


async def test_close_leaves_the_launches_running_and_may_be_repeated(bench: Bench) -> None:
    handle = await bench.serve()
    await bench.runtime.close()
    await bench.runtime.close()
    with bench.connect(handle):
        assert bench.pids(handle)


async def test_living_launch_is_found_by_its_id_also_by_the_next_runtime(bench: Bench) -> None:
    handle = await bench.serve()
    assert await bench.runtime.find(handle.launch_id, Options()) == handle
    await bench.replace_runtime()
    assert await bench.runtime.find(handle.launch_id, Options()) == handle
    assert await bench.runtime.find("unknown", Options()) is None
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    assert await bench.runtime.find(handle.launch_id, Options()) is None


async def test_handle_survives_json(bench: Bench) -> None:
    """As a row of the state holds it."""
    handle = await bench.serve()
    read = replace(handle, ref=json.loads(json.dumps(dict(handle.ref))))
    await bench.replace_runtime()
    assert await bench.runtime.poll(read) is None
    await bench.runtime.stop(read, force=True)
    await bench.ended(read)
