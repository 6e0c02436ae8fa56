"""Parked deployments: stopped for want of requests, woken by one, and ports that go round."""

import sqlite3
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from model_deployment.control.steps import Steps
from model_deployment.control.tick import Tick
from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fake_machine import EACH
from tests.support.simulation import FIRST, QUARANTINE, Simulation, simulation

IDLE = Options(idle_timeout=60)
OTHER = Options(idle_timeout=60, workers=2)
A, B, C = (ModelKey(name, 1) for name in "abc")


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with simulation(ports=2) as it:
        it.machine.prompt = True
        yield it


async def started(sim: Simulation, *keys: ModelKey) -> None:
    await sim.start()
    for key in keys:
        assert await sim.deploy(key, IDLE)
        await until(sim, key, State.READY)


async def until(sim: Simulation, key: ModelKey, state: State) -> None:
    for _ in range(12):
        if (await sim.row(key)).state is state:
            return
        await sim.tick(0.1)
    raise AssertionError(f"{await sim.row(key)} is not {state}")


async def idle(sim: Simulation, key: ModelKey, seconds: float) -> None:
    """Nobody has used it for so long."""
    sim.traffic[(await sim.row(key)).launch_id or ""] = LaunchTraffic(idle=seconds)


async def test_an_idle_model_is_parked_and_a_request_wakes_it(sim: Simulation) -> None:
    await started(sim, A)
    await idle(sim, A, 60)
    await until(sim, A, State.PARKED)
    parked = await sim.row(A)
    assert (parked.reason, parked.port, parked.starts) == ("no request for 60 s", None, 0)
    assert sim.machine.live == []
    assert [(r.state, r.waits, r.serves) for r in sim.routes] == [(State.PARKED, True, False)]
    await sim.tick(3600)
    assert (await sim.row(A)).state is State.PARKED
    await sim.request(A)
    await until(sim, A, State.READY)
    # Not even its own port rests after that: nobody else is behind it.
    assert ((await sim.row(A)).port, (await sim.row(A)).restarts) == (FIRST, 0)
    reasons = [event.reason for event in await sim.deployments.events(A)]
    assert "started by a request" in reasons
    await sim.gone()


async def test_who_asks_while_it_is_parked_is_not_forgotten(sim: Simulation) -> None:
    await started(sim, A)
    (await sim.process(A)).stubborn = True
    await idle(sim, A, 60)
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPING
    await sim.request(A)
    for _ in range(5):
        await sim.tick(2)
    await until(sim, A, State.READY)
    await sim.gone()


@pytest.mark.parametrize("point", ["stopping", "parked", "woken"])
async def test_undeploy_ends_it_wherever_it_is(sim: Simulation, point: str) -> None:
    await started(sim, A)
    await idle(sim, A, 60)
    await sim.tick()
    if point != "stopping":
        await until(sim, A, State.PARKED)
    if point == "woken":
        await sim.request(A)
        await sim.tick()
        assert (await sim.row(A)).state is State.PENDING
    await sim.undeploy(A)
    await until(sim, A, State.STOPPED)
    assert sim.machine.live == []
    assert sim.routes == []
    await sim.gone()


@pytest.mark.parametrize("point", ["stopping", "parked"])
async def test_deploying_it_again_starts_it(sim: Simulation, point: str) -> None:
    await started(sim, A)
    await idle(sim, A, 60)
    await sim.tick()
    if point == "parked":
        await until(sim, A, State.PARKED)
    await sim.deploy(A, IDLE)
    sim.traffic.clear()
    await until(sim, A, State.PENDING)
    await until(sim, A, State.READY)
    await sim.gone()


async def test_it_stays_parked_with_the_next_controller(sim: Simulation) -> None:
    await started(sim, A, B)
    await idle(sim, A, 60)
    await until(sim, A, State.PARKED)
    await sim.gone()
    await sim.start()
    await sim.tick(1)
    assert (await sim.row(A)).state is State.PARKED
    await sim.request(A)
    await until(sim, A, State.READY)
    await sim.shut_down()
    await sim.start()
    await sim.tick(QUARANTINE)
    await until(sim, A, State.READY)
    await sim.gone()


async def test_requests_wait_for_what_may_be_parked_and_for_nothing_else(sim: Simulation) -> None:
    await sim.start()
    await sim.deploy(A, IDLE)
    await sim.deploy(B)
    await sim.tick()
    assert {route.key: route.waits for route in sim.routes} == {A: True, B: False}
    await sim.undeploy(A)
    await sim.tick()
    assert not any(route.waits for route in sim.routes)
    await sim.gone()


async def test_a_port_goes_from_who_used_it_least_to_who_needs_it(sim: Simulation) -> None:
    await started(sim, A, B)
    await idle(sim, A, 10)
    await idle(sim, B, 20)
    assert await sim.deploy(C, IDLE)
    await until(sim, C, State.READY)
    assert [(await sim.row(key)).state for key in (A, B)] == [State.READY, State.PARKED]
    assert (await sim.row(C)).port == FIRST + 1
    assert (await sim.row(B)).reason == "idle, and another model needs its port or memory"
    await sim.gone()


@pytest.mark.parametrize(
    "traffic",
    [LaunchTraffic(idle=0.4), LaunchTraffic(in_flight=1), LaunchTraffic(reading=1)],
    ids=str,
)
async def test_what_is_in_use_keeps_its_port(sim: Simulation, traffic: LaunchTraffic) -> None:
    await started(sim, A, B)
    for key in (A, B):
        sim.traffic[(await sim.row(key)).launch_id or ""] = traffic
    assert await sim.deploy(C, IDLE)
    for _ in range(10):
        await sim.tick(0.1)
    assert (await sim.row(C)).reason == f"waiting for a free port in {FIRST}-{FIRST + 1}"
    await idle(sim, A, 1)
    await until(sim, C, State.READY)
    assert (await sim.row(A)).state is State.PARKED
    await sim.gone()


async def test_those_that_are_never_parked_leave_one_port_to_the_others(sim: Simulation) -> None:
    await started(sim, A)
    assert await sim.deploy(B)
    assert not await sim.deploy(C)
    for version in range(2, 30):
        assert await sim.deploy(ModelKey("a", version), IDLE)
    await sim.undeploy(B)
    await until(sim, B, State.STOPPED)
    assert await sim.deploy(C)
    await sim.gone()


async def test_without_memory_it_stays_parked_and_says_so(sim: Simulation) -> None:
    await started(sim, A, B)
    await idle(sim, A, 60)
    await until(sim, A, State.PARKED)
    sim.machine.memory = EACH
    await sim.request(A)
    await sim.tick()
    await sim.tick()
    assert (await sim.row(A)).state is State.PARKED
    ((key, detail),) = sim.refused
    assert key == A
    assert detail.startswith(
        "cannot predict with a-1, which is parked: it needs 0 MB of memory (an "
    )
    sim.machine.memory = 9 * EACH
    await sim.request(A)
    await until(sim, A, State.READY)
    await sim.gone()


async def test_memory_goes_round_as_ports_do(sim: Simulation) -> None:
    await started(sim, A, B)
    for key in (A, B):
        await sim.launches.record_memory((await sim.row(key)).launch_id or "", EACH)
    await idle(sim, A, 60)
    await until(sim, A, State.PARKED)
    sim.machine.memory = 2 * EACH  # with the margin, there is room for one
    await sim.request(A)
    await sim.tick()
    assert (await sim.row(A)).state is State.PENDING
    await idle(sim, B, 1)
    await until(sim, A, State.READY)
    assert (await sim.row(B)).state is State.PARKED
    assert sim.refused == []
    await sim.gone()


async def test_a_change_asked_for_while_it_is_being_parked_is_made(sim: Simulation) -> None:
    await started(sim, A)
    await sim.park(A)
    sim.steps.arm("before Launches.stop", lambda: sim.change(A, OTHER))
    await sim.tick()
    assert sim.steps.disarm()
    row = await sim.row(A)
    assert row.parking
    assert row.replacement is not None
    sim.machine.memory = 0  # the second launch waits until the first is gone
    await until(sim, A, State.PARKED)
    sim.machine.memory = 9 * EACH
    await until(sim, A, State.READY)
    row = await sim.row(A)
    assert (row.options, row.replacement) == (OTHER, None)
    await sim.gone()


async def test_what_stays_illegal_is_tried_again_without_haste(sim: Simulation) -> None:
    await started(sim, A)

    async def illegal(id: int, tick: Tick, row: Deployment) -> Deployment:
        raise IllegalTransition("cannot move a-1")

    with patch.object(Steps, "of_launch", illegal):
        sim.reconciler._wake.clear()
        await sim.tick()
    assert not sim.reconciler._wake.is_set()
    await sim.gone()


async def test_an_order_to_park_outlives_a_full_disk(sim: Simulation) -> None:
    await started(sim, A)

    async def fail() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await sim.park(A)
    sim.steps.arm("before Deployments.park", fail)
    await sim.tick()
    assert sim.steps.disarm()
    assert (await sim.row(A)).state is State.READY
    await until(sim, A, State.PARKED)
    # It is obeyed once.
    await sim.request(A)
    await until(sim, A, State.READY)
    await sim.tick(1)
    assert (await sim.row(A)).state is State.READY
    await sim.gone()
