"""The webhook is told of the end of each release, once."""

from model_deployment.alerts.alert import AlertKind
from model_deployment.core.releases import ReleasePolicy
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import ALL_AT_ONCE, released


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
