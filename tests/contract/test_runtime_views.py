"""The contract of a runtime, for every implementation: what can be seen of launches."""

import json

from model_deployment.core.domain import Handle
from model_deployment.core.options import Options
from tests.support.runtime_bench import Bench
from tests.support.waiting import until


async def test_list_has_the_living_launches_only(bench: Bench) -> None:
    handles = [await bench.serve(wrapper=bool(number % 2)) for number in range(4)]
    await bench.runtime.stop(handles[0], force=True)
    await bench.ended(handles[0])
    assert sorted(found.launch_id for found in await bench.runtime.list()) == [
        handle.launch_id for handle in handles[1:]
    ]


async def test_memory_is_that_of_living_launches(bench: Bench) -> None:
    first, second = await bench.serve(), await bench.serve(wrapper=True)
    unknown = Handle("unknown", first.address)
    found = await bench.runtime.memory([first, second, unknown])
    assert set(found) == {first.launch_id, second.launch_id}
    assert all(1_000_000 < one.rss < 1_000_000_000 for one in found.values()), found
    assert await bench.runtime.memory([]) == {}
    await bench.runtime.stop(first, force=True)
    await bench.ended(first)
    assert set(await bench.runtime.memory([first, second])) == {second.launch_id}


async def test_identity_names_a_launch_in_words_and_numbers_that_json_can_hold(
    bench: Bench,
) -> None:
    handle = await bench.serve()
    names = bench.runtime.identity(handle)
    assert names
    assert json.loads(json.dumps(names)) == names
    await bench.replace_runtime()
    assert bench.runtime.identity(handle) == names
    assert bench.runtime.identity(Handle("unknown", handle.address)) == {}


async def test_log_can_be_read_while_a_launch_runs_and_after_its_end(bench: Bench) -> None:
    handle = await bench.serve()
    assert "stub: listening" in await bench.runtime.tail(handle.launch_id, 100)
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    await bench.replace_runtime()
    tail = await bench.runtime.tail(handle.launch_id, 100)
    # Read twice, nothing is there twice.
    assert tail.count("stub: listening") == 1
    assert await bench.runtime.tail(handle.launch_id, 1) == tail.splitlines(keepends=True)[-1]
    assert await bench.runtime.tail("unknown", 100) == ""


async def test_tidy_leaves_the_logs_that_are_to_be_kept(bench: Bench) -> None:
    kept, old = await bench.serve(), await bench.serve()
    for handle in (kept, old):
        await bench.runtime.stop(handle, force=True)
        await bench.ended(handle)
    await bench.runtime.tidy([kept.launch_id])
    assert await bench.runtime.tail(kept.launch_id, 100)
    assert await bench.runtime.tail(old.launch_id, 100) == ""
    assert not bench.log(old).exists()


async def test_launch_that_is_stopped_by_a_signal_is_suspended_after_a_while(bench: Bench) -> None:
    handle = await bench.serve()

    async def suspended() -> bool:
        assert await bench.runtime.poll(handle) is None
        return bench.runtime.suspended(handle, Options())

    assert not await suspended()
    bench.suspend(handle)
    await until(suspended, timeout=10, what="the suspension")
    bench.resume(handle)
    assert not bench.runtime.suspended(Handle("unknown", handle.address), Options())
