"""Several replicas of a deployment, in trouble."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from model_deployment.control.changes import Changes
from model_deployment.control.controller import Controller
from model_deployment.control.pause import TICK
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment
from model_deployment.core.errors import ChangeFailed, NoFreePort
from model_deployment.core.measures import MachineMemory
from model_deployment.core.names import ModelKey
from model_deployment.core.replacement import Strategy
from model_deployment.core.replica_counts import stuck_launch
from model_deployment.core.replicas import Replicas
from model_deployment.registry.client import Registry
from tests.support.fake_machine import EACH, Life
from tests.support.settling import is_complete
from tests.support.simulation import PLAIN, Simulation, simulation

KEY = ModelKey("diabetes", 1)
REPLICAS = 3


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation(ports=8) as it:
        await it.start()
        it.machine.prompt = True
        assert await it.deploy(KEY, replace(PLAIN, replicas=Replicas(REPLICAS, REPLICAS)))
        await complete(it)
        yield it
        await it.gone()


async def complete(sim: Simulation) -> Deployment:
    """Tick until all replicas serve with what the deployment has."""
    for _ in range(200):
        await sim.tick(0.5)
        row = await sim.row(KEY)
        if is_complete(row) and row.replacement is None:
            return row
    raise AssertionError(f"never complete: {row}")


async def restart(sim: Simulation) -> None:
    row = await sim.row(KEY)
    await sim.replacements.ask(row, row.options, Strategy.BESIDE, "restart", sim.machine.now + 100)


async def switched(sim: Simulation) -> Deployment:
    """Tick until the first launch of a change serves."""
    generation = (await sim.row(KEY)).generation
    for _ in range(100):
        await sim.tick(0.1)
        row = await sim.row(KEY)
        if row.generation > generation:
            return row
    raise AssertionError(f"never switched: {row}")


async def fail_starts(sim: Simulation, ticks: int, seconds: float) -> None:
    """Have each launch that loads its model exit."""
    sim.machine.prompt = False
    for _ in range(ticks):
        await sim.tick(seconds)
        for process in sim.machine.live:
            if process.life is Life.LOADING:
                sim.machine.end(process, 1)


async def reasons(sim: Simulation) -> list[str]:
    return [event.reason for event in reversed(await sim.deployments.events(KEY, 500))]


@pytest.mark.parametrize("survivors", [0, 1])
async def test_a_failed_download_is_repeated_where_several_replicas_wait_for_it(
    sim: Simulation, survivors: int
) -> None:
    sim.machine.prepare_error = RuntimeError("the registry is away")
    for process in sim.machine.live[survivors:]:
        sim.machine.end(process, -9)
    for _ in range(8):
        await sim.tick(0.2)
    assert "the registry is away" in await reasons(sim)
    sim.machine.prepare_error = None
    row = await complete(sim)
    assert len(row.ready) == REPLICAS


async def test_a_change_that_memory_has_room_for_tells_of_no_shortage(sim: Simulation) -> None:
    sim.machine.memory = EACH * (REPLICAS + 1) + 1
    await restart(sim)
    await complete(sim)
    assert [reason for reason in await reasons(sim) if "memory" in reason] == []


async def test_a_change_that_memory_holds_up_says_so_once_and_goes_on(sim: Simulation) -> None:
    await restart(sim)
    await switched(sim)
    sim.machine.memory = EACH * REPLICAS
    for _ in range(50):
        await sim.tick(1)
    told = [reason for reason in await reasons(sim) if "memory" in reason]
    assert len(told) == 1, told
    assert told[0].startswith("1 of 3 replicas have the restart, and memory has no room for")
    assert sim.reconciler.held_up(KEY)
    assert len((await sim.row(KEY)).ready) == REPLICAS
    sim.machine.memory = EACH * 100
    await complete(sim)
    assert not sim.reconciler.held_up(KEY)


async def test_a_change_whose_later_launches_fail_keeps_the_others_and_can_be_changed(
    sim: Simulation,
) -> None:
    await restart(sim)
    await switched(sim)
    await fail_starts(sim, 60, 5.0)
    row = await sim.row(KEY)
    assert len(row.ready) == REPLICAS
    stuck = stuck_launch(row)
    assert stuck is not None
    assert "exited with status 1" in stuck.reason
    sim.machine.prompt = True
    assert await sim.change(KEY, replace(row.options, workers=2))
    assert (await complete(sim)).options.workers == 2


@pytest.mark.parametrize("what", ["undeploy", "park", "close", "reboot"])
async def test_a_change_that_is_held_up_stands_in_the_way_of_nothing(
    sim: Simulation, what: str
) -> None:
    await restart(sim)
    await switched(sim)
    await fail_starts(sim, 30, 5.0)
    match what:
        case "undeploy":
            await sim.undeploy(KEY)
        case "park":
            await sim.park(KEY)
        case "close":
            await sim.shut_down()
            await sim.start()
        case "reboot":
            await sim.gone()
            sim.machine.reboot()
            await sim.start()
    sim.machine.prompt = True
    for _ in range(100):
        await sim.tick(0.5)
    row = await sim.row(KEY)
    assert row.replacement is None
    assert is_complete(row) or row.rest is not None
    assert bool(row.rest) == (what in ("undeploy", "park"))


def changes_of(sim: Simulation) -> Changes:
    """The use cases over the control loop that is ticked by hand."""

    async def compared_by(key: ModelKey) -> None:
        return None

    controller = Controller(
        deployments=sim.deployments,
        ports=sim.ports,
        registry=cast(Registry, None),
        reconciler=sim.reconciler,
        admission=Admission(sim.machine.free, guess=EACH, guess_of_fork=EACH, margin=0),
        defaults=PLAIN,
    )
    return Changes(
        controller=controller,
        deployments=sim.deployments,
        replacements=sim.replacements,
        reconciler=sim.reconciler,
        policy=sim.policy,
        memory=lambda: MachineMemory(1000, 1000),
        compared_by=compared_by,
    )


async def called(sim: Simulation, call: asyncio.Task[Deployment], *, fails_from: int) -> None:
    """Tick until a call has ended. Launches fail from a generation on."""
    for _ in range(200):
        await sim.tick(0.1)
        if (await sim.row(KEY)).generation >= fails_from:
            await fail_starts(sim, 1, 0.1)
        if call.done():
            return
    raise AssertionError("the call waits for a launch that fails")


async def test_a_change_whose_later_launches_fail_is_not_waited_for(sim: Simulation) -> None:
    call = asyncio.create_task(changes_of(sim).change(KEY, {"workers": 2}, 60))
    await called(sim, call, fails_from=2)
    row = await call
    assert row.options.workers == 2
    assert row.replacement is not None
    assert len(row.ready) == REPLICAS
    stuck = stuck_launch(row)
    assert stuck is not None
    assert stuck.reason == "the process exited with status 1"


async def test_a_change_whose_first_launch_fails_tells_that_all_others_go_on(
    sim: Simulation,
) -> None:
    call = asyncio.create_task(changes_of(sim).change(KEY, {"workers": 2}, 60))
    await called(sim, call, fails_from=1)
    with pytest.raises(
        ChangeFailed, match=r"status 1\. The launches before go on with their options"
    ):
        await call


async def test_more_replicas_than_ports_are_refused(sim: Simulation) -> None:
    before = await sim.row(KEY)
    changes = changes_of(sim)
    with pytest.raises(
        NoFreePort, match=f"cannot change {KEY}: .*9 replicas need 9 ports; usable: 8"
    ):
        await changes.change(KEY, {"replicas": Replicas(9, 9)}, 60)
    assert await sim.row(KEY) == before


async def test_a_change_that_has_begun_late_makes_no_haste(sim: Simulation) -> None:
    row = await sim.row(KEY)
    sim.machine.warming = True
    deadline = sim.machine.now + 10
    await sim.replacements.ask(row, row.options, Strategy.BESIDE, "restart", deadline)
    await sim.tick(9)
    sim.machine.warming, sim.machine.prompt = False, False
    await sim.tick(0.5)
    coming = (await sim.row(KEY)).coming
    assert coming is not None
    assert coming.is_live
    sim.machine.advance(5)  # past the time in which it had to begin
    await sim.reconciler.tick()
    assert await sim.reconciler.tick() == TICK
