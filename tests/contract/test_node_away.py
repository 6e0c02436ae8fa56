"""A place that does not answer: nothing is concluded of its launches, and nobody waits for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from model_deployment.core.domain import Handle
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime.base import PartlySeen
from model_deployment.runtime.by_method import RuntimeByMethod
from tests.support import children
from tests.support.network_node import NetworkNode, network_node
from tests.support.node_bench import NodeBench
from tests.support.runtime_bench import Bench, make_serve
from tests.support.waiting import until


@pytest.fixture
def network() -> Iterator[NetworkNode]:
    with network_node() as it:
        yield it


@pytest.fixture
async def bench(network: NetworkNode, tmp_path: Path) -> AsyncIterator[NodeBench]:
    (tmp_path / "there").mkdir()
    before = children.children()
    it = NodeBench(network, tmp_path / "there")
    yield it
    await it.close()
    children.collect(before)


async def check_unknown(bench: NodeBench, handle: Handle) -> None:
    """What a runtime says of a launch while its node is away."""
    assert await bench.runtime.poll(handle) is None
    assert not await bench.runtime.listening(handle)
    for asked in (
        bench.runtime.list(),
        bench.runtime.find(handle.launch_id, Options()),
        bench.runtime.memory([handle]),
        bench.runtime.stop(handle, force=True),
        bench.runtime.update_log(handle.launch_id),
        bench.runtime.start(bench.spec()),
    ):
        with pytest.raises(OSError, match="does not answer"):
            await asked
    # What was fetched before can be read, and what people know it by stays.
    assert "stub: listening" in await bench.runtime.tail(handle.launch_id, 100)
    assert bench.runtime.identity(handle)


@pytest.mark.parametrize("how", ["cut", "crashed"])
async def test_launch_of_a_silent_node_is_unknown_and_found_again(
    bench: NodeBench, how: str
) -> None:
    handle = await bench.serve()
    with contextlib.ExitStack() as stack:
        if how == "cut":
            stack.enter_context(bench.network.unplugged())
        else:
            bench.node.kill()
        await check_unknown(bench, handle)
        assert [*bench.pids(handle)], "it was ended meanwhile"
    if how == "crashed":
        bench.node.start()
    await until(bench.runtime.list, timeout=10, what="the node")
    assert await bench.runtime.list() == [handle]
    assert await bench.runtime.poll(handle) is None
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)


async def test_silent_node_is_not_waited_for_again_and_again(bench: NodeBench) -> None:
    """The control loop asks for each launch in each tick."""
    handle = await bench.serve()
    with bench.network.unplugged():
        await bench.runtime.poll(handle)
        began = time.monotonic()
        for _ in range(50):
            await bench.runtime.poll(handle)
        assert time.monotonic() - began < 5


async def test_local_launches_are_seen_while_the_other_place_is_away(
    bench: NodeBench, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    here = Bench(make_serve, tmp_path / "here")
    both = RuntimeByMethod(here.runtime, bench.runtime)
    here.spec()  # so that the next one has another id than that of the other bench
    local, remote = await here.serve(), await bench.serve()
    elsewhere = Options(start_method=StartMethod.CONTAINER)
    assert {one.launch_id for one in await both.list()} == {local.launch_id, remote.launch_id}
    found = await both.find(remote.launch_id, elsewhere)
    assert found is not None
    with bench.network.unplugged():
        with pytest.raises(PartlySeen) as caught:
            await both.list()
        assert caught.value.seen == [local]
        assert set(await both.memory([local, found])) == {local.launch_id}
        assert await both.poll(found) is None
        await both.stop(local, force=True)
        await asyncio.wait_for(_end(both, local), 10)
    await until(both.list, timeout=10, what="the node")
    assert await both.list() == [found]
    await here.close()


async def _end(runtime: RuntimeByMethod, handle: Handle) -> None:
    await until(lambda: runtime.poll(handle), timeout=10, what="the end")
