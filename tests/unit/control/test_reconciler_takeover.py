"""What a controller leaves behind when it goes, and what the next one makes of it."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from model_deployment.control.reconciler import SWEEP
from model_deployment.core.domain import Desired, Endpoint, LaunchSpec, LaunchTraffic, State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fakes import SIGKILL, SIGTERM
from tests.support.simulation import FIRST, Stage, stage

A, B, C = (ModelKey(name, 1) for name in "abc")


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    with stage() as made:
        await made.start()
        yield made
        await made.gone()


async def restart(on: Stage) -> None:
    await on.gone()
    await on.start()


async def crash_at(on: Stage, name: str) -> None:
    """Tick, and be killed where this step is."""
    assert await on.crashes(on.reconciler.tick, name)


async def test_a_live_launch_is_adopted_and_serves_on(on: Stage) -> None:
    await on.ready(A)
    before, process = await on.row(A), await on.process(A)
    await restart(on)
    assert [route.endpoint for route in on.routes] == [Endpoint("127.0.0.1", FIRST)]
    await on.tick()
    after = await on.row(A)
    assert (after.state, after.launch_id) == (State.READY, before.launch_id)
    assert (process.alive, process.signals) == (True, [])
    events = await on.deployments.events(A)
    assert events[0].reason == "adopted by a new controller"


async def test_a_launch_nobody_noted_the_handle_of_is_adopted_too(on: Stage) -> None:
    await on.deploy(A)
    await on.tick()
    await crash_at(on, "after start")
    (process,) = on.machine.live
    await on.start()
    on.machine.load(process)
    await on.tick(0.1)
    row = await on.row(A)
    assert (row.state, row.launch_id, row.tries) == (State.READY, process.launch_id, 0)


async def test_a_launch_that_was_noted_and_never_started_is_tried_again(on: Stage) -> None:
    await on.deploy(A)
    await on.tick()
    await crash_at(on, "before start")
    await on.start()
    await on.tick()
    assert (await on.row(A)).state is State.PENDING
    on.machine.advance(1)
    await on.ready(A)


async def test_a_launch_that_died_meanwhile_is_restarted(on: Stage) -> None:
    await on.ready(A)
    before = await on.row(A)
    await on.gone()
    on.machine.end(on.machine.live[0], 1)
    await on.start()
    await on.tick()
    row = await on.row(A)
    # Nobody saw how it ended, and it worked: that costs no try, and no time.
    assert (row.state, row.reason, row.tries) == (State.PENDING, "the process is gone", 0)
    assert (row.kills, row.proven, row.not_before) == (1, True, 0)
    await on.ready(A)
    assert (await on.row(A)).launch_id != before.launch_id


async def test_a_launch_without_a_row_is_killed(on: Stage) -> None:
    spec = LaunchSpec("stray", A, "/artifacts", Endpoint("127.0.0.1", FIRST), Options())
    await on.gone()
    process = on.machine.spawn(spec)
    await on.start()
    assert (process.alive, process.signals) == (False, [SIGKILL])


async def test_so_is_one_that_turns_up_later(on: Stage) -> None:
    process = on.machine.spawn(
        LaunchSpec("stray", A, "/artifacts", Endpoint("127.0.0.1", FIRST), Options())
    )
    await on.tick(SWEEP)
    assert (process.alive, process.signals) == (False, [SIGKILL])


async def test_a_lease_without_a_row_is_pruned(on: Stage) -> None:
    await on.ready(A)
    await on.database.write(
        lambda c: c.execute("UPDATE ports SET launch_id = 'stray' WHERE port = ?", (FIRST + 3,))
    )
    await on.reconciler.recover()
    assert (await on.ports.usage(on.machine.now)).leased == 1
    await on.check()


async def test_a_signal_that_was_written_down_and_not_sent_is_sent(on: Stage) -> None:
    await on.ready(A)
    process = await on.process(A)
    await on.undeploy(A)
    await on.tick()
    await crash_at(on, f"before signal {SIGTERM}")
    assert process.signals == []
    await on.start()
    assert process.signals == [SIGTERM]
    await on.tick()
    assert (await on.row(A)).state is State.STOPPED


async def test_nothing_survives_a_reboot_and_all_comes_back(on: Stage) -> None:
    await on.ready(A, B)
    await on.gone()
    on.machine.reboot()
    on.machine.prompt = True
    await on.start()
    for _ in range(5):
        await on.tick(1)
    assert [(await on.row(key)).state for key in (A, B)] == [State.READY, State.READY]


async def test_closing_takes_the_models_down_and_leaves_the_wishes(on: Stage) -> None:
    await on.ready(A, B)
    await on.deploy(C)
    await on.tick(), await on.tick()
    (await on.process(A)).stubborn = True
    on.traffic[(await on.row(B)).launch_id or ""] = LaunchTraffic(in_flight=1)
    await on.shut_down()
    signals = {process.key: process.signals for process in on.machine.processes.values()}
    assert signals == {A: [SIGTERM, SIGKILL], B: [SIGTERM], C: [SIGTERM]}
    on.machine.prompt = True
    await on.start()
    for key in (A, B, C):
        row = await on.row(key)
        assert (row.state, row.desired, row.tries) == (State.PENDING, Desired.RUNNING, 0)
        assert row.reason == "the controller stopped it"
    for _ in range(5):
        await on.tick(1)
        on.machine.advance(1)
    assert {route.key for route in on.routes if route.endpoint} == {A, B, C}


async def test_closing_ends_at_its_limit(on: Stage) -> None:
    await on.ready(A)
    on.traffic[(await on.row(A)).launch_id or ""] = LaunchTraffic(in_flight=1)
    await on.reconciler.close(keep=False, limit=2)
    assert (await on.row(A)).state is State.STOPPING
    assert on.machine.live


async def test_closing_may_keep_the_models(on: Stage) -> None:
    await on.ready(A)
    await on.reconciler.close(keep=True, limit=60)
    process = await on.process(A)
    assert (process.alive, process.signals) == (True, [])
    await restart(on)
    assert (await on.row(A)).state is State.READY


@pytest.mark.parametrize("write", ["Deployments.note", "Ports.prune"])
async def test_what_lives_is_served_also_where_nothing_can_be_written(
    on: Stage, write: str
) -> None:
    async def disk_full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await on.ready(A, B)
    await on.gone()
    on.steps.arm(f"before {write}", disk_full)
    await on.start()
    assert on.steps.disarm()
    assert {route.key for route in on.routes if route.endpoint} == {A, B}
    await on.tick()
    assert {(await on.row(key)).state for key in (A, B)} == {State.READY}


async def test_a_sweep_makes_room_before_it_writes(on: Stage) -> None:
    async def disk_full() -> None:
        assert tidied
        raise sqlite3.OperationalError("database or disk is full")

    tidied: list[set[str]] = []
    await on.ready(A)
    world = on.reconciler._world
    on.reconciler._world = replace(world, tidy=lambda keep: tidied.append(set(keep)))
    on.steps.arm("before Ports.prune", disk_full)
    await on.tick(SWEEP)
    assert on.steps.disarm()
    assert tidied == [{(await on.row(A)).launch_id}]


async def test_logs_that_cannot_be_removed_do_not_keep_leases(on: Stage) -> None:
    def read_only(keep: object) -> None:
        raise OSError("Read-only file system")

    await on.ready(A)
    on.reconciler._world = replace(on.reconciler._world, tidy=read_only)
    await on.database.write(
        lambda c: c.execute("UPDATE ports SET launch_id = 'stray' WHERE port = ?", (FIRST + 3,))
    )
    await on.reconciler.tick()  # not due yet
    assert (await on.ports.usage(on.machine.now)).leased == 2
    await on.reconciler._sweep_if_possible()
    assert (await on.ports.usage(on.machine.now)).leased == 1
