"""The preparation of releases: an unfit version ends one at once, a registry that is away after an hour."""

from model_deployment.core.releases import ReleaseState
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import DEFAULT, released, run_versions


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
