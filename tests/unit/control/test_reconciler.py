"""The life of deployments under one controller: each test one story, told tick by tick."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from model_deployment.core.domain import Deployment, LaunchTraffic, State, Step
from model_deployment.core.names import ModelKey
from tests.support.fakes import SIGKILL, SIGTERM
from tests.support.simulation import FIRST, Stage, stage

A, B, C, D = (ModelKey(name, 1) for name in "abcd")


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    with stage() as made:
        await made.start()
        yield made
        await made.gone()


async def starting(on: Stage, key: ModelKey) -> Deployment:
    """Deploy, and tick until there is a process."""
    assert await on.deploy(key)
    await on.tick()
    await on.tick()
    row = await on.row(key)
    assert row.state is State.STARTING
    return row


def endpoints(on: Stage) -> dict[ModelKey, int]:
    return {route.key: route.endpoint.port for route in on.routes if route.endpoint}


async def test_a_deploy_becomes_ready(on: Stage) -> None:
    await on.deploy(A)
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason) == (State.PENDING, "making sure of the local artifacts")
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.port, row.launches) == (State.STARTING, FIRST, 1)
    assert [route.state for route in on.routes] == [State.STARTING]
    assert not endpoints(on)
    await on.tick(60)
    on.machine.load(await on.process(A))
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.tries, row.deadline) == (State.READY, 0, None)
    assert endpoints(on) == {A: FIRST}


async def test_a_launch_that_is_not_ready_in_time_is_tried_again(on: Stage) -> None:
    first = await starting(on, A)
    await on.tick(on.policy.start_timeout - 0.1)
    assert (await on.row(A)).state is State.STARTING
    await on.tick(0.1)
    row = await on.row(A)
    assert (row.state, row.step, row.reason) == (
        State.STOPPING, Step.TERMINATE, "not ready within 120 s",
    )  # fmt: skip
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.tries, row.reason) == (State.PENDING, 1, "not ready within 120 s")
    await on.tick(1)
    await on.tick()
    row = await on.row(A)
    assert row.state is State.STARTING
    assert row.launch_id != first.launch_id


async def test_a_crash_loop_backs_off_and_fails_with_the_reason(on: Stage) -> None:
    await on.deploy(A)
    for tries in range(1, 6):
        await on.tick()
        await on.tick()
        on.words[(await on.row(A)).launch_id or ""] = "ImportError: no module named pytorch"
        on.machine.end(await on.process(A), 1)
        await on.tick()
        row = await on.row(A)
        assert row.tries == tries
        if tries < 5:
            assert row.state is State.PENDING
            least = 0.5 * 2 ** (tries - 1)
            assert least <= row.not_before - on.machine.now <= 1.1 * least
            await on.tick(least - 0.1)
            assert not on.machine.live
            on.machine.advance(0.1 * least + 0.1)
    assert (row.state, row.restarts) == (State.FAILED, 4)
    assert row.reason == (
        "the process exited with status 1: ImportError: no module named pytorch "
        "(gave up after 5 tries)"
    )
    await on.tick(3600)
    assert (await on.row(A)).state is State.FAILED
    await on.ready(A)
    assert (await on.row(A)).tries == 0


@pytest.mark.parametrize(("up", "tries"), [(29.9, 2), (30.0, 1)])
async def test_thirty_seconds_up_make_earlier_failures_forgotten(
    on: Stage, up: float, tries: int
) -> None:
    await starting(on, A)
    on.machine.end(await on.process(A), 1)
    await on.tick()
    on.machine.advance(1)
    await on.ready(A)
    await on.tick(up)
    on.machine.end(await on.process(A), 1)
    await on.tick()
    assert (await on.row(A)).tries == tries


async def test_undeploy_while_starting_has_nothing_to_wait_for(on: Stage) -> None:
    await starting(on, A)
    process = await on.process(A)
    process.stubborn = True
    await on.undeploy(A)
    await on.tick()
    assert process.signals == [SIGTERM]
    await on.tick(on.policy.cancel_grace)
    assert process.signals == [SIGTERM, SIGKILL]
    await on.tick()
    assert (await on.row(A)).state is State.STOPPED


async def test_undeploy_while_preparing_ends_the_download(on: Stage) -> None:
    on.machine.prepare_gate = asyncio.Event()
    await on.deploy(A)
    await on.tick(), await on.tick()
    assert on.machine.preparing == [A]
    await on.undeploy(A)
    await on.tick(), await on.tick()
    assert (await on.row(A)).state is State.STOPPED
    assert on.machine.preparing == []


async def test_undeploy_lets_requests_finish_and_then_insists(on: Stage) -> None:
    await on.ready(A)
    process = await on.process(A)
    process.stubborn = True
    on.traffic[process.launch_id] = LaunchTraffic(in_flight=1)
    await on.undeploy(A)
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.step) == (State.STOPPING, Step.DRAIN)
    assert not endpoints(on)  # no new ones
    await on.tick(on.policy.drain_timeout / 2)
    assert process.signals == []
    on.traffic[process.launch_id] = LaunchTraffic(in_flight=0)
    await on.tick()
    assert process.signals == [SIGTERM]
    await on.tick(on.policy.stop_grace - 0.1)
    assert process.signals == [SIGTERM]
    await on.tick(0.1)
    assert process.signals == [SIGTERM, SIGKILL]
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason, row.port) == (State.STOPPED, "undeployed", None)


async def test_a_drain_has_an_end(on: Stage) -> None:
    await on.ready(A)
    process = await on.process(A)
    on.traffic[process.launch_id] = LaunchTraffic(in_flight=1)
    await on.undeploy(A)
    await on.tick()
    await on.tick(on.policy.drain_timeout)
    assert process.signals == [SIGTERM]


async def test_failed_probes_in_a_row_restart_it(on: Stage) -> None:
    await on.ready(A)
    process = await on.process(A)
    on.machine.wedge(process)
    await on.tick(), await on.tick()
    assert endpoints(on) == {A: FIRST}
    await on.tick()
    assert process.signals == [SIGTERM]
    assert not endpoints(on)
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason) == (
        State.PENDING, "did not answer 3 health checks in a row",
    )  # fmt: skip
    on.machine.advance(1)
    await on.ready(A)


@pytest.mark.parametrize(
    ("traffic", "reason"),
    [
        (LaunchTraffic(in_flight=1, oldest=66), "left a request unanswered for 66 s"),
        (LaunchTraffic(timeouts_in_row=4), "timed out on 4 requests in a row"),
    ],
)
async def test_what_answers_pings_only_is_restarted(
    on: Stage, traffic: LaunchTraffic, reason: str
) -> None:
    await on.ready(A)
    process = await on.process(A)
    on.traffic[process.launch_id] = traffic
    await on.tick()
    assert process.signals == [SIGTERM]  # at once: what is in flight is what hangs
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason, row.tries) == (State.PENDING, reason, 1)


async def test_redeploy_while_stopping_comes_back(on: Stage) -> None:
    await on.ready(A)
    process = await on.process(A)
    on.traffic[process.launch_id] = LaunchTraffic(in_flight=1)
    await on.undeploy(A)
    await on.tick()
    await on.deploy(A)
    on.traffic.clear()
    await on.tick(), await on.tick(), on.machine.advance(1)
    assert process.signals == [SIGTERM]
    await on.ready(A)
    assert (await on.row(A)).launch_id != process.launch_id


async def test_a_process_that_cannot_be_started_is_tried_five_times(on: Stage) -> None:
    on.machine.start_error = OSError(11, "Resource temporarily unavailable")
    await on.deploy(A)
    for _ in range(12):
        await on.tick(10)
    row = await on.row(A)
    assert (row.state, row.launches) == (State.FAILED, 5)
    assert row.reason == (
        "cannot start a process: Resource temporarily unavailable (gave up after 5 tries)"
    )


async def test_artifacts_that_cannot_be_had_are_tried_five_times(on: Stage) -> None:
    on.machine.prepare_error = ConnectionError("the registry does not answer")
    await on.deploy(A)
    for _ in range(12):
        await on.tick(10)
    row = await on.row(A)
    assert (row.state, row.launches) == (State.FAILED, 0)
    assert row.reason == "the registry does not answer (gave up after 5 tries)"
    await on.undeploy(A)
    await on.tick()
    assert (await on.row(A)).state is State.STOPPED


async def test_so_many_start_at_a_time(on: Stage) -> None:
    for key in (A, B, C, D):
        await on.deploy(key)
    await on.tick(), await on.tick(), await on.tick(1)
    assert [process.key for process in on.machine.live] == [A, B]
    on.machine.load(await on.process(B))
    await on.tick(), await on.tick()
    assert [process.key for process in on.machine.live] == [A, B, C]


async def test_what_did_not_change_is_published_once(on: Stage) -> None:
    await on.ready(A, B)
    published = on.published
    for _ in range(3):
        await on.tick(1)
    assert on.published == published


async def test_what_cannot_serve_yet_is_published_until_it_can(on: Stage) -> None:
    await on.ready(A)
    await starting(on, B)
    on.machine.load(await on.process(B))
    on.whole = False
    await on.tick(1)
    published = on.published
    assert endpoints(on) == {A: FIRST, B: FIRST + 1}
    for again in range(1, 4):
        await on.tick(1)
        assert on.published == published + again
    on.whole = True
    await on.tick(1)
    await on.tick(1)
    assert on.published == published + 4
    assert (await on.row(B)).state is State.READY


async def test_what_could_not_be_published_for_an_error_is_tried_again(on: Stage) -> None:
    await starting(on, A)
    on.machine.load(await on.process(A))
    on.unpublishable.append(OSError("no"))
    with pytest.raises(OSError, match="no"):
        await on.tick(1)
    assert not endpoints(on)
    await on.tick(1)
    assert endpoints(on) == {A: FIRST}
