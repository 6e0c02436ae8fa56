"""Projects that follow an endpoint: each champion is released once, and as soon as it can be."""

from model_deployment.core.names import ModelKey
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import DEFAULT, LIVE, released, run_versions


async def follow(it: Fleet, version: int | None) -> None:
    it.champions[LIVE] = None if version is None else ModelKey(MODEL, version)
    await it.service.follow(PROJECT, LIVE, DEFAULT, "op")
    await it.quiet()


async def test_champion_is_released_at_once_and_each_time_it_changes(it: Fleet) -> None:
    await it.joined(2, "canary")
    await follow(it, 1)
    assert {*run_versions(it)} == {1}
    it.champions[LIVE] = ModelKey(MODEL, 2)
    await it.quiet()
    assert {*run_versions(it)} == {2}
    newest = await it.newest()
    assert (newest.number, newest.endpoint) == (2, LIVE)
    await it.ticks(5)
    assert await it.states() == {1: "complete", 2: "complete"}


async def test_endpoint_without_a_champion_is_followed_when_it_has_one(it: Fleet) -> None:
    await it.joined(1, "canary")
    await follow(it, None)
    assert await it.states() == {}
    it.champions[LIVE] = ModelKey(MODEL, 3)
    await it.tick()
    await it.quiet()
    assert run_versions(it) == [3]


async def test_champion_that_changed_while_the_controller_was_away_is_released(it: Fleet) -> None:
    await it.joined(1, "canary")
    await follow(it, 1)
    await it.gone()
    it.champions[LIVE] = ModelKey(MODEL, 2)
    await it.start()
    await it.tick()
    await it.quiet()
    assert run_versions(it) == [2]


async def test_champion_that_devices_cannot_run_is_not_released_again_and_again(it: Fleet) -> None:
    await it.joined(2, "canary")
    await follow(it, 1)
    it.bad.add(2)
    it.champions[LIVE] = ModelKey(MODEL, 2)
    await it.tick()
    await it.quiet()
    await it.ticks(10, 60.0)
    assert await it.states() == {1: "complete", 2: "stopped", 3: "complete"}
    it.champions[LIVE] = ModelKey(MODEL, 3)
    await it.tick()
    await it.quiet()
    assert {*run_versions(it)} == {3}


async def test_operator_can_have_a_champion_released_that_was_stopped(it: Fleet) -> None:
    await it.joined(2, "canary")
    await follow(it, 1)
    it.bad.add(2)
    it.champions[LIVE] = ModelKey(MODEL, 2)
    await it.tick()
    await it.quiet()
    it.bad.clear()
    await follow(it, 2)
    assert {*run_versions(it)} == {2}


async def test_champion_waits_until_devices_have_left_a_stopped_version(it: Fleet) -> None:
    agents = await it.joined(2, "canary")
    await follow(it, 1)
    for one in agents:
        one.looks = 6
    it.bad.add(2)
    it.champions[LIVE] = ModelKey(MODEL, 2)
    await it.tick()
    for _ in range(30):
        await it.tick()
        if (await it.newest()).reverts:
            break
    it.champions[LIVE] = ModelKey(MODEL, 3)
    await it.quiet()
    await it.tick()
    await it.quiet()
    assert await it.states() == {1: "complete", 2: "stopped", 3: "complete", 4: "complete"}


async def test_version_set_by_hand_ends_following(it: Fleet) -> None:
    await it.joined(1, "canary")
    await follow(it, 1)
    await released(it, 2)
    await it.ticks(5)
    assert run_versions(it) == [2]
    assert (await it.service.project(PROJECT)).follows is None
