"""Ports that the runtime holds: kept across restarts, so that requests wait instead of being refused."""

from collections.abc import Iterator

import pytest

from model_deployment.core.domain import Address, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fake_machine import Life
from tests.support.settling import addresses
from tests.support.simulation import FIRST, POLICY, Simulation, simulation
from tests.support.stored import leader

A, B = ModelKey("a", 1), ModelKey("b", 1)


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulation(holding=True) as it:
        yield it


async def started(sim: Simulation, *keys: ModelKey) -> None:
    await sim.start()
    await sim.ready(*keys)


async def dead(sim: Simulation, key: ModelKey) -> None:
    sim.machine.end(await sim.process(key), 1)
    await sim.tick()


async def starting(sim: Simulation, key: ModelKey) -> None:
    for _ in range(3):
        await sim.tick(1)
        if (await sim.row(key)).state is State.STARTING:
            return
    raise AssertionError(await sim.row(key))


def waits(sim: Simulation, key: ModelKey) -> bool:
    """Whether requests are kept waiting, and not sent on or refused."""
    (found,) = (route for route in sim.routes if route.key == key)
    assert not (found.waits and found.serves)
    return found.waits


def address(sim: Simulation, key: ModelKey) -> Address | None:
    (found,) = (addresses(route) for route in sim.routes if route.key == key)
    return found[0] if found else None


def sessions(sim: Simulation, key: ModelKey) -> list[str]:
    """What requests are sent to, now or in a moment."""
    return [one.session for route in sim.routes if route.key == key for one in route.targets]


async def test_requests_wait_while_it_restarts(sim: Simulation) -> None:
    await started(sim, A, B)
    session = (await sim.launch(A)).session
    where = address(sim, A)
    assert where == Address("127.0.0.1", FIRST)
    await dead(sim, A)
    assert (await sim.row(A)).state is State.PENDING
    assert (await sim.row(A)).port == FIRST
    assert waits(sim, A)
    # What was sent already goes on waiting at the port.
    assert sessions(sim, A) == [session]
    assert (await sim.ports.usage(sim.machine.now)).leased == 2
    await starting(sim, A)
    assert waits(sim, A)
    sim.machine.load(await sim.process(A))
    await sim.tick(0.1)
    row = await sim.row(A)
    assert (row.state, row.port, leader(row).session, row.restarts) == (
        State.READY,
        FIRST,
        session,
        1,
    )
    assert address(sim, A) == where
    assert not waits(sim, A)
    assert row.launch_id != session
    await sim.gone()


async def test_a_first_start_is_not_waited_for(sim: Simulation) -> None:
    await sim.start()
    await sim.deploy(A)
    await sim.tick()
    await sim.tick()
    assert (await sim.row(A)).state is State.STARTING
    assert address(sim, A) is None
    assert not waits(sim, A)
    await dead(sim, A)
    # But it keeps its port: nobody has to be kept from it.
    assert ((await sim.row(A)).state, (await sim.row(A)).port) == (State.PENDING, FIRST)
    assert address(sim, A) is None
    await sim.gone()


async def test_callers_of_one_that_hangs_wait_for_the_next_one(sim: Simulation) -> None:
    await started(sim, A)
    process = await sim.process(A)
    process.stubborn, process.life = True, Life.WEDGED
    sim.traffic[process.launch_id] = LaunchTraffic(in_flight=1, oldest=99)
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPING
    assert waits(sim, A)
    await sim.tick(POLICY.stop_grace)
    await sim.tick()
    assert (await sim.row(A)).state is State.PENDING
    assert waits(sim, A)
    await sim.gone()


@pytest.mark.parametrize("state", [State.PENDING, State.STARTING])
async def test_it_is_let_go_when_it_is_undeployed(sim: Simulation, state: State) -> None:
    await started(sim, A)
    await dead(sim, A)
    if state is State.STARTING:
        await starting(sim, A)
    assert (await sim.row(A)).state is state
    await sim.undeploy(A)
    await sim.tick()
    assert all(not route.serves for route in sim.routes)
    await sim.tick(1)
    assert (await sim.row(A)).state is State.STOPPED
    assert not sim.machine.held
    await sim.gone()


async def test_it_is_let_go_when_it_fails_for_good(sim: Simulation) -> None:
    await started(sim, A)
    sim.machine.start_error = OSError(12, "Cannot allocate memory")
    await dead(sim, A)
    for _ in range(2 * POLICY.tries + 1):
        await sim.tick(30)
    assert (await sim.row(A)).state is State.FAILED
    assert not sim.machine.held
    assert (await sim.ports.usage(sim.machine.now)).leased == 0
    await sim.gone()


async def test_it_is_let_go_when_it_is_parked(sim: Simulation) -> None:
    await sim.start()
    sim.machine.prompt = True
    await sim.deploy(A, Options(idle_timeout=9))
    for _ in range(4):
        await sim.tick(0.1)
    sim.traffic[(await sim.row(A)).launch_id or ""] = LaunchTraffic(idle=9)
    for _ in range(4):
        await sim.tick(0.1)
    assert (await sim.row(A)).state is State.PARKED
    assert not sim.machine.held
    await sim.gone()


async def test_it_is_let_go_by_a_controller_that_goes_down(sim: Simulation) -> None:
    await started(sim, A, B)
    await dead(sim, A)
    await sim.shut_down()  # and looks that nothing is held any more
    await sim.start()
    sim.machine.prompt = True
    for _ in range(8):
        await sim.tick(1)
    assert (await sim.row(A)).state is State.READY
    await sim.gone()


async def test_what_was_held_for_nobody_is_let_go_by_the_next_controller(sim: Simulation) -> None:
    await started(sim, A)
    sim.machine.held.add(FIRST + 2)
    await sim.gone()
    await sim.start()
    assert sim.machine.held == {FIRST}
    await sim.gone()


@pytest.mark.parametrize("stranger", [False, True])
async def test_a_holder_that_is_gone_is_done_without(sim: Simulation, stranger: bool) -> None:
    await started(sim, A)
    await dead(sim, A)
    sim.machine.held.clear()
    if stranger:
        sim.machine.squat(FIRST)
    await sim.gone()
    await sim.start()
    assert address(sim, A) is None
    await sim.tick(1)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.port) == (State.STARTING, FIRST + stranger)
    assert sim.machine.held == {FIRST + stranger}
    assert (await sim.ports.usage(sim.machine.now)).leased == 1
    await sim.gone()


async def test_a_port_that_the_runtime_holds_is_not_looked_at(sim: Simulation) -> None:
    # The fake machine calls whoever holds a port a stranger; it would be blocked if it were asked for.
    await started(sim, A)
    await dead(sim, A)
    await sim.tick(1)
    assert (await sim.row(A)).port == FIRST
    assert (await sim.ports.usage(sim.machine.now)).blocked == ()
    await sim.gone()


async def test_a_launch_waits_for_what_starts_it_and_nothing_else_does(sim: Simulation) -> None:
    await started(sim, A)
    sim.machine.warming = True
    await sim.deploy(B)
    for _ in range(3):
        await sim.tick(1)
    row = await sim.row(B)
    assert (row.state, row.launch_id, row.port) == (State.PENDING, None, None)
    assert row.reason == "waiting for the warm parent, which is importing"
    assert (await sim.row(A)).state is State.READY
    sim.machine.warming = False
    await starting(sim, B)


@pytest.mark.parametrize("holding", [True, False])
@pytest.mark.parametrize("code", [-9, -15, 0])
async def test_what_is_killed_from_outside_is_started_again_at_once_the_first_times(
    holding: bool, code: int
) -> None:
    with simulation(holding=holding) as sim:
        await started(sim, A)
        sim.machine.prompt = True
        pauses = []
        for _ in range(6):
            sim.machine.end(await sim.process(A), code)
            await sim.tick()
            row = await sim.row(A)
            assert (row.state, row.tries) == (State.PENDING, 0)
            assert waits(sim, A)
            pauses.append(max(0.0, leader(row).not_before - sim.machine.now))
            for _ in range(40):
                if (await sim.row(A)).state is State.READY:
                    break
                await sim.tick(0.2)
        assert pauses[:3] == [0, 0, 0]
        assert all(pause >= 0.5 for pause in pauses[3:])
        assert (await sim.row(A)).restarts == 6
        await sim.gone()


async def test_time_in_which_it_served_lets_ends_from_outside_be_forgotten(sim: Simulation) -> None:
    await started(sim, A)
    sim.machine.prompt = True
    for _ in range(10):
        sim.machine.end(await sim.process(A), -9)
        await sim.tick()
        assert (await sim.launch(A)).not_before <= sim.machine.now
        for _ in range(9):
            await sim.tick(1)
        assert (await sim.row(A)).state is State.READY
    await sim.gone()


async def test_one_that_is_stopped_is_killed_and_its_callers_wait(sim: Simulation) -> None:
    await started(sim, A)
    process = await sim.process(A)
    process.stopped = True
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason) == (State.STOPPING, "its process is stopped (SIGSTOP)")
    assert process.signals == [9]
    assert waits(sim, A)
    await sim.tick(0.1)
    row = await sim.row(A)
    assert (row.state, row.tries, row.kills) == (State.PENDING, 0, 1)
    assert leader(row).not_before <= sim.machine.now
    await sim.gone()


async def test_nobody_waits_for_what_is_not_to_come_back(sim: Simulation) -> None:
    await started(sim, A, B)
    await dead(sim, A)
    await sim.undeploy(A)
    await sim.tick()
    assert all(not route.waits for route in sim.routes if route.key == A)
    await dead(sim, B)
    assert waits(sim, B)
    await sim.deploy(A)
    await sim.tick()
    assert not waits(sim, A)
    await sim.shut_down()
    assert not any(route.waits for route in sim.routes)
    await sim.gone()
