"""What a controller leaves behind when it goes, and what the next one makes of it."""

import sqlite3

import pytest

from model_deployment.control.reconciler import SWEEP
from model_deployment.core.domain import Address, Desired, LaunchSpec, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fake_machine import SIGKILL, SIGTERM
from tests.support.settling import addresses
from tests.support.simulation import FIRST, Simulation
from tests.support.stored import leader

A, B, C = (ModelKey(name, 1) for name in "abc")


async def restart(sim: Simulation) -> None:
    await sim.gone()
    await sim.start()


async def crash_at(sim: Simulation, name: str) -> None:
    """Tick, and be killed where this step is."""
    assert await sim.crashes(sim.reconciler.tick, name)


async def test_a_live_launch_is_adopted_and_serves_on(sim: Simulation) -> None:
    await sim.ready(A)
    before, process = await sim.row(A), await sim.process(A)
    await restart(sim)
    assert [addresses(route) for route in sim.routes] == [[Address("127.0.0.1", FIRST)]]
    await sim.tick()
    after = await sim.row(A)
    assert (after.state, after.launch_id) == (State.READY, before.launch_id)
    assert (process.alive, process.signals) == (True, [])
    events = await sim.deployments.events(A)
    assert events[0].reason == "adopted by a new controller"


async def test_a_launch_nobody_noted_the_handle_of_is_adopted_too(sim: Simulation) -> None:
    await sim.deploy(A)
    await sim.tick()
    await crash_at(sim, "after start")
    (process,) = sim.machine.live
    await sim.start()
    sim.machine.load(process)
    await sim.tick(0.1)
    row = await sim.row(A)
    assert (row.state, row.launch_id, row.tries) == (State.READY, process.launch_id, 0)


async def test_a_launch_that_was_noted_and_never_started_is_tried_again(sim: Simulation) -> None:
    await sim.deploy(A)
    await sim.tick()
    await crash_at(sim, "before start")
    await sim.start()
    await sim.tick()
    assert (await sim.row(A)).state is State.PENDING
    sim.machine.advance(1)
    await sim.ready(A)


async def test_a_launch_that_died_meanwhile_is_restarted(sim: Simulation) -> None:
    await sim.ready(A)
    before = await sim.row(A)
    await sim.gone()
    sim.machine.end(sim.machine.live[0], 1)
    await sim.start()
    await sim.tick()
    row = await sim.row(A)
    # Nobody saw how it ended, and it worked: that costs no try, and no time.
    assert (row.state, row.reason, row.tries) == (State.PENDING, "the process is gone", 0)
    assert (row.kills, row.proven, leader(row).not_before) == (1, True, 0)
    await sim.ready(A)
    assert (await sim.row(A)).launch_id != before.launch_id


async def test_a_launch_without_a_row_is_killed(sim: Simulation) -> None:
    spec = LaunchSpec("stray", A, "/artifacts", Address("127.0.0.1", FIRST), Options())
    await sim.gone()
    process = sim.machine.spawn(spec)
    await sim.start()
    assert (process.alive, process.signals) == (False, [SIGKILL])


async def test_so_is_one_that_turns_up_later(sim: Simulation) -> None:
    process = sim.machine.spawn(
        LaunchSpec("stray", A, "/artifacts", Address("127.0.0.1", FIRST), Options())
    )
    await sim.tick(SWEEP)
    assert (process.alive, process.signals) == (False, [SIGKILL])


async def test_a_lease_without_a_row_is_pruned(sim: Simulation) -> None:
    await sim.ready(A)
    await sim.database.write(
        lambda c: c.execute("UPDATE ports SET launch_id = 'stray' WHERE port = ?", (FIRST + 3,))
    )
    await sim.reconciler.recover()
    assert (await sim.ports.usage(sim.machine.now)).leased == 1
    await sim.check()


async def test_a_signal_that_was_written_down_and_not_sent_is_sent(sim: Simulation) -> None:
    await sim.ready(A)
    process = await sim.process(A)
    await sim.undeploy(A)
    await sim.tick()
    await crash_at(sim, f"before signal {SIGTERM}")
    assert process.signals == []
    await sim.start()
    assert process.signals == [SIGTERM]
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPED


async def test_nothing_survives_a_reboot_and_all_comes_back(sim: Simulation) -> None:
    await sim.ready(A, B)
    await sim.gone()
    sim.machine.reboot()
    sim.machine.prompt = True
    await sim.start()
    for _ in range(5):
        await sim.tick(1)
    assert [(await sim.row(key)).state for key in (A, B)] == [State.READY, State.READY]


async def test_closing_takes_the_models_down_and_leaves_the_wishes(sim: Simulation) -> None:
    await sim.ready(A, B)
    await sim.deploy(C)
    await sim.tick()
    await sim.tick()
    (await sim.process(A)).stubborn = True
    sim.traffic[(await sim.row(B)).launch_id or ""] = LaunchTraffic(in_flight=1)
    await sim.shut_down()
    signals = {process.key: process.signals for process in sim.machine.processes.values()}
    assert signals == {A: [SIGTERM, SIGKILL], B: [SIGTERM], C: [SIGTERM]}
    sim.machine.prompt = True
    await sim.start()
    for key in (A, B, C):
        row = await sim.row(key)
        assert (row.state, row.desired, row.tries) == (State.PENDING, Desired.RUNNING, 0)
        assert row.reason == "stopped by the controller"
    for _ in range(5):
        await sim.tick(1)
        sim.machine.advance(1)
    assert {route.key for route in sim.routes if route.serves} == {A, B, C}


async def test_closing_ends_at_its_limit(sim: Simulation) -> None:
    await sim.ready(A)
    sim.traffic[(await sim.row(A)).launch_id or ""] = LaunchTraffic(in_flight=1)
    await sim.reconciler.close(keep=False, limit=2)
    assert (await sim.row(A)).state is State.STOPPING
    assert sim.machine.live


async def test_closing_may_keep_the_models(sim: Simulation) -> None:
    await sim.ready(A)
    await sim.reconciler.close(keep=True, limit=60)
    process = await sim.process(A)
    assert (process.alive, process.signals) == (True, [])
    await restart(sim)
    assert (await sim.row(A)).state is State.READY


@pytest.mark.parametrize("write", ["Deployments.note", "Ports.prune"])
async def test_what_lives_is_served_also_where_nothing_can_be_written(
    sim: Simulation, write: str
) -> None:
    async def disk_full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await sim.ready(A, B)
    await sim.gone()
    sim.steps.arm(f"before {write}", disk_full)
    await sim.start()
    assert sim.steps.disarm()
    assert {route.key for route in sim.routes if route.serves} == {A, B}
    await sim.tick()
    assert {(await sim.row(key)).state for key in (A, B)} == {State.READY}


async def test_a_sweep_makes_room_before_it_writes(sim: Simulation) -> None:
    async def disk_full() -> None:
        assert sim.machine.kept
        raise sqlite3.OperationalError("database or disk is full")

    await sim.ready(A)
    sim.machine.kept.clear()
    sim.steps.arm("before Ports.prune", disk_full)
    await sim.tick(SWEEP)
    assert sim.steps.disarm()
    assert sim.machine.kept == [{(await sim.row(A)).launch_id}]


async def test_logs_that_cannot_be_removed_do_not_keep_leases(sim: Simulation) -> None:
    await sim.ready(A)
    sim.machine.tidy_error = OSError("Read-only file system")
    await sim.database.write(
        lambda c: c.execute("UPDATE ports SET launch_id = 'stray' WHERE port = ?", (FIRST + 3,))
    )
    await sim.reconciler.tick()  # not due yet
    assert (await sim.ports.usage(sim.machine.now)).leased == 2
    await sim.reconciler._sweep_if_possible()
    assert (await sim.ports.usage(sim.machine.now)).leased == 1
