"""What operators ask for, with the loop of endpoints at work; and waits that end when it does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from model_deployment.core.endpoints import Endpoint, EndpointName, Rollout, RolloutState
from model_deployment.core.errors import Conflict, NotDeployed, Unavailable
from model_deployment.core.names import ModelKey
from model_deployment.endpoints.service import Endpoints
from tests.support.rollout_simulation import LONG, MODEL, RolloutSimulation, rollout_simulation
from tests.support.waiting import until

LIVE = EndpointName(MODEL, "live")


@pytest.fixture
async def sim() -> AsyncIterator[RolloutSimulation]:
    """Version 1 serves."""
    with rollout_simulation() as it:
        await it.start()
        it.aliases = {"live": 1}
        await it.service.put(LIVE, {})
        for _ in range(6):
            await it.tick(LONG)
            await it.deployments_go_on()
        yield it
        await it.gone()


def patient(it: RolloutSimulation) -> Endpoints:
    async def compare(endpoint: Endpoint, rollout: Rollout) -> dict[str, Any]:
        return {}

    return Endpoints(
        it._ask,
        store=it.store,
        rollouts=it.rollouts,
        deployments=it.deployed.deployments,
        loop=it.loop,
        compare=compare,
    )


async def test_waits_end_with_the_controller(sim: RolloutSimulation) -> None:
    service = patient(sim)
    calls = [
        asyncio.create_task(service.put(LIVE, {})),  # the loop has ended: no tick will come
        asyncio.create_task(service.set_default(MODEL, "live", 60.0)),
    ]
    sim.aliases["live"] = 9
    await asyncio.sleep(0)
    await until(lambda: service.find_pair(LIVE))
    service.stop_waiting()
    for call in calls:
        with pytest.raises(Unavailable, match="stopping"):
            async with asyncio.timeout(5):
                await call
    with pytest.raises(Unavailable):
        await service.put(LIVE, {})


async def test_what_an_operator_asks_for_is_done_when_the_call_returns(
    sim: RolloutSimulation,
) -> None:
    service = patient(sim)
    running = asyncio.create_task(sim.loop.run())
    try:
        view, new = await service.put(LIVE, {"canary": {"steps": [10]}})
        assert (new, view.endpoint.policy.canary.steps) == (False, (10,))
        sim.aliases["live"] = 2
        sim.now += LONG

        async def canary() -> bool:
            await sim.deployments_go_on()
            rollout = (await service.get(LIVE)).rollout
            return rollout is not None and rollout.state is RolloutState.CANARY

        sim.requests = 0
        await until(canary)
        assert (await service.pause(LIVE, "")).rollout.order == "pause"  # type: ignore[union-attr]
        assert (await service.promote(LIVE, "")).endpoint.champion == 2
        assert (await service.rollback(LIVE, "")).endpoint.champion == 1
        assert sim.routes[0].champion == ModelKey(MODEL, 1)
        with pytest.raises(Conflict, match="no version to go back to"):
            await service.rollback(LIVE, "")
        await service.delete(LIVE, 5.0)
        assert sim.routes == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_way_back_that_is_asked_for_twice_goes_on(sim: RolloutSimulation) -> None:
    async def on(ticks: int) -> int | None:
        for _ in range(ticks):
            await sim.tick(LONG)
            await sim.deployments_go_on()
        return (await sim.service.get(LIVE)).endpoint.champion

    await sim.service.put(LIVE, {"canary": {"steps": []}, "keep_previous": 0})
    sim.aliases["live"] = 2
    assert await on(12) == 2  # version 1 is not kept ready, so it has to be deployed
    for _ in range(2):
        await sim.service.rollback(LIVE, "")
        assert (await sim.service.get(LIVE)).endpoint.champion == 2
    assert await on(6) == 1


async def test_what_is_left_out_of_a_question_is_that_of_the_default_endpoint(
    sim: RolloutSimulation,
) -> None:
    sim.aliases |= {"next": 1, "rare": 1}
    other = EndpointName("other", "next")
    await sim.service.put(EndpointName(MODEL, "next"), {})
    await sim.service.put(other, {})
    await sim.service.put(EndpointName("other", "rare"), {})
    await sim.service.set_default(MODEL, "live", 0.0)

    async def found(model: str | None, alias: str | None) -> str:
        return str((await sim.service.find(model, alias)).endpoint.name)

    assert await found(None, None) == f"{MODEL}@live"
    assert await found(None, "next") == f"{MODEL}@next"
    assert await found("other", None) == str(other)
    with pytest.raises(NotDeployed, match=f"{MODEL}@rare"):
        await found(None, "rare")
    with pytest.raises(NotDeployed, match="of 'none'"):
        await found("none", "live")
