"""Releases on their way to fleets of devices: whatever devices do, each ends as it must, in time."""

from collections.abc import AsyncIterator

import pytest

from model_deployment.alerts.alert import AlertKind
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import AbortRule, ReleasePolicy, ReleaseState
from model_deployment.devices.decide import stage_of
from model_deployment.devices.manifest import ReleaseManifest
from tests.support.fleet import LIFE, LONG, MODEL, PROJECT, Fleet, fleet

LIVE = EndpointName(MODEL, "live")
DAY = 86400.0
DEFAULT = ReleasePolicy()
ALL_AT_ONCE = ReleasePolicy(groups=(), percent=())
STAGES = ReleasePolicy(groups=("canary",), percent=(10.0, 50.0))


@pytest.fixture
async def it() -> AsyncIterator[Fleet]:
    """A project without devices."""
    with fleet() as made:
        await made.start()
        await made.service.create_project(PROJECT, [MODEL], "op")
        yield made
        await made.gone()


async def released(it: Fleet, version: int, policy: ReleasePolicy = DEFAULT) -> int:
    """Begin a release, and wait until it has ended; its number."""
    begun = await it.service.set_version(PROJECT, MODEL, version, policy, "op")
    await it.quiet(seconds=5.0)
    return begun.release.number


def run_versions(it: Fleet) -> list[int | None]:
    return [one.version for one in it.agents.values()]


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


# Preparing.


async def test_version_that_cannot_be_released_fails_and_devices_stay_as_they_are(
    it: Fleet,
) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    it.unfit.add(2)
    await released(it, 2)
    newest = await it.newest()
    assert (newest.state, newest.reason) == (
        ReleaseState.FAILED, "cannot release m-2: it has no file",
    )  # fmt: skip
    assert {*run_versions(it)} == {1}


async def test_registry_that_is_away_holds_a_release_up_and_does_not_end_it(it: Fleet) -> None:
    await it.joined(2, "canary")
    it.away.add(1)
    await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "op")
    await it.ticks(10, 60.0)
    newest = await it.newest()
    assert newest.state is ReleaseState.PREPARING
    assert newest.reason == "cannot fetch the model: the registry does not answer"
    assert len([one for one in await it.service.events(PROJECT, 100) if one.number == 1]) == 2
    it.away.clear()
    await it.quiet(seconds=60.0)
    assert {*run_versions(it)} == {1}


async def test_registry_that_stays_away_for_an_hour_ends_a_release(it: Fleet) -> None:
    it.away.add(1)
    await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "op")
    await it.ticks(58, 60.0)
    assert (await it.newest()).state is ReleaseState.PREPARING
    await it.ticks(4, 60.0)
    assert (await it.newest()).state is ReleaseState.FAILED


# Renewal, and files.


async def test_manifest_is_signed_anew_when_less_than_half_its_life_is_left(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    first = ReleaseManifest.parse((await it.newest()).manifest)
    half = LIFE.total_seconds() / 2
    await it.tick(half - 3600)
    assert ReleaseManifest.parse((await it.newest()).manifest) == first
    await it.tick(3700)
    renewed = ReleaseManifest.parse((await it.newest()).manifest)
    assert renewed.number == first.number
    assert renewed.expires - first.expires >= LIFE / 2
    assert renewed.files == first.files


async def test_manifest_never_expires_while_its_release_is_wanted(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    for _ in range(30):
        await it.tick(20 * DAY)
        assert ReleaseManifest.parse((await it.newest()).manifest).expires > it.now


async def test_controller_that_was_away_for_months_renews_at_once(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    await it.gone()
    await it.start()
    await it.tick(200 * DAY)
    assert ReleaseManifest.parse((await it.newest()).manifest).expires > it.now


async def test_release_that_nobody_should_run_is_not_renewed(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    await released(it, 2)
    before = await it.releases.find(await it.project(), 1)
    await it.ticks(3, 60 * DAY)
    assert await it.releases.find(await it.project(), 1) == before


async def test_files_that_no_release_wants_are_dropped(it: Fleet) -> None:
    await it.joined(2, "canary")
    for version in (1, 2, 3, 4):
        await released(it, version)
    await it.tick(LONG)
    named = {
        file.sha256
        for number in (3, 4)
        if (found := await it.releases.find(await it.project(), number))
        for file in ReleaseManifest.parse(found.manifest).files
    }
    assert it.files == named


# Following an endpoint.


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


# The webhook.


async def test_webhook_is_told_of_each_end_but_not_of_superseded_releases(it: Fleet) -> None:
    await it.joined(2, "canary")
    await released(it, 1)
    await it.service.set_version(PROJECT, MODEL, 3, ReleasePolicy(soak=3600.0), "op")
    await it.ticks(2)
    it.bad.add(2)
    await released(it, 2)
    it.unfit.add(4)
    await released(it, 4)
    await it.tick()
    told = [(one.kind, one.details["release"], one.details["state"]) for one in it.alerts]
    assert told == [
        (AlertKind.RELEASE_COMPLETE, 1, "complete"),
        (AlertKind.RELEASE_STOPPED, 3, "stopped"),
        (AlertKind.RELEASE_COMPLETE, 4, "complete"),
        (AlertKind.RELEASE_STOPPED, 5, "failed"),
    ]
    assert it.alerts[1].summary == "halls: release 3 (m-2) was stopped"
    assert it.alerts[1].reason.startswith("2 of 2 devices failed")


async def test_end_of_which_nobody_was_told_is_told_by_the_next_controller(it: Fleet) -> None:
    await it.joined(1, "canary")
    await it.service.set_version(PROJECT, MODEL, 1, ALL_AT_ONCE, "op")
    await it.ticks(1)
    it.steps.arm("before the webhook")
    for _ in range(5):
        await it.devices_go_on()
        await it.loop.tick()
        if it.steps.disarm():
            break
    await it.gone()
    await it.start()
    await it.tick()
    assert [one.kind for one in it.alerts] == [AlertKind.RELEASE_COMPLETE]
    await it.ticks(3)
    assert len(it.alerts) == 1
