"""Ports that the runtime holds: kept across restarts, so that requests wait instead of being refused."""

from collections.abc import Iterator

import pytest

from model_deployment.control.effects import HOST
from model_deployment.core.domain import Endpoint, LaunchTraffic, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fakes import Life
from tests.support.simulation import FIRST, POLICY, Stage, stage

A, B = ModelKey("a", 1), ModelKey("b", 1)


@pytest.fixture
def on() -> Iterator[Stage]:
    with stage(holding=True) as it:
        yield it


async def started(on: Stage, *keys: ModelKey) -> None:
    await on.start()
    await on.ready(*keys)


async def dead(on: Stage, key: ModelKey) -> None:
    on.machine.end(await on.process(key), 1)
    await on.tick()


async def starting(on: Stage, key: ModelKey) -> None:
    for _ in range(3):
        await on.tick(1)
        if (await on.row(key)).state is State.STARTING:
            return
    raise AssertionError(await on.row(key))


def waits(on: Stage, key: ModelKey) -> bool:
    """Whether requests are kept waiting, and not sent on or refused."""
    (found,) = (route for route in on.routes if route.key == key)
    assert not (found.waits and found.endpoint)
    return found.waits


def endpoint(on: Stage, key: ModelKey) -> Endpoint | None:
    (found,) = (route.endpoint for route in on.routes if route.key == key)
    return found


async def test_requests_wait_while_it_restarts(on: Stage) -> None:
    await started(on, A, B)
    session = (await on.row(A)).session
    where = endpoint(on, A)
    assert where == Endpoint(HOST, FIRST)
    await dead(on, A)
    assert (await on.row(A)).state is State.PENDING
    assert (await on.row(A)).port == FIRST
    assert waits(on, A)
    # What was sent already goes on waiting at the port.
    assert [route.session for route in on.routes if route.key == A] == [session]
    assert (await on.ports.usage(on.machine.now)).leased == 2
    await starting(on, A)
    assert waits(on, A)
    on.machine.load(await on.process(A))
    await on.tick(0.1)
    row = await on.row(A)
    assert (row.state, row.port, row.session, row.restarts) == (State.READY, FIRST, session, 1)
    assert endpoint(on, A) == where
    assert not waits(on, A)
    assert row.launch_id != session
    await on.gone()


async def test_a_first_start_is_not_waited_for(on: Stage) -> None:
    await on.start()
    await on.deploy(A)
    await on.tick()
    await on.tick()
    assert (await on.row(A)).state is State.STARTING
    assert endpoint(on, A) is None
    assert not waits(on, A)
    await dead(on, A)
    # But it keeps its port: nobody has to be kept from it.
    assert ((await on.row(A)).state, (await on.row(A)).port) == (State.PENDING, FIRST)
    assert endpoint(on, A) is None
    await on.gone()


async def test_callers_of_one_that_hangs_wait_for_the_next_one(on: Stage) -> None:
    await started(on, A)
    process = await on.process(A)
    process.stubborn, process.life = True, Life.WEDGED
    on.traffic[process.launch_id] = LaunchTraffic(in_flight=1, oldest=99)
    await on.tick()
    assert (await on.row(A)).state is State.STOPPING
    assert waits(on, A)
    await on.tick(POLICY.stop_grace)
    await on.tick()
    assert (await on.row(A)).state is State.PENDING
    assert waits(on, A)
    await on.gone()


@pytest.mark.parametrize("state", [State.PENDING, State.STARTING])
async def test_it_is_let_go_when_it_is_undeployed(on: Stage, state: State) -> None:
    await started(on, A)
    await dead(on, A)
    if state is State.STARTING:
        await starting(on, A)
    assert (await on.row(A)).state is state
    await on.undeploy(A)
    await on.tick()
    assert all(route.endpoint is None for route in on.routes)
    await on.tick(1)
    assert (await on.row(A)).state is State.STOPPED
    assert not on.machine.held
    await on.gone()


async def test_it_is_let_go_when_it_fails_for_good(on: Stage) -> None:
    await started(on, A)
    on.machine.start_error = OSError(12, "Cannot allocate memory")
    await dead(on, A)
    for _ in range(2 * POLICY.tries + 1):
        await on.tick(30)
    assert (await on.row(A)).state is State.FAILED
    assert not on.machine.held
    assert (await on.ports.usage(on.machine.now)).leased == 0
    await on.gone()


async def test_it_is_let_go_when_it_is_parked(on: Stage) -> None:
    await on.start()
    on.machine.prompt = True
    await on.deploy(A, Options(idle_timeout=9))
    for _ in range(4):
        await on.tick(0.1)
    on.traffic[(await on.row(A)).launch_id or ""] = LaunchTraffic(idle=9)
    for _ in range(4):
        await on.tick(0.1)
    assert (await on.row(A)).state is State.PARKED
    assert not on.machine.held
    await on.gone()


async def test_it_is_let_go_by_a_controller_that_goes_down(on: Stage) -> None:
    await started(on, A, B)
    await dead(on, A)
    await on.shut_down()  # and looks that nothing is held any more
    await on.start()
    on.machine.prompt = True
    for _ in range(8):
        await on.tick(1)
    assert (await on.row(A)).state is State.READY
    await on.gone()


async def test_what_was_held_for_nobody_is_let_go_by_the_next_controller(on: Stage) -> None:
    await started(on, A)
    on.machine.held.add(FIRST + 2)
    await on.gone()
    await on.start()
    assert on.machine.held == {FIRST}
    await on.gone()


@pytest.mark.parametrize("stranger", [False, True])
async def test_a_holder_that_is_gone_is_done_without(on: Stage, stranger: bool) -> None:
    await started(on, A)
    await dead(on, A)
    on.machine.held.clear()
    if stranger:
        on.machine.squat(FIRST)
    await on.gone()
    await on.start()
    assert endpoint(on, A) is None
    await on.tick(1)
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.port) == (State.STARTING, FIRST + stranger)
    assert on.machine.held == {FIRST + stranger}
    assert (await on.ports.usage(on.machine.now)).leased == 1
    await on.gone()


async def test_a_port_that_the_runtime_holds_is_not_looked_at(on: Stage) -> None:
    # The fake machine calls whoever holds a port a stranger; it would be blocked if it were asked for.
    await started(on, A)
    await dead(on, A)
    await on.tick(1)
    assert (await on.row(A)).port == FIRST
    assert (await on.ports.usage(on.machine.now)).blocked == ()
    await on.gone()


async def test_a_launch_waits_for_what_starts_it_and_nothing_else_does(on: Stage) -> None:
    await started(on, A)
    on.machine.warming = True
    await on.deploy(B)
    for _ in range(3):
        await on.tick(1)
    row = await on.row(B)
    assert (row.state, row.launch_id, row.port) == (State.PENDING, None, None)
    assert row.reason == "waiting for the warm parent, which is importing"
    assert (await on.row(A)).state is State.READY
    on.machine.warming = False
    await starting(on, B)


@pytest.mark.parametrize("holding", [True, False])
@pytest.mark.parametrize("code", [-9, -15, 0])
async def test_what_is_killed_from_outside_is_started_again_at_once_the_first_times(
    holding: bool, code: int
) -> None:
    with stage(holding=holding) as on:
        await started(on, A)
        on.machine.prompt = True
        pauses = []
        for _ in range(6):
            on.machine.end(await on.process(A), code)
            await on.tick()
            row = await on.row(A)
            assert (row.state, row.tries) == (State.PENDING, 0)
            assert waits(on, A)
            pauses.append(max(0.0, row.not_before - on.machine.now))
            for _ in range(40):
                if (await on.row(A)).state is State.READY:
                    break
                await on.tick(0.2)
        assert pauses[:3] == [0, 0, 0]
        assert all(pause >= 0.5 for pause in pauses[3:])
        assert (await on.row(A)).restarts == 6
        await on.gone()


async def test_time_in_which_it_served_lets_ends_from_outside_be_forgotten(on: Stage) -> None:
    await started(on, A)
    on.machine.prompt = True
    for _ in range(10):
        on.machine.end(await on.process(A), -9)
        await on.tick()
        assert (await on.row(A)).not_before <= on.machine.now
        for _ in range(9):
            await on.tick(1)
        assert (await on.row(A)).state is State.READY
    await on.gone()


async def test_one_that_is_stopped_is_killed_and_its_callers_wait(on: Stage) -> None:
    await started(on, A)
    process = await on.process(A)
    process.stopped = True
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason) == (State.STOPPING, "its process is stopped (SIGSTOP)")
    assert process.signals == [9]
    assert waits(on, A)
    await on.tick(0.1)
    row = await on.row(A)
    assert (row.state, row.tries, row.kills) == (State.PENDING, 0, 1)
    assert row.not_before <= on.machine.now
    await on.gone()


async def test_nobody_waits_for_what_is_not_to_come_back(on: Stage) -> None:
    await started(on, A, B)
    await dead(on, A)
    await on.undeploy(A)
    await on.tick()
    assert all(not route.waits for route in on.routes if route.key == A)
    await dead(on, B)
    assert waits(on, B)
    await on.deploy(A)
    await on.tick()
    assert not waits(on, A)
    await on.shut_down()
    assert not any(route.waits for route in on.routes)
    await on.gone()
