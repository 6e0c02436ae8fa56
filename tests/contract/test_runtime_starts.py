"""The contract of a runtime, for every implementation: what is started listens where it was told."""

import asyncio
import socket

import pytest

from model_deployment.core.domain import Handle
from model_deployment.core.options import Options
from tests.support.runtime_bench import Bench, open_files
from tests.support.waiting import until


def needs_ports(bench: Bench) -> None:
    if not bench.ports:
        assert not bench.runtime.needs_port(Options())
        pytest.skip("its launches listen on no port")


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
