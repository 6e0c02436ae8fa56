"""Releases on their way to fleets of devices: whatever devices do, each ends as it must, in time."""

from model_deployment.core.releases import AbortRule, ReleasePolicy, ReleaseState
from model_deployment.devices.decide import stage_of
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import ALL_AT_ONCE, DAY, DEFAULT, released, run_versions

STAGES = ReleasePolicy(groups=("canary",), percent=(10.0, 50.0))


async def test_release_reaches_every_device_in_the_order_of_its_stages(it: Fleet) -> None:
    await it.joined(2, "canary")
    await it.joined(40)
    await it.service.set_version(PROJECT, MODEL, 1, STAGES, "op")
    order: list[set[int]] = []
    for _ in range(20):
        await it.tick()
        reached = {one.id for one in it.agents.values() if one.version == 1}
        if not order or reached != order[-1]:
            order.append(reached)
    rows = {one.id: one for one in await it.devices.all()}
    opened = [
        {id for id, row in rows.items() if stage_of(STAGES, 1, row) <= stage} for stage in range(4)
    ]
    assert order == [set(), *opened]
    assert (await it.newest()).state is ReleaseState.COMPLETE


async def test_bad_release_is_stopped_at_the_canary_group_and_taken_back(it: Fleet) -> None:
    canary, others = await it.joined(2, "canary"), await it.joined(20)
    await released(it, 1)
    it.bad.add(2)
    await released(it, 2, ReleasePolicy(soak=60.0))
    assert await it.states() == {1: "complete", 2: "stopped", 3: "complete"}
    third = await it.newest()
    assert (third.key.version, third.reverts) == (1, 2)
    assert (third.policy.stages, third.policy.soak) == (1, 0.0)
    assert {*run_versions(it)} == {1}
    assert all(2 not in one.busy for one in others)
    assert all(one.accepted == 3 for one in (*canary, *others))


async def test_stopped_release_has_a_reason_that_people_understand(it: Fleet) -> None:
    await it.joined(3, "canary")
    it.bad.add(1)
    await released(it, 1)
    [event] = [one for one in await it.service.events(PROJECT, 100) if one.state == "stopped"]
    assert event.reason == (
        "3 of 3 devices failed (the limit is 2 of 10): the model answers NaN (d1, d2, d3)"
    )


async def test_first_release_that_is_stopped_is_followed_by_nothing(it: Fleet) -> None:
    await it.joined(3, "canary")
    it.bad.add(1)
    await released(it, 1)
    await it.ticks(5)
    assert await it.states() == {1: "stopped"}


async def test_release_that_takes_back_and_fails_as_well_ends_it(it: Fleet) -> None:
    await it.joined(3, "canary")
    await released(it, 1)
    it.bad |= {1, 2}
    await released(it, 2)
    await it.ticks(5)
    assert await it.states() == {1: "complete", 2: "stopped", 3: "stopped"}


async def test_devices_that_are_away_keep_no_release_from_being_complete(it: Fleet) -> None:
    await it.joined(2, "canary")
    away = await it.joined(15, online=False)
    there = await it.joined(15)
    await released(it, 1)
    assert {one.version for one in there} == {1}
    assert {one.version for one in away} == {None}


async def test_device_that_comes_back_after_weeks_gets_what_is_wanted_today(it: Fleet) -> None:
    await it.joined(2, "canary")
    [late] = await it.joined(1, online=False)
    for version in (1, 2, 3):
        await released(it, version, ALL_AT_ONCE)
        await it.tick(7 * DAY)
    late.online = True
    await it.ticks(2)
    assert (late.version, [*late.busy]) == (3, [3])


async def test_release_waits_while_every_device_is_away_and_goes_on_when_they_come(
    it: Fleet,
) -> None:
    agents = [*await it.joined(2, "canary", online=False), *await it.joined(5, online=False)]
    await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "op")
    await it.ticks(30, DAY)
    assert (await it.newest()).state is ReleaseState.ROLLING
    for one in agents:
        one.online = True
    await it.quiet()
    assert run_versions(it) == [1] * 7


async def test_project_without_devices_has_a_complete_release_for_those_that_come(
    it: Fleet,
) -> None:
    await released(it, 1, STAGES)
    [one] = await it.joined(1)
    await it.ticks(2)
    assert one.version == 1


async def test_device_that_joins_during_a_rollout_gets_what_its_stage_has(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    slow = await it.join("canary")
    slow.looks = 8
    await it.tick()
    slow.busy.clear()
    await it.service.set_version(PROJECT, MODEL, 2, ReleasePolicy(percent=()), "op")
    await it.ticks(3)
    new, canary = await it.join(), await it.join("canary")
    await it.ticks(2)
    assert (new.version, canary.version) == (1, 2)
    await it.quiet()
    assert {*run_versions(it)} == {2}


async def test_flaky_devices_do_not_stop_a_release_that_most_devices_can_run(it: Fleet) -> None:
    await it.joined(2, "canary")
    agents = await it.joined(40)
    for place, one in enumerate(agents):
        one.looks = 1 + place % 5
    await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "op")
    for turn in range(40):
        for place, one in enumerate(agents):
            one.online = (place + turn) % 3 != 0
        await it.tick()
    await it.quiet(seconds=70.0)
    assert await it.states() == {1: "complete"}
    for one in agents:
        one.online = True
    await it.ticks(6)
    assert {*run_versions(it)} == {1}


async def test_failure_after_the_canary_stops_the_release_before_the_rest(it: Fleet) -> None:
    await it.joined(4, "canary")
    rest = await it.joined(30)
    await released(it, 1)
    policy = ReleasePolicy(percent=(), soak=3600.0, abort=AbortRule(failed=2, of=4))
    await it.service.set_version(PROJECT, MODEL, 2, policy, "op")
    await it.ticks(4)
    for name in ("d1", "d2"):
        await it.fails_later(it.agents[name], 2)
    await it.quiet()
    assert (await it.states())[2] == "stopped"
    assert all(2 not in one.busy for one in rest)


async def test_stage_rests_as_long_as_the_policy_says(it: Fleet) -> None:
    await it.joined(1, "canary")
    await it.joined(3)
    await it.service.set_version(PROJECT, MODEL, 1, ReleasePolicy(percent=(), soak=600.0), "op")
    await it.ticks(3)
    settled = (await it.newest()).settled_at
    assert settled is not None
    await it.ticks(9, 60.0)
    assert (await it.newest()).stage == 0
    await it.ticks(2, 60.0)
    assert (await it.newest()).stage == 1


async def test_newer_release_supersedes_the_one_under_way(it: Fleet) -> None:
    canary = await it.joined(2, "canary")
    others = await it.joined(5)
    await it.service.set_version(PROJECT, MODEL, 1, ReleasePolicy(soak=3600.0), "op")
    await it.ticks(3)
    await released(it, 2)
    assert await it.states() == {1: "superseded", 2: "complete"}
    assert [one.ran for one in canary] == [{1, 2}] * 2
    assert [one.ran for one in others] == [{2}] * 5


async def test_paused_release_opens_no_stage_until_it_is_resumed(it: Fleet) -> None:
    await it.joined(1, "canary")
    others = await it.joined(5)
    number = (await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "op")).release.number
    await it.ticks(2)
    await it.service.pause(PROJECT, number, "op")
    await it.ticks(10)
    assert {one.version for one in others} == {None}
    await it.service.resume(PROJECT, number, "op")
    await it.quiet()
    assert {one.version for one in others} == {1}


async def test_complete_release_that_is_stopped_by_hand_is_taken_back(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    number = await released(it, 2)
    await it.service.stop(PROJECT, number, "op")
    await it.quiet()
    assert await it.states() == {1: "complete", 2: "stopped", 3: "complete"}
    assert {*run_versions(it)} == {1}


async def test_release_that_was_stopped_before_it_was_signed_is_followed_by_nothing(
    it: Fleet,
) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    number = (await it.service.set_version(PROJECT, MODEL, 2, DEFAULT, "op")).release.number
    await it.service.stop(PROJECT, number, "op")
    await it.ticks(3)
    assert await it.states() == {1: "complete", 2: "stopped"}
