"""Releases that last: their manifests are signed anew in time, and files that none wants are dropped."""

from model_deployment.devices.manifest import ReleaseManifest
from tests.support.fleet import LIFE, LONG, Fleet
from tests.support.fleet_steps import DAY, released


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
