"""The loop of endpoints: aliases that move, deploys that fail, and what it lets go of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import pytest

from model_deployment.core.domain import Desired, State
from model_deployment.core.endpoints import Endpoint, EndpointName, Rollout, RolloutState
from model_deployment.core.errors import Conflict, RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.endpoints.decide import Work
from model_deployment.endpoints.findings import Outcome
from tests.support.rollout_simulation import (
    LONG,
    MODEL,
    RolloutSimulation,
    rollout_simulation,
)

LIVE = EndpointName(MODEL, "live")
ALONE: dict[str, Any] = {
    "checks": {"example": False, "signature": False, "replay": 0},
    "canary": {"steps": []},
}
V1, V2, V3 = (ModelKey(MODEL, version) for version in (1, 2, 3))


@pytest.fixture
async def sim() -> AsyncIterator[RolloutSimulation]:
    """Version 1 serves, without any step."""
    with rollout_simulation() as it:
        await it.start()
        it.aliases = {"live": 1}
        await it.service.put(LIVE, ALONE)
        await ticks(it)
        assert (await pair(it))[0].champion == 1
        yield it
        await it.gone()


async def ticks(it: RolloutSimulation, times: int = 10, seconds: float = 1.0) -> None:
    """Ticks; the aliases are looked at in the first one."""
    it.now += 6.0
    for _ in range(times):
        await it.tick(seconds)
        await it.deployments_go_on()


async def pair(it: RolloutSimulation, name: EndpointName = LIVE) -> tuple[Endpoint, Rollout]:
    for endpoint, rollout in await it.store.all():
        if endpoint.name == name:
            assert rollout is not None
            return endpoint, rollout
    raise AssertionError(f"there is no {name}")


async def desired(it: RolloutSimulation, key: ModelKey) -> Desired | None:
    row = await it.deployed.deployments.get(key)
    return row.desired if row else None


async def test_an_alias_that_moves_on_and_on_starts_again_against_what_serves(
    sim: RolloutSimulation,
) -> None:
    await sim.service.put(LIVE, {})
    sim.requests = 0  # it holds in its canary
    for version in (2, 3, 4):
        sim.aliases["live"] = version
        await ticks(sim)
        endpoint, rollout = await pair(sim)
        assert (endpoint.champion, rollout.candidate, rollout.champion) == (1, version, 1)
        assert rollout.state is RolloutState.CANARY
    assert {state for _, state in [*sim.ended][1:]} == {RolloutState.SUPERSEDED}
    assert [await desired(sim, key) for key in (V2, V3)] == [Desired.STOPPED] * 2
    sim.aliases["live"] = 1
    await ticks(sim)
    endpoint, rollout = await pair(sim)
    assert (endpoint.champion, rollout.state) == (1, RolloutState.ROLLED_BACK)
    assert "moved back" in rollout.reason
    assert [*sim.ended][-1] == (rollout.id, RolloutState.ROLLED_BACK)


@pytest.mark.parametrize("away", [True, False])
async def test_an_alias_or_a_registry_that_is_gone_changes_nothing_and_says_so(
    sim: RolloutSimulation, away: bool
) -> None:
    if away:
        sim.registry_error = RegistryUnavailable("the registry does not answer")
    else:
        sim.aliases.clear()
    before = sim.routes
    await ticks(sim)
    endpoint, _ = await pair(sim)
    assert endpoint.champion == 1
    assert endpoint.notice.endswith("what serves goes on")
    assert sim.routes == before
    sim.registry_error, sim.aliases = None, {"live": 1}
    await ticks(sim)
    assert not (await pair(sim))[0].notice


async def test_an_error_of_ours_in_the_registry_is_told_as_well(sim: RolloutSimulation) -> None:
    sim.registry_error = KeyError("aliases")
    await ticks(sim)
    assert "KeyError" in (await pair(sim))[0].notice


async def test_a_deploy_that_breaks_off_is_tried_again_after_a_pause(
    sim: RolloutSimulation,
) -> None:
    sim.aliases["live"] = 2
    calls = []

    async def broken(key: ModelKey, *_: object, **__: object) -> None:
        calls.append(key)
        raise OSError("no such file")

    with patch.object(sim, "deploy", broken):
        await ticks(sim, times=20, seconds=0.1)
        assert len(calls) == 1
        assert "OSError" in (await pair(sim))[1].reason
        await ticks(sim)
        assert 2 <= len(calls) <= 4
    await ticks(sim)
    assert (await pair(sim))[0].champion == 2


async def test_options_that_cannot_be_used_roll_the_candidate_back(sim: RolloutSimulation) -> None:
    await sim.service.put(LIVE, {**ALONE, "options": {"validation": "lax"}})
    sim.aliases["live"] = 2
    await ticks(sim)
    endpoint, rollout = await pair(sim)
    assert (endpoint.champion, rollout.state) == (1, RolloutState.ROLLED_BACK)
    assert "options" in rollout.reason


async def test_work_of_an_endpoint_that_is_deleted_leaves_nothing(sim: RolloutSimulation) -> None:
    await sim.service.put(LIVE, {})
    gate = asyncio.Event()
    deploy = sim.deploy

    async def slow(*arguments: Any, **more: Any) -> Any:
        await gate.wait()
        return await deploy(*arguments, **more)

    sim.aliases["live"] = 2
    await sim.loop.tick()
    with patch.object(sim, "deploy", slow):
        await ticks(sim, times=2)
        await sim.service.delete(LIVE, 0)
        await sim.loop.tick()
        gate.set()
        await ticks(sim)
    assert await sim.store.all() == []
    assert await sim.store.claimed() == set()
    assert {await desired(sim, key) for key in (V1, V2)} <= {Desired.STOPPED, None}


async def test_two_endpoints_share_a_deployment_until_none_uses_it(sim: RolloutSimulation) -> None:
    other = EndpointName(MODEL, "next")
    sim.aliases["next"] = 1
    await sim.service.put(other, ALONE)
    await ticks(sim)
    await sim.service.delete(LIVE, 0)
    await ticks(sim)
    assert (await pair(sim, other))[0].champion == 1
    assert await desired(sim, V1) is Desired.RUNNING
    await sim.service.delete(other, 0)
    await ticks(sim)
    assert await desired(sim, V1) is Desired.STOPPED


async def test_what_a_person_wants_stays(sim: RolloutSimulation) -> None:
    await sim.person_deploys(V1)
    await sim.service.delete(LIVE, 0)
    await ticks(sim)
    assert await desired(sim, V1) is Desired.RUNNING


async def test_the_champion_makes_room_and_comes_back(sim: RolloutSimulation) -> None:
    await sim.service.put(LIVE, {"recreate": True})
    sim.memory_short = True
    sim.findings[Work.CHECK] = Outcome.INCONCLUSIVE
    sim.aliases["live"] = 2
    await ticks(sim)
    (route,) = sim.routes
    assert (route.champion, route.waits) == (V2, True)
    assert [await desired(sim, key) for key in (V1, V2)] == [Desired.STOPPED, Desired.RUNNING]
    await sim.service.rollback(LIVE, "")
    await ticks(sim)
    (route,) = sim.routes
    assert (route.champion, route.waits) == (V1, True)
    assert [await desired(sim, key) for key in (V1, V2)] == [Desired.RUNNING, Desired.STOPPED]


@pytest.mark.parametrize("who", ["a person", "an endpoint"])
async def test_a_champion_that_others_need_makes_no_room(sim: RolloutSimulation, who: str) -> None:
    if who == "a person":
        await sim.person_deploys(V1)
    else:
        sim.aliases["next"] = 1
        await sim.service.put(EndpointName(MODEL, "next"), ALONE)
    await ticks(sim)
    await sim.service.put(LIVE, {"recreate": True})
    sim.memory_short = True
    sim.aliases["live"] = 2
    await ticks(sim)
    assert "The champion is not stopped" in (await pair(sim))[1].reason
    assert await desired(sim, V1) is Desired.RUNNING


async def test_a_champion_that_failed_is_deployed_again_after_a_while(
    sim: RolloutSimulation,
) -> None:
    row = await sim.deployed.deployments.get(V1)
    assert row is not None
    await sim.deployed.end(row, State.FAILED, tries=5)
    await sim.tick(1.0)
    await sim.tick(10.0)
    row = await sim.deployed.deployments.get(V1)
    assert row is not None
    assert row.state is State.FAILED
    await ticks(sim, seconds=LONG, times=4)
    row = await sim.deployed.deployments.get(V1)
    assert row is not None
    assert row.state is State.READY


async def test_a_rollback_after_a_failed_candidate_leads_to_the_champion_before(
    sim: RolloutSimulation,
) -> None:
    sim.aliases["live"] = 2
    await ticks(sim)
    sim.broken.add(3)
    sim.aliases["live"] = 3
    await ticks(sim)
    endpoint, rollout = await pair(sim)
    assert (endpoint.champion, rollout.state) == (2, RolloutState.ROLLED_BACK)
    await sim.service.rollback(LIVE, "op")
    await ticks(sim)
    endpoint, _ = await pair(sim)
    assert (endpoint.champion, endpoint.alias_version) == (1, 3)
    await ticks(sim)  # the alias has not moved: nothing begins
    assert (await pair(sim))[0].champion == 1


async def test_a_version_that_is_made_the_champion_again_is_not_let_go_of(
    sim: RolloutSimulation,
) -> None:
    await sim.service.put(LIVE, {**ALONE, "keep_previous": 0})
    sim.aliases["live"] = 2
    while (await pair(sim))[0].champion != 2:
        await sim.deployments_go_on()
        await sim.loop.tick()
    point = 1
    while (await pair(sim))[0].champion == 2 and await desired(sim, V1) is Desired.RUNNING:
        sim.steps.arm("routed", lambda: sim.service.rollback(LIVE, ""))
        with suppress(Conflict):
            await sim.loop.tick()
        sim.steps.disarm()
        point += 1
        assert point < 9
    endpoint, _ = await pair(sim)
    assert endpoint.champion == 1
    assert await desired(sim, V1) is Desired.RUNNING


async def test_guards_that_break_off_let_an_operator_roll_back(sim: RolloutSimulation) -> None:
    await sim.service.put(LIVE, {})
    sim.judged = None  # type: ignore[assignment]
    sim.aliases["live"] = 2
    await ticks(sim)
    assert (await pair(sim))[1].state is RolloutState.CANARY
    await sim.service.rollback(LIVE, "")
    await ticks(sim, times=2)
    assert (await pair(sim))[1].state is RolloutState.ROLLED_BACK


async def test_what_runs_already_is_taken_as_it_is(
    sim: RolloutSimulation,
) -> None:
    await sim.deployed.deployments.want_running(V2, Options(workers=2), f"{V2}-0", 100)
    sim.aliases["live"] = 2
    await ticks(sim)
    assert (await pair(sim))[0].champion == 2
    assert V2 not in await sim.store.claimed()
