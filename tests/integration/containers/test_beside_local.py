"""Launches in containers of a real engine beside local ones, through one runtime."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.core.domain import Exit, Handle, LaunchSpec
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime.base import PartlySeen
from model_deployment.runtime.by_method import RuntimeByMethod
from tests.support import children
from tests.support.container_bench import ContainerBench
from tests.support.engine import TestEngine
from tests.support.ports import free_port
from tests.support.runtime_bench import Bench, make_serve
from tests.support.waiting import until

LOCAL, CONTAINED = Options(), Options(start_method=StartMethod.CONTAINER)


class Both:
    """Two benches, and one runtime over both of theirs."""

    def __init__(self, here: Bench, there: ContainerBench) -> None:
        self.here, self.there = here, there
        here.spec()  # so that the next one has another id than that of the other bench
        self.runtime = RuntimeByMethod(here.runtime, there.runtime)

    async def serve(self, bench: Bench, options: Options) -> Handle:
        wanted = bench.spec()
        port = free_port() if self.runtime.needs_port(options) else None
        address = self.runtime.address(wanted.launch_id, port)
        spec: LaunchSpec = replace(wanted, address=address, options=options)
        handle = await self.runtime.start(spec)
        await until(lambda: self.runtime.listening(handle), timeout=20, what=wanted.launch_id)
        return handle

    async def replace_runtime(self) -> None:
        """What the next controller has."""
        await self.runtime.close()
        await self.here.replace_runtime()
        await self.there.replace_runtime()
        self.runtime = RuntimeByMethod(self.here.runtime, self.there.runtime)

    async def ended(self, handle: Handle) -> Exit | None:
        return await until(lambda: self.runtime.poll(handle), timeout=20, what="the end")


async def make(engine: TestEngine, root: Path) -> Both:
    folders = [root / "h", root / "c"]
    for folder in folders:
        folder.mkdir()
    there = ContainerBench(engine, folders[1])
    await there.prepare()
    return Both(Bench(make_serve, folders[0]), there)


@pytest.fixture
async def both(engine: TestEngine, tmp_path: Path) -> AsyncIterator[Both]:
    before = children.children()
    it = await make(engine, tmp_path)
    yield it
    await it.here.close()
    await it.there.close()
    children.collect(before)


async def test_options_choose_and_the_handle_stays_with_its_runtime(both: Both) -> None:
    local = await both.serve(both.here, LOCAL)
    contained = await both.serve(both.there, CONTAINED)
    assert (local.address.path, bool(contained.address.path)) == ("", True)
    assert set(both.runtime.identity(local)) == {"pid", "threads"}
    assert "container" in both.runtime.identity(contained)
    assert set(await both.runtime.memory([local, contained])) == {
        local.launch_id,
        contained.launch_id,
    }
    await both.replace_runtime()
    assert sorted(one.launch_id for one in await both.runtime.list()) == sorted(
        [local.launch_id, contained.launch_id]
    )
    assert await both.runtime.find(local.launch_id, LOCAL) == local
    assert await both.runtime.find(contained.launch_id, CONTAINED) == contained
    for handle in (local, contained):
        assert await both.runtime.poll(handle) is None
        assert await both.runtime.listening(handle)
    await both.runtime.stop(contained, force=True)
    assert isinstance(await both.ended(contained), Exit)
    assert await both.runtime.poll(local) is None
    await both.runtime.stop(local, force=True)
    assert isinstance(await both.ended(local), Exit)


async def test_logs_of_both_are_read_at_any_time(both: Both) -> None:
    handles = [await both.serve(both.here, LOCAL), await both.serve(both.there, CONTAINED)]
    for handle in handles:

        async def has_said(handle: Handle = handle) -> bool:
            return "stub: listening" in await both.runtime.tail(handle.launch_id, 100)

        await until(has_said, what=handle.launch_id)
        await both.runtime.stop(handle, force=True)
        await both.ended(handle)
        assert await has_said()


async def test_engine_that_is_away_concerns_no_local_launch(
    own_engine: TestEngine, tmp_path: Path
) -> None:
    before = children.children()
    both = await make(own_engine, tmp_path)
    local = await both.serve(both.here, LOCAL)
    contained = await both.serve(both.there, CONTAINED)
    assert await both.runtime.obstacle(CONTAINED) == ""
    own_engine.kill()
    # What was known a moment ago is used for that long.
    await until(lambda: both.runtime.obstacle(CONTAINED), what="an engine that is away")
    assert "does not answer" in await both.runtime.obstacle(CONTAINED)
    assert await both.runtime.obstacle(LOCAL) == ""
    with pytest.raises(PartlySeen) as caught:
        await both.runtime.list()
    assert caught.value.seen == [local]
    assert set(await both.runtime.memory([local, contained])) == {local.launch_id}
    assert await both.runtime.poll(contained) is None
    another = await both.serve(both.here, LOCAL)
    for handle in (local, another):
        await both.runtime.stop(handle, force=True)
        assert isinstance(await both.ended(handle), Exit)
    await both.here.close()
    await both.runtime.close()
    children.collect(before)
