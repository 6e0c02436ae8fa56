"""The life of deployments under one controller: each test one story, told tick by tick."""

import asyncio

import pytest

from model_deployment.core.domain import Deployment, State, Step
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from tests.support.fake_machine import SIGKILL, SIGTERM
from tests.support.simulation import FIRST, Simulation
from tests.support.stored import leader

A, B, C, D = (ModelKey(name, 1) for name in "abcd")


async def starting(sim: Simulation, key: ModelKey) -> Deployment:
    """Deploy, and tick until there is a process."""
    assert await sim.deploy(key)
    await sim.tick()
    await sim.tick()
    row = await sim.row(key)
    assert row.state is State.STARTING
    return row


def addresses(sim: Simulation) -> dict[ModelKey, int]:
    return {
        route.key: one.address.port
        for route in sim.routes
        for one in route.targets
        if one.address is not None
    }


async def test_a_deploy_becomes_ready(sim: Simulation) -> None:
    await sim.deploy(A)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason) == (State.PENDING, "verifying the local artifacts")
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.port, row.starts) == (State.STARTING, FIRST, 1)
    assert [route.state for route in sim.routes] == [State.STARTING]
    assert not addresses(sim)
    await sim.tick(60)
    sim.machine.load(await sim.process(A))
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.tries, leader(row).deadline) == (State.READY, 0, None)
    assert addresses(sim) == {A: FIRST}


async def test_a_launch_that_is_not_ready_in_time_is_tried_again(sim: Simulation) -> None:
    first = await starting(sim, A)
    await sim.tick(sim.policy.start_timeout - 0.1)
    assert (await sim.row(A)).state is State.STARTING
    await sim.tick(0.1)
    row = await sim.row(A)
    assert (row.state, leader(row).step, row.reason) == (
        State.STOPPING, Step.TERMINATE, "not ready within 120 s",
    )  # fmt: skip
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.tries, row.reason) == (State.PENDING, 1, "not ready within 120 s")
    await sim.tick(1)
    await sim.tick()
    row = await sim.row(A)
    assert row.state is State.STARTING
    assert row.launch_id != first.launch_id


async def test_a_crash_loop_backs_off_and_fails_with_the_reason(sim: Simulation) -> None:
    await sim.deploy(A)
    for tries in range(1, 6):
        await sim.tick()
        await sim.tick()
        sim.machine.words[(await sim.row(A)).launch_id or ""] = (
            "ImportError: no module named pytorch"
        )
        sim.machine.end(await sim.process(A), 1)
        await sim.tick()
        row = await sim.row(A)
        assert row.tries == tries
        if tries < 5:
            assert row.state is State.PENDING
            least = 0.5 * 2 ** (tries - 1)
            assert least <= leader(row).not_before - sim.machine.now <= 1.1 * least
            await sim.tick(least - 0.1)
            assert not sim.machine.live
            sim.machine.advance(0.1 * least + 0.1)
    assert (row.state, row.restarts) == (State.FAILED, 4)
    assert row.reason == (
        "the process exited with status 1: ImportError: no module named pytorch "
        "(gave up after 5 tries)"
    )
    await sim.tick(3600)
    assert (await sim.row(A)).state is State.FAILED
    await sim.ready(A)
    assert (await sim.row(A)).tries == 0


@pytest.mark.parametrize(("up", "tries"), [(29.9, 2), (30.0, 1)])
async def test_thirty_seconds_up_make_earlier_failures_forgotten(
    sim: Simulation, up: float, tries: int
) -> None:
    await starting(sim, A)
    sim.machine.end(await sim.process(A), 1)
    await sim.tick()
    sim.machine.advance(1)
    await sim.ready(A)
    await sim.tick(up)
    sim.machine.end(await sim.process(A), 1)
    await sim.tick()
    assert (await sim.row(A)).tries == tries


async def test_undeploy_while_starting_has_nothing_to_wait_for(sim: Simulation) -> None:
    await starting(sim, A)
    process = await sim.process(A)
    process.stubborn = True
    await sim.undeploy(A)
    await sim.tick()
    assert process.signals == [SIGTERM]
    await sim.tick(sim.policy.cancel_grace)
    assert process.signals == [SIGTERM, SIGKILL]
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPED


async def test_undeploy_while_preparing_ends_the_download(sim: Simulation) -> None:
    sim.machine.prepare_gate = asyncio.Event()
    await sim.deploy(A)
    await sim.tick()
    await sim.tick()
    assert sim.machine.preparing == [A]
    await sim.undeploy(A)
    await sim.tick()
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPED
    assert sim.machine.preparing == []


async def test_undeploy_lets_requests_finish_and_then_insists(sim: Simulation) -> None:
    await sim.ready(A)
    process = await sim.process(A)
    process.stubborn = True
    sim.traffic[process.launch_id] = LaunchTraffic(in_flight=1)
    await sim.undeploy(A)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, leader(row).step) == (State.STOPPING, Step.DRAIN)
    assert not addresses(sim)  # no new ones
    await sim.tick(sim.policy.drain_timeout / 2)
    assert process.signals == []
    sim.traffic[process.launch_id] = LaunchTraffic(in_flight=0)
    await sim.tick()
    assert process.signals == [SIGTERM]
    await sim.tick(sim.policy.stop_grace - 0.1)
    assert process.signals == [SIGTERM]
    await sim.tick(0.1)
    assert process.signals == [SIGTERM, SIGKILL]
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason, row.port) == (State.STOPPED, "undeployed", None)


async def test_a_drain_has_an_end(sim: Simulation) -> None:
    await sim.ready(A)
    process = await sim.process(A)
    sim.traffic[process.launch_id] = LaunchTraffic(in_flight=1)
    await sim.undeploy(A)
    await sim.tick()
    await sim.tick(sim.policy.drain_timeout)
    assert process.signals == [SIGTERM]


async def test_failed_probes_in_a_row_restart_it(sim: Simulation) -> None:
    await sim.ready(A)
    process = await sim.process(A)
    sim.machine.wedge(process)
    await sim.tick()
    await sim.tick()
    assert addresses(sim) == {A: FIRST}
    await sim.tick()
    assert process.signals == [SIGTERM]
    assert not addresses(sim)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason) == (
        State.PENDING, "did not answer 3 health checks in a row",
    )  # fmt: skip
    sim.machine.advance(1)
    await sim.ready(A)


@pytest.mark.parametrize(
    ("traffic", "reason"),
    [
        (LaunchTraffic(in_flight=1, oldest=66), "did not answer a request for 66 s"),
        (LaunchTraffic(timeouts_in_row=4), "timed out on 4 requests in a row"),
    ],
)
async def test_what_answers_pings_only_is_restarted(
    sim: Simulation, traffic: LaunchTraffic, reason: str
) -> None:
    await sim.ready(A)
    process = await sim.process(A)
    sim.traffic[process.launch_id] = traffic
    await sim.tick()
    assert process.signals == [SIGTERM]  # at once: what is in flight is what hangs
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason, row.tries) == (State.PENDING, reason, 1)


async def test_redeploy_while_stopping_comes_back(sim: Simulation) -> None:
    await sim.ready(A)
    process = await sim.process(A)
    sim.traffic[process.launch_id] = LaunchTraffic(in_flight=1)
    await sim.undeploy(A)
    await sim.tick()
    await sim.deploy(A)
    sim.traffic.clear()
    await sim.tick()
    await sim.tick()
    sim.machine.advance(1)
    assert process.signals == [SIGTERM]
    await sim.ready(A)
    assert (await sim.row(A)).launch_id != process.launch_id


async def test_a_process_that_cannot_be_started_is_tried_five_times(sim: Simulation) -> None:
    sim.machine.start_error = OSError(11, "Resource temporarily unavailable")
    await sim.deploy(A)
    for _ in range(12):
        await sim.tick(10)
    row = await sim.row(A)
    assert (row.state, row.starts) == (State.FAILED, 5)
    assert row.reason == (
        "cannot start a process: Resource temporarily unavailable (gave up after 5 tries)"
    )


async def test_artifacts_that_cannot_be_had_are_tried_five_times(sim: Simulation) -> None:
    sim.machine.prepare_error = ConnectionError("the registry does not answer")
    await sim.deploy(A)
    for _ in range(12):
        await sim.tick(10)
    row = await sim.row(A)
    assert (row.state, row.starts) == (State.FAILED, 0)
    assert row.reason == "the registry does not answer (gave up after 5 tries)"
    await sim.undeploy(A)
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPED


async def test_so_many_start_at_a_time(sim: Simulation) -> None:
    for key in (A, B, C, D):
        await sim.deploy(key)
    await sim.tick()
    await sim.tick()
    await sim.tick(1)
    assert [process.key for process in sim.machine.live] == [A, B]
    sim.machine.load(await sim.process(B))
    await sim.tick()
    await sim.tick()
    assert [process.key for process in sim.machine.live] == [A, B, C]


async def test_what_did_not_change_is_published_once(sim: Simulation) -> None:
    await sim.ready(A, B)
    published = sim.published
    for _ in range(3):
        await sim.tick(1)
    assert sim.published == published


async def test_what_cannot_serve_yet_is_published_until_it_can(sim: Simulation) -> None:
    await sim.ready(A)
    await starting(sim, B)
    sim.machine.load(await sim.process(B))
    sim.whole = False
    await sim.tick(1)
    published = sim.published
    assert addresses(sim) == {A: FIRST, B: FIRST + 1}
    for again in range(1, 4):
        await sim.tick(1)
        assert sim.published == published + again
    sim.whole = True
    await sim.tick(1)
    await sim.tick(1)
    assert sim.published == published + 4
    assert (await sim.row(B)).state is State.READY


async def test_what_could_not_be_published_for_an_error_is_tried_again(sim: Simulation) -> None:
    await starting(sim, A)
    sim.machine.load(await sim.process(A))
    sim.unpublishable.append(OSError("no"))
    with pytest.raises(OSError, match="no"):
        await sim.tick(1)
    assert not addresses(sim)
    await sim.tick(1)
    assert addresses(sim) == {A: FIRST}
