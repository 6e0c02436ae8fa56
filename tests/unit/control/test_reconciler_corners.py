"""Corners: minds changed between ticks, errors inside ticks, and ends that come in the middle."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count

import pytest

from model_deployment.control.reconciler import SWEEP
from model_deployment.core.domain import Exit, Handle, State
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from tests.support.fakes import SIGKILL, FakeRuntime, Life
from tests.support.simulation import Stage, stage

A, B = (ModelKey(name, 1) for name in "ab")


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    with stage() as made:
        await made.start()
        yield made
        await made.gone()


async def disk_full() -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def ticks(on: Stage, number: int = 5) -> None:
    """As ``run`` does it: an error of one tick does not end the loop."""
    on.machine.prompt = True
    for _ in range(number):
        on.machine.advance(1)
        with suppress(sqlite3.Error, OSError):
            await on.reconciler.tick()
    await on.check()


async def test_a_loop_that_is_cancelled_leaves_nothing_half_done() -> None:
    """On SIGTERM the loop is cancelled wherever it is, and the models are then taken down."""
    for point in count(1):
        with stage() as on:
            await on.start()
            await on.ready(B)
            await on.undeploy(B)
            await on.deploy(A)
            on.machine.prompt = True
            loop = asyncio.create_task(on.reconciler.run_for(8))

            async def cancel(loop: asyncio.Task[None] = loop) -> None:
                loop.cancel()
                await asyncio.sleep(0)

            on.steps.arm(point, cancel)
            await asyncio.wait({loop})
            reached = on.steps.disarm()
            await on.shut_down()
            signals = [process.signals for process in on.machine.processes.values()]
            assert not any(SIGKILL in sent for sent in signals), "killed, and never asked to end"
        if not reached:
            break
    assert point > 15


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_mind_changed_at_any_point_of_a_tick_counts(wanted: bool) -> None:
    """The reconciler decided on the old wish; what it writes must not overrule the new one."""
    for point in count(1):
        with stage() as on:
            await on.start()
            if wanted:
                await on.ready(A)
                await on.undeploy(A)
            else:
                await on.deploy(A)

            async def change(on: Stage = on) -> None:
                await (on.deploy(A) if wanted else on.undeploy(A))

            on.machine.prompt = True
            on.steps.arm(point, change)
            for _ in range(6):
                await on.tick(0.1)
            reached = on.steps.disarm()
            if reached:
                await on.settle([A] if wanted else [], [] if wanted else [A])
            await on.gone()
        if not reached:
            break
    assert point > 8


async def test_a_launch_is_not_judged_before_it_was_heard() -> None:
    """It became healthy while no controller was there, and the deadline passed."""
    with stage() as on:
        await on.start()
        await on.deploy(A)
        await on.tick()
        await on.tick()
        process = await on.process(A)
        await on.gone()
        on.machine.load(process)
        on.machine.advance(2 * on.policy.start_timeout)
        await on.start()
        await on.tick()
        await on.tick(0.1)
        assert (await on.row(A)).state is State.READY
        assert process.signals == []
        await on.gone()


async def test_a_reboot_is_no_failure_of_the_model(on: Stage) -> None:
    await on.deploy(A)
    for _ in range(4):
        await on.tick(10)
        await on.tick()
        on.machine.end(await on.process(A), 1)
        await on.tick()
    on.machine.advance(10)
    await on.ready(A)
    await on.tick(3600)
    await on.gone()
    on.machine.reboot()
    await on.start()
    await ticks(on)
    assert (await on.row(A)).state is State.READY


async def test_an_undeploy_that_was_taken_back_is_no_failure(on: Stage) -> None:
    await on.ready(A)
    await on.undeploy(A)
    await on.tick()
    await on.deploy(A)
    await on.tick()
    await on.tick()
    row = await on.row(A)
    assert (row.tries, row.not_before) == (0, 0)
    assert row.reason != "undeployed"


async def test_nor_is_the_end_of_a_controller(on: Stage) -> None:
    await on.ready(A)
    (await on.process(A)).stubborn = True
    await on.reconciler.close(keep=False, limit=1)
    await on.gone()
    await on.start()
    await ticks(on, 20)
    row = await on.row(A)
    assert (row.state, row.tries) == (State.READY, 0)


@pytest.mark.parametrize("state", [State.STARTING, State.READY])
async def test_other_options_need_another_launch(on: Stage, state: State) -> None:
    await on.ready(A)
    if state is State.STARTING:
        on.machine.end(await on.process(A), 1)
        await on.tick()
        await on.tick(1)
        await on.tick()
    assert (await on.row(A)).state is state
    await on.undeploy(A)
    with suppress(
        ModelDeploymentError
    ):  # it may be refused until the first launch is on its way out
        await on.deploy(A, Options(workers=3))
    await on.tick()
    await on.deploy(A, Options(workers=3))
    await ticks(on, 10)
    assert (await on.row(A)).options == Options(workers=3)
    assert (await on.process(A)).spec.options == Options(workers=3)


async def test_other_artifacts_need_another_download(on: Stage) -> None:
    on.machine.prepare_gate = asyncio.Event()
    await on.deploy(A)
    await on.tick()
    await on.tick()
    await on.undeploy(A)
    await on.deployments.want_running(A, Options(), "created anew", capacity=4)
    on.machine.prepare_gate.set()
    await ticks(on)
    assert (await on.process(A)).spec.model_path == "/artifacts/created anew"


async def test_a_new_wish_does_not_sit_out_an_old_back_off(on: Stage) -> None:
    on.machine.prepare_error = ConnectionError("the registry does not answer")
    await on.deploy(A)
    for _ in range(4):
        await on.tick(10)
        await on.tick()
    await on.undeploy(A)
    await on.deploy(A)
    assert (await on.row(A)).not_before <= on.machine.now


async def test_a_failure_without_words_has_a_reason_all_the_same(on: Stage) -> None:
    on.machine.prepare_error = TimeoutError()
    await on.deploy(A)
    await on.tick()
    await on.tick()
    row = await on.row(A)
    assert (row.tries, bool(row.reason)) == (1, True)


async def test_a_launch_whose_handle_could_not_be_noted_is_found_again(on: Stage) -> None:
    await on.deploy(A)
    await on.tick()
    on.steps.arm("before Deployments.record_handle", disk_full)
    with suppress(sqlite3.OperationalError):
        await on.reconciler.tick()
    await ticks(on, 1)
    assert len(on.machine.processes) == 1
    await ticks(on)
    assert (await on.row(A)).state is State.READY


async def test_one_launch_that_cannot_be_looked_at_does_not_hold_up_the_rest(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on.ready(A)
    sick, poll = (await on.row(A)).launch_id, FakeRuntime.poll

    async def poll_or_fail(self: FakeRuntime, handle: Handle) -> Exit | None:
        if handle.launch_id == sick:
            raise PermissionError(13, "Permission denied")
        return await poll(self, handle)

    monkeypatch.setattr(FakeRuntime, "poll", poll_or_fail)
    await on.deploy(B)
    await ticks(on)
    assert (await on.row(B)).state is State.READY


async def test_an_incomplete_list_of_processes_does_not_end_a_tick(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def incomplete(self: FakeRuntime) -> list[Handle]:
        raise PermissionError(13, "Permission denied")

    await on.ready(A)
    monkeypatch.setattr(FakeRuntime, "list", incomplete)
    await on.tick(SWEEP)
    assert on.reconciler.idle == 0


async def test_closing_goes_on_after_an_error(on: Stage) -> None:
    await on.ready(A, B)
    on.steps.arm(1, disk_full)
    await on.shut_down()


async def test_a_stop_whose_signal_fails_oddly_is_not_published_again(on: Stage) -> None:
    async def fail() -> None:
        raise RuntimeError("odd")

    await on.ready(A)
    (await on.process(A)).life = Life.WEDGED
    on.steps.arm("before signal 15", fail)
    for _ in range(20):
        await on.tick(10)
        if (await on.row(A)).state is State.STOPPING:
            break
    assert (await on.row(A)).state is State.STOPPING
    assert all(route.endpoint is None for route in on.routes)


async def test_a_tick_that_cannot_write_is_no_good_tick(
    on: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on.deploy(A)
    monkeypatch.setattr(on.deployments, "move", lambda *_, **__: disk_full())
    before = on.reconciler.idle
    await on.tick(7)
    assert on.reconciler.idle >= before + 7
