"""The runtime of the simulations keeps what ``runtime/base.py`` promises, as far as the control loop asks.

The real ones are tested in ``tests/contract/test_runtime_*.py``; the names there are the same.
"""

import json
from dataclasses import replace

import pytest

from model_deployment.core.domain import LOST, Handle, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime.base import Runtime
from tests.support.fake_collaborators import FakeRuntime
from tests.support.fake_machine import SIGKILL, SIGTERM, FakeMachine

PORT = 8001


@pytest.fixture(params=[False, True], ids=["", "holding"])
def machine(request: pytest.FixtureRequest) -> FakeMachine:
    it = FakeMachine()
    it.holding = request.param
    return it


def new_runtime(machine: FakeMachine) -> Runtime:
    return FakeRuntime(machine)


def spec(runtime: Runtime, options: Options = Options(), port: int = PORT) -> LaunchSpec:  # noqa: B008
    address = runtime.address("a", port if runtime.needs_port(options) else None)
    return LaunchSpec("a", ModelKey("m", 1), "/m", address, options)


@pytest.mark.parametrize("method", [StartMethod.AUTO, StartMethod.CONTAINER])
async def test_started_launch_runs_and_comes_to_listen_where_it_was_told(
    machine: FakeMachine, method: StartMethod
) -> None:
    runtime = new_runtime(machine)
    wanted = spec(runtime, Options(start_method=method))
    handle = await runtime.start(wanted)
    assert (handle.launch_id, handle.address) == (wanted.launch_id, wanted.address)
    assert await runtime.poll(handle) is None
    assert not await runtime.listening(handle)
    machine.load(machine.processes["a"])
    assert await runtime.listening(handle)
    assert runtime.identity(handle)


async def test_foreign_process_on_the_port_is_not_the_launch(machine: FakeMachine) -> None:
    runtime = new_runtime(machine)
    machine.squat(PORT)
    assert runtime.occupant(PORT)
    if machine.holding:
        with pytest.raises(OSError, match="in use"):
            await runtime.start(spec(runtime))
        assert await runtime.list() == []
    else:
        handle = await runtime.start(spec(runtime))
        assert not await runtime.listening(handle)


@pytest.mark.parametrize(("force", "number"), [(False, SIGTERM), (True, SIGKILL)])
async def test_stop_may_be_repeated_also_after_the_end(
    machine: FakeMachine, force: bool, number: int
) -> None:
    runtime = new_runtime(machine)
    handle = await runtime.start(spec(runtime))
    for _ in range(2):
        await runtime.stop(handle, force=force)
    ended = await runtime.poll(handle)
    assert ended is not None
    assert ended.code == -number
    assert await runtime.list() == []


async def test_unknown_launch_is_lost(machine: FakeMachine) -> None:
    runtime = new_runtime(machine)
    unknown = Handle("unknown", runtime.address("unknown", PORT))
    assert await runtime.poll(unknown) == LOST
    assert not await runtime.listening(unknown)
    assert not runtime.suspended(unknown, Options())
    assert runtime.identity(unknown) == {}
    await runtime.stop(unknown, force=True)


async def test_new_runtime_finds_the_launches_of_the_old_one(machine: FakeMachine) -> None:
    handle = await new_runtime(machine).start(spec(new_runtime(machine)))
    stored = replace(handle, ref=json.loads(json.dumps(dict(handle.ref))))
    runtime = new_runtime(machine)
    assert await runtime.list() == [stored]
    assert await runtime.find("a", Options()) == stored
    assert await runtime.find("b", Options()) is None
    assert await runtime.poll(stored) is None
    await runtime.stop(stored, force=True)
    assert await runtime.poll(stored) == LOST
    assert await runtime.find("a", Options()) is None


async def test_launch_of_another_boot_is_lost_and_not_signalled(machine: FakeMachine) -> None:
    runtime = new_runtime(machine)
    handle = await runtime.start(spec(runtime))
    old = replace(handle, ref={**handle.ref, "boot": "another boot"})
    assert await runtime.poll(old) == LOST
    await runtime.stop(old, force=True)
    assert await runtime.poll(handle) is None


async def test_runtime_tells_whether_it_holds_a_port(machine: FakeMachine) -> None:
    runtime = new_runtime(machine)
    assert not runtime.holds(PORT)
    handle = await runtime.start(spec(runtime))
    assert runtime.holds(PORT) == machine.holding
    await runtime.stop(handle, force=True)
    assert runtime.holds(PORT) == machine.holding
    for _ in range(2):
        await runtime.release(PORT)
        assert not runtime.holds(PORT)
    assert runtime.occupant(PORT) is None
