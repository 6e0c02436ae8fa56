"""Corners: minds changed between ticks, errors inside ticks, and ends that come in the middle."""

import asyncio
import sqlite3
from contextlib import suppress
from itertools import count

import pytest

from model_deployment.control.reconciler import SWEEP
from model_deployment.core.domain import Exit, Handle, State
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from tests.support.fake_collaborators import FakeRuntime
from tests.support.fake_machine import SIGKILL, Life
from tests.support.simulation import Simulation, simulation
from tests.support.stored import leader

A, B = (ModelKey(name, 1) for name in "ab")


async def disk_full() -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def ticks(sim: Simulation, number: int = 5) -> None:
    """As ``run`` does it: an error of one tick does not end the loop."""
    sim.machine.prompt = True
    for _ in range(number):
        sim.machine.advance(1)
        with suppress(sqlite3.Error, OSError):
            await sim.reconciler.tick()
    await sim.check()


async def test_a_loop_that_is_cancelled_leaves_nothing_half_done() -> None:
    """On SIGTERM the loop is cancelled wherever it is, and the models are then taken down."""
    for point in count(1):
        with simulation() as sim:
            await sim.start()
            await sim.ready(B)
            await sim.undeploy(B)
            await sim.deploy(A)
            sim.machine.prompt = True
            loop = asyncio.create_task(sim.reconciler.run_for(8))

            async def cancel(loop: asyncio.Task[None] = loop) -> None:
                loop.cancel()
                await asyncio.sleep(0)

            sim.steps.arm(point, cancel)
            await asyncio.wait({loop})
            reached = sim.steps.disarm()
            await sim.shut_down()
            signals = [process.signals for process in sim.machine.processes.values()]
            assert not any(SIGKILL in sent for sent in signals), "killed, and never asked to end"
        if not reached:
            break
    assert point > 15


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_mind_changed_at_any_point_of_a_tick_counts(wanted: bool) -> None:
    """The reconciler decided on the old wish; what it writes must not overrule the new one."""
    for point in count(1):
        with simulation() as sim:
            await sim.start()
            if wanted:
                await sim.ready(A)
                await sim.undeploy(A)
            else:
                await sim.deploy(A)

            async def change(sim: Simulation = sim) -> None:
                await (sim.deploy(A) if wanted else sim.undeploy(A))

            sim.machine.prompt = True
            sim.steps.arm(point, change)
            for _ in range(6):
                await sim.tick(0.1)
            reached = sim.steps.disarm()
            if reached:
                await sim.settle([A] if wanted else [], [] if wanted else [A])
            await sim.gone()
        if not reached:
            break
    assert point > 8


async def test_a_launch_is_not_judged_before_it_was_heard() -> None:
    """It became healthy while no controller was there, and the deadline passed."""
    with simulation() as sim:
        await sim.start()
        await sim.deploy(A)
        await sim.tick()
        await sim.tick()
        process = await sim.process(A)
        await sim.gone()
        sim.machine.load(process)
        sim.machine.advance(2 * sim.policy.start_timeout)
        await sim.start()
        await sim.tick()
        await sim.tick(0.1)
        assert (await sim.row(A)).state is State.READY
        assert process.signals == []
        await sim.gone()


async def test_a_reboot_is_no_failure_of_the_model(sim: Simulation) -> None:
    await sim.deploy(A)
    for _ in range(4):
        await sim.tick(10)
        await sim.tick()
        sim.machine.end(await sim.process(A), 1)
        await sim.tick()
    sim.machine.advance(10)
    await sim.ready(A)
    await sim.tick(3600)
    await sim.gone()
    sim.machine.reboot()
    await sim.start()
    await ticks(sim)
    assert (await sim.row(A)).state is State.READY


async def test_a_reboot_gives_a_change_that_waits_its_time_anew(sim: Simulation) -> None:
    await sim.ready(A)
    sim.machine.memory = 0  # it waits
    await sim.change(A, Options(workers=2, batch_max_rows=0))
    await sim.tick()
    assert await waits(sim) == sim.machine.now + sim.policy.start_timeout
    await sim.gone()
    sim.machine.reboot()
    await sim.start()
    assert await waits(sim) is None
    await sim.tick()
    assert await waits(sim) == sim.machine.now + sim.policy.start_timeout
    await sim.tick(sim.policy.start_timeout)
    it = (await sim.row(A)).replacement
    assert it is not None
    assert it.is_over


async def waits(sim: Simulation) -> float | None:
    """Until when a second launch may be pending."""
    it = (await sim.row(A)).replacement
    assert it is not None
    assert it.state is ReplacementState.COMING
    return it.deadline


async def test_an_undeploy_that_was_taken_back_is_no_failure(sim: Simulation) -> None:
    await sim.ready(A)
    await sim.undeploy(A)
    await sim.tick()
    await sim.deploy(A)
    await sim.tick()
    await sim.tick()
    row = await sim.row(A)
    assert (row.tries, leader(row).not_before) == (0, 0)
    assert row.reason != "undeployed"


async def test_nor_is_the_end_of_a_controller(sim: Simulation) -> None:
    await sim.ready(A)
    (await sim.process(A)).stubborn = True
    await sim.reconciler.close(keep=False, limit=1)
    await sim.gone()
    await sim.start()
    await ticks(sim, 20)
    row = await sim.row(A)
    assert (row.state, row.tries) == (State.READY, 0)


@pytest.mark.parametrize("state", [State.STARTING, State.READY])
async def test_other_options_need_another_launch(sim: Simulation, state: State) -> None:
    await sim.ready(A)
    if state is State.STARTING:
        sim.machine.end(await sim.process(A), 1)
        await sim.tick()
        await sim.tick(1)
        await sim.tick()
    assert (await sim.row(A)).state is state
    await sim.undeploy(A)
    with suppress(
        ModelDeploymentError
    ):  # it may be refused until the first launch is on its way out
        await sim.deploy(A, Options(workers=3))
    await sim.tick()
    await sim.deploy(A, Options(workers=3))
    await ticks(sim, 10)
    assert (await sim.row(A)).options == Options(workers=3)
    assert (await sim.process(A)).spec.options == Options(workers=3)


async def test_other_artifacts_need_another_download(sim: Simulation) -> None:
    sim.machine.prepare_gate = asyncio.Event()
    await sim.deploy(A)
    await sim.tick()
    await sim.tick()
    await sim.undeploy(A)
    await sim.deployments.want_running(A, Options(), "created anew", capacity=4)
    sim.machine.prepare_gate.set()
    await ticks(sim)
    assert (await sim.process(A)).spec.model_path == "/artifacts/created anew"


async def test_a_new_wish_does_not_sit_out_an_old_back_off(sim: Simulation) -> None:
    sim.machine.prepare_error = ConnectionError("the registry does not answer")
    await sim.deploy(A)
    for _ in range(4):
        await sim.tick(10)
        await sim.tick()
    await sim.undeploy(A)
    await sim.deploy(A)
    assert (await sim.launch(A)).not_before <= sim.machine.now


async def test_a_failure_without_words_has_a_reason_all_the_same(sim: Simulation) -> None:
    sim.machine.prepare_error = TimeoutError()
    await sim.deploy(A)
    await sim.tick()
    await sim.tick()
    row = await sim.row(A)
    assert (row.tries, bool(row.reason)) == (1, True)


async def test_a_launch_whose_handle_could_not_be_noted_is_found_again(sim: Simulation) -> None:
    await sim.deploy(A)
    await sim.tick()
    sim.steps.arm("before Deployments.record_handle", disk_full)
    with suppress(sqlite3.OperationalError):
        await sim.reconciler.tick()
    await ticks(sim, 1)
    assert len(sim.machine.processes) == 1
    await ticks(sim)
    assert (await sim.row(A)).state is State.READY


async def test_one_launch_that_cannot_be_looked_at_does_not_hold_up_the_rest(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sim.ready(A)
    sick, poll = (await sim.row(A)).launch_id, FakeRuntime.poll

    async def poll_or_fail(self: FakeRuntime, handle: Handle) -> Exit | None:
        if handle.launch_id == sick:
            raise PermissionError(13, "Permission denied")
        return await poll(self, handle)

    monkeypatch.setattr(FakeRuntime, "poll", poll_or_fail)
    await sim.deploy(B)
    await ticks(sim)
    assert (await sim.row(B)).state is State.READY


async def test_an_incomplete_list_of_processes_does_not_end_a_tick(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def incomplete(self: FakeRuntime) -> list[Handle]:
        raise PermissionError(13, "Permission denied")

    await sim.ready(A)
    monkeypatch.setattr(FakeRuntime, "list", incomplete)
    await sim.tick(SWEEP)
    assert sim.reconciler.idle == 0


async def test_closing_goes_on_after_an_error(sim: Simulation) -> None:
    await sim.ready(A, B)
    sim.steps.arm(1, disk_full)
    await sim.shut_down()


async def test_a_stop_whose_signal_fails_oddly_is_not_published_again(sim: Simulation) -> None:
    async def fail() -> None:
        raise RuntimeError("odd")

    await sim.ready(A)
    (await sim.process(A)).life = Life.WEDGED
    sim.steps.arm("before signal 15", fail)
    for _ in range(20):
        await sim.tick(10)
        if (await sim.row(A)).state is State.STOPPING:
            break
    assert (await sim.row(A)).state is State.STOPPING
    assert all(not route.serves for route in sim.routes)


async def test_a_tick_that_cannot_write_is_no_good_tick(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sim.deploy(A)
    monkeypatch.setattr(sim.launches, "move", lambda *_, **__: disk_full())
    before = sim.reconciler.idle
    await sim.tick(7)
    assert sim.reconciler.idle >= before + 7
