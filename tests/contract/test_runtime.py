"""The contract of a runtime: what ``runtime/base.py`` promises, for every implementation."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from model_deployment.core.domain import LOST, Address, Exit, Handle
from model_deployment.runtime import identity
from tests.support.runtime_bench import Bench, open_files
from tests.support.stubs import HOST, free_port
from tests.support.waiting import until


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours, and that leads a group of its own."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def pid_of(handle: Handle) -> int:
    return int(handle.ref["pid"])


def parent_and_child(bench: Bench, handle: Handle) -> tuple[int, int]:
    """The two processes of a stub that was started with ``wrapper``."""
    child = [pid for pid, cmdline in bench.pids(handle).items() if "--wrapped" in cmdline]
    assert len(child) == 1
    return pid_of(handle), child[0]


async def test_started_launch_runs_and_comes_to_listen_where_it_was_told(bench: Bench) -> None:
    spec = bench.spec()
    handle = await bench.runtime.start(spec)
    assert (handle.launch_id, handle.address) == (spec.launch_id, spec.address)
    assert await bench.runtime.poll(handle) is None
    await until(lambda: bench.runtime.listening(handle))
    assert await bench.runtime.poll(handle) is None
    assert [*bench.pids(handle)] == [pid_of(handle)]


async def test_launch_that_does_not_listen_yet_is_not_listening(bench: Bench) -> None:
    handle = await bench.start(never_ready=True)
    await until(lambda: "stub: loading" in bench.log(handle).read_text())
    # Where sockets are held, they listen before anybody is there to answer.
    assert await bench.runtime.listening(handle) == bench.holds


async def test_foreign_process_on_the_port_is_not_the_launch(bench: Bench) -> None:
    spec = bench.spec(never_ready=True)
    with socket.create_server((HOST, spec.address.port)):
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
    os.kill(pid_of(handle), signal.SIGKILL)
    await asyncio.wait_for(bench.exited.wait(), 1)
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
    os.kill(pid_of(handle), signal.SIGKILL)
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
    unknown = Handle("unknown", Address(HOST, free_port()))
    assert await bench.runtime.poll(unknown) == LOST
    assert not await bench.runtime.listening(unknown)
    await bench.runtime.stop(unknown, force=True)


async def test_launch_that_ended_unseen_is_lost(bench: Bench) -> None:
    handle = await bench.serve()
    await bench.runtime.stop(handle, force=True)
    await until(lambda: not bench.pids(handle))
    await bench.replace_runtime()
    assert await bench.runtime.poll(handle) == LOST


async def test_foreign_process_with_the_same_pid_is_never_signalled(
    bench: Bench, victim: subprocess.Popen[bytes]
) -> None:
    handle = await bench.serve()
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    # The victim started before the launch did, so this is surely another time than its own.
    later = handle.ref["started"] + 1
    reused = replace(handle, ref={**handle.ref, "pid": victim.pid, "started": later})
    assert await bench.runtime.poll(reused) == LOST
    assert not await bench.runtime.listening(reused)
    for force in (False, True):
        await bench.runtime.stop(reused, force=force)
    assert await bench.runtime.poll(reused) == LOST
    assert victim.poll() is None


async def test_launch_of_another_boot_is_lost_and_not_signalled(bench: Bench) -> None:
    handle = await bench.serve()
    old = replace(handle, ref={**handle.ref, "boot": "another boot"})
    assert await bench.runtime.poll(old) == LOST
    await bench.runtime.stop(old, force=True)
    assert await bench.runtime.poll(handle) is None
    assert await bench.runtime.listening(handle)


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
    os.kill(pid_of(handle), signal.SIGKILL)
    await asyncio.wait_for(bench.exited.wait(), 1)
    assert await bench.ended(handle) == LOST


@pytest.mark.parametrize("force", [False, True])
async def test_adopted_launch_can_be_stopped(bench: Bench, force: bool) -> None:
    handle = await bench.serve(wrapper=True)
    await bench.replace_runtime()
    await bench.runtime.stop(handle, force=force)
    assert await bench.ended(handle) == LOST
    assert bench.pids(handle) == {}


async def test_orphans_of_a_launch_that_broke_unseen_are_ended_by_poll(bench: Bench) -> None:
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
    with socket.create_connection((handle.address.host, handle.address.port), timeout=1):
        assert bench.pids(handle)


async def test_program_that_is_not_there_raises_and_leaves_nothing(bench: Bench) -> None:
    before = open_files()
    await bench.replace_runtime(program="/nonexistent/python")
    spec = bench.spec()
    with pytest.raises(OSError, match="No such file"):
        await bench.runtime.start(spec)
    assert await bench.runtime.list() == []
    assert bench.pids(Handle(spec.launch_id, spec.address)) == {}
    assert open_files() <= before


async def test_runtime_tells_whether_it_holds_a_port(bench: Bench) -> None:
    address = Address(HOST, free_port())
    assert not bench.runtime.holds(address)
    handle = await bench.runtime.start(replace(bench.spec(), address=address))
    assert bench.runtime.holds(address) == bench.holds
    await bench.runtime.stop(handle, force=True)
    await bench.ended(handle)
    assert bench.runtime.holds(address) == bench.holds
    for _ in range(2):
        await bench.runtime.release(address)
        assert not bench.runtime.holds(address)
    with socket.create_server((address.host, address.port)):
        assert not bench.runtime.holds(address)


async def test_stop_reaches_a_launch_that_has_no_environment_yet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the moment between the start of a program and its first instruction."""
    handle = await bench.serve()
    with monkeypatch.context() as patched:
        patched.setattr(identity, "marker_of", lambda pid: None)
        await bench.runtime.stop(handle, force=True)
        assert (await bench.ended(handle)).code == -signal.SIGKILL
