"""Parked deployments: stopped for want of requests, woken by one, and ports that go round."""

from collections.abc import Iterator

import pytest

from model_deployment.core.domain import LaunchTraffic, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fakes import EACH
from tests.support.simulation import FIRST, QUARANTINE, Stage, stage

IDLE = Options(idle_timeout=60)
A, B, C = (ModelKey(name, 1) for name in "abc")


@pytest.fixture
def on() -> Iterator[Stage]:
    with stage(ports=2) as it:
        it.machine.prompt = True
        yield it


async def started(on: Stage, *keys: ModelKey) -> None:
    await on.start()
    for key in keys:
        assert await on.deploy(key, IDLE)
        await until(on, key, State.READY)


async def until(on: Stage, key: ModelKey, state: State) -> None:
    for _ in range(12):
        if (await on.row(key)).state is state:
            return
        await on.tick(0.1)
    raise AssertionError(f"{await on.row(key)} is not {state}")


async def idle(on: Stage, key: ModelKey, seconds: float) -> None:
    """Nobody has used it for so long."""
    on.traffic[(await on.row(key)).launch_id or ""] = LaunchTraffic(idle=seconds)


async def test_an_idle_model_is_parked_and_a_request_wakes_it(on: Stage) -> None:
    await started(on, A)
    await idle(on, A, 60)
    await until(on, A, State.PARKED)
    parked = await on.row(A)
    assert (parked.reason, parked.port, parked.launches) == ("nobody asked for 60 s", None, 0)
    assert on.machine.live == []
    assert [(r.state, r.waits, r.endpoint) for r in on.routes] == [(State.PARKED, True, None)]
    await on.tick(3600)
    assert (await on.row(A)).state is State.PARKED
    await on.request(A)
    await until(on, A, State.READY)
    # Not even its own port rests after that: nobody else is behind it.
    assert ((await on.row(A)).port, (await on.row(A)).restarts) == (FIRST, 0)
    reasons = [event.reason for event in await on.deployments.events(A)]
    assert "a request woke it" in reasons
    await on.gone()


async def test_who_asks_while_it_is_parked_is_not_forgotten(on: Stage) -> None:
    await started(on, A)
    (await on.process(A)).stubborn = True
    await idle(on, A, 60)
    await on.tick()
    assert (await on.row(A)).state is State.STOPPING
    await on.request(A)
    for _ in range(5):
        await on.tick(2)
    await until(on, A, State.READY)
    await on.gone()


@pytest.mark.parametrize("point", ["stopping", "parked", "woken"])
async def test_undeploy_ends_it_wherever_it_is(on: Stage, point: str) -> None:
    await started(on, A)
    await idle(on, A, 60)
    await on.tick()
    if point != "stopping":
        await until(on, A, State.PARKED)
    if point == "woken":
        await on.request(A)
        await on.tick()
        assert (await on.row(A)).state is State.PENDING
    await on.undeploy(A)
    await until(on, A, State.STOPPED)
    assert on.machine.live == []
    assert on.routes == []
    await on.gone()


@pytest.mark.parametrize("point", ["stopping", "parked"])
async def test_deploying_it_again_starts_it(on: Stage, point: str) -> None:
    await started(on, A)
    await idle(on, A, 60)
    await on.tick()
    if point == "parked":
        await until(on, A, State.PARKED)
    await on.deploy(A, IDLE)
    on.traffic.clear()
    await until(on, A, State.PENDING)
    await until(on, A, State.READY)
    await on.gone()


async def test_it_stays_parked_with_the_next_controller(on: Stage) -> None:
    await started(on, A, B)
    await idle(on, A, 60)
    await until(on, A, State.PARKED)
    await on.gone()
    await on.start()
    await on.tick(1)
    assert (await on.row(A)).state is State.PARKED
    await on.request(A)
    await until(on, A, State.READY)
    await on.shut_down()
    await on.start()
    await on.tick(QUARANTINE)
    await until(on, A, State.READY)
    await on.gone()


async def test_requests_wait_for_what_may_be_parked_and_for_nothing_else(on: Stage) -> None:
    await on.start()
    await on.deploy(A, IDLE)
    await on.deploy(B)
    await on.tick()
    assert {route.key: route.waits for route in on.routes} == {A: True, B: False}
    await on.undeploy(A)
    await on.tick()
    assert not any(route.waits for route in on.routes)
    await on.gone()


async def test_a_port_goes_from_who_used_it_least_to_who_needs_it(on: Stage) -> None:
    await started(on, A, B)
    await idle(on, A, 10)
    await idle(on, B, 20)
    assert await on.deploy(C, IDLE)
    await until(on, C, State.READY)
    assert [(await on.row(key)).state for key in (A, B)] == [State.READY, State.PARKED]
    assert (await on.row(C)).port == FIRST + 1
    assert (await on.row(B)).reason == "idle, and another model needs its place"
    await on.gone()


@pytest.mark.parametrize(
    "traffic",
    [LaunchTraffic(idle=0.4), LaunchTraffic(in_flight=1), LaunchTraffic(reading=1)],
    ids=str,
)
async def test_what_is_in_use_keeps_its_port(on: Stage, traffic: LaunchTraffic) -> None:
    await started(on, A, B)
    for key in (A, B):
        on.traffic[(await on.row(key)).launch_id or ""] = traffic
    assert await on.deploy(C, IDLE)
    for _ in range(10):
        await on.tick(0.1)
    assert (await on.row(C)).reason == f"waiting for a free port in {FIRST}-{FIRST + 1}"
    await idle(on, A, 1)
    await until(on, C, State.READY)
    assert (await on.row(A)).state is State.PARKED
    await on.gone()


async def test_those_that_are_never_parked_leave_one_port_to_the_others(on: Stage) -> None:
    await started(on, A)
    assert await on.deploy(B)
    assert not await on.deploy(C)
    for version in range(2, 30):
        assert await on.deploy(ModelKey("a", version), IDLE)
    await on.undeploy(B)
    await until(on, B, State.STOPPED)
    assert await on.deploy(C)
    await on.gone()


async def test_without_memory_it_stays_parked_and_says_so(on: Stage) -> None:
    await started(on, A, B)
    await idle(on, A, 60)
    await until(on, A, State.PARKED)
    on.machine.memory = EACH
    await on.request(A)
    await on.tick()
    await on.tick()
    assert (await on.row(A)).state is State.PARKED
    ((key, detail),) = on.refused
    assert key == A
    assert detail.startswith(
        "cannot predict with a-1, which is parked: it needs 0 MB of memory (by a "
    )
    on.machine.memory = 9 * EACH
    await on.request(A)
    await until(on, A, State.READY)
    await on.gone()


async def test_memory_goes_round_as_ports_do(on: Stage) -> None:
    await started(on, A, B)
    for key in (A, B):
        await on.deployments.record_memory((await on.row(key)).launch_id or "", EACH)
    await idle(on, A, 60)
    await until(on, A, State.PARKED)
    on.machine.memory = 2 * EACH  # with the margin, there is room for one
    await on.request(A)
    await on.tick()
    assert (await on.row(A)).state is State.PENDING
    await idle(on, B, 1)
    await until(on, A, State.READY)
    assert (await on.row(B)).state is State.PARKED
    assert on.refused == []
    await on.gone()
