"""The contract of a runtime: what ``runtime/base.py`` promises, for every implementation."""

import asyncio
import json
import os
import signal
import socket
from dataclasses import replace

import pytest

from model_deployment.core.domain import LOST, Exit, Handle
from model_deployment.core.options import Options
from model_deployment.runtime.exit_reasons import of_status
from tests.support.ports import free_port
from tests.support.runtime_bench import Bench, open_files
from tests.support.waiting import until


def needs_ports(bench: Bench) -> None:
    if not bench.ports:
        assert not bench.runtime.needs_port(Options())
        pytest.skip("its launches listen on no port")


def unseen(bench: Bench, code: int) -> Exit:
    """The end of a launch of an earlier runtime object."""
    return of_status(code) if bench.remembers else LOST


def parent_and_child(bench: Bench, handle: Handle) -> tuple[int, int]:
    """The two processes of a stub that was started with ``wrapper``."""
    child = [pid for pid, cmdline in bench.pids(handle).items() if "--wrapped" in cmdline]
    assert len(child) == 1
    return bench.main(handle), child[0]


async def test_started_launch_runs_and_comes_to_listen_where_it_was_told(bench: Bench) -> None:
    spec = bench.spec()
    handle = await bench.runtime.start(spec)
    assert (handle.launch_id, handle.address) == (spec.launch_id, spec.address)
    assert await bench.runtime.poll(handle) is None
    await until(lambda: bench.runtime.listening(handle))
    assert await bench.runtime.poll(handle) is None
    assert [*bench.pids(handle)] == [bench.main(handle)]


async def test_launch_that_does_not_listen_yet_is_not_listening(bench: Bench) -> None:
    handle = await bench.start(never_ready=True)
    await until(lambda: bench.has_written(handle, "stub: loading"))
    # Where sockets are held, they listen before anybody is there to answer.
    assert await bench.runtime.listening(handle) == bench.early


async def test_foreign_process_on_the_port_is_not_the_launch(bench: Bench) -> None:
    needs_ports(bench)
    spec = bench.spec(never_ready=True)
    with bench.occupied(spec.address.port):
        assert await asyncio.to_thread(bench.runtime.occupant, spec.address.port)
        if bench.holds:
            with pytest.raises(OSError, match="in use"):
                await bench.runtime.start(spec)
            assert await bench.runtime.list() == []
            return
        handle = await bench.runtime.start(spec)
        assert not await bench.runtime.listening(handle)


async def test_child_of_a_wrapper_counts_as_the_launch_listening(bench: Bench) -> None:
    handle = await bench.serve(wrapper=True)
    assert len(bench.pids(handle)) == 2


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
    parent, _ = parent_and_child(bench, handle)
    os.kill(parent, signal.SIGKILL)
    await bench.ended(handle)
    assert bench.pids(handle) == {}


async def test_server_that_is_killed_ends_the_launch(bench: Bench) -> None:
    handle = await bench.serve(wrapper=True)
    _, child = parent_and_child(bench, handle)
    os.kill(child, signal.SIGKILL)
    assert (await bench.ended(handle)).code == -signal.SIGKILL


async def test_unknown_launch_is_lost(bench: Bench) -> None:
    unknown = Handle("unknown", bench.runtime.address("unknown", free_port()))
    assert await bench.runtime.poll(unknown) == LOST
    assert not await bench.runtime.listening(unknown)
    await bench.runtime.stop(unknown, force=True)


async def test_launch_that_ended_unseen_is_lost(bench: Bench) -> None:
    handle = await bench.serve()
    await bench.runtime.stop(handle, force=True)
    await until(lambda: not bench.pids(handle))
    await bench.replace_runtime()
    assert await bench.ended(handle) == unseen(bench, -signal.SIGKILL)


async def test_list_has_the_living_launches_only(bench: Bench) -> None:
    handles = [await bench.serve(wrapper=bool(number % 2)) for number in range(4)]
    await bench.runtime.stop(handles[0], force=True)
    await bench.ended(handles[0])
    assert sorted(found.launch_id for found in await bench.runtime.list()) == [
        handle.launch_id for handle in handles[1:]
    ]


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
    parent, child = parent_and_child(bench, handle)
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


async def test_program_that_is_not_there_raises_and_leaves_nothing(bench: Bench) -> None:
    await bench.replace_runtime(program="/nonexistent/python")
    assert await bench.runtime.list() == []
    before = open_files()
    spec = bench.spec()
    with pytest.raises(OSError, match=bench.not_there):
        await bench.runtime.start(spec)
    assert await bench.runtime.list() == []
    assert bench.pids(Handle(spec.launch_id, spec.address)) == {}
    assert open_files() <= before


async def test_runtime_tells_whether_it_holds_a_port(bench: Bench) -> None:
    needs_ports(bench)
    spec = bench.spec()
    port = spec.address.port
    assert not bench.runtime.holds(port)
    handle = await bench.runtime.start(spec)
    assert bench.runtime.holds(port) == bench.holds
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    assert bench.runtime.holds(port) == bench.holds
    for _ in range(2):
        await bench.runtime.release(port)
        assert not bench.runtime.holds(port)
    assert await asyncio.to_thread(bench.runtime.occupant, port) is None
    with bench.occupied(port):
        assert not bench.runtime.holds(port)


async def test_launch_with_a_port_listens_at_the_address_that_is_told_before(bench: Bench) -> None:
    needs_ports(bench)
    assert bench.runtime.needs_port(Options())
    spec = bench.spec()
    assert bench.runtime.address(spec.launch_id, spec.address.port) == spec.address
    handle = await bench.runtime.start(spec)
    await until(lambda: bench.runtime.listening(handle))
    with socket.create_connection((spec.address.host, spec.address.port), timeout=5):
        pass


async def test_living_launch_is_found_by_its_id_also_by_the_next_runtime(bench: Bench) -> None:
    handle = await bench.serve()
    assert await bench.runtime.find(handle.launch_id, Options()) == handle
    await bench.replace_runtime()
    assert await bench.runtime.find(handle.launch_id, Options()) == handle
    assert await bench.runtime.find("unknown", Options()) is None
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    assert await bench.runtime.find(handle.launch_id, Options()) is None


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


async def test_handle_survives_json(bench: Bench) -> None:
    """As a row of the state holds it."""
    handle = await bench.serve()
    read = replace(handle, ref=json.loads(json.dumps(dict(handle.ref))))
    await bench.replace_runtime()
    assert await bench.runtime.poll(read) is None
    await bench.runtime.stop(read, force=True)
    await bench.ended(read)
