"""What operators may do with releases, and what they are told when they may not."""

import pytest

from model_deployment.core.devices import UpdateState
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    Conflict,
    InvalidRequest,
    ModelDeploymentError,
    NotDeployed,
    UnknownModel,
    UnknownRelease,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleasePolicy, ReleaseState
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import DEFAULT, LIVE, refused

STAGES = ReleasePolicy(groups=("canary",), percent=(50.0,), soak=3600.0)


async def test_only_model_of_a_project_need_not_be_named(it: Fleet) -> None:
    view = await it.service.set_version(PROJECT, None, 2, STAGES, "ann")
    assert (view.release.key, view.release.created_by) == (ModelKey(MODEL, 2), "ann")
    assert [(one.name, one.open) for one in view.stages] == [
        ("group canary", False), ("50 %", False), ("the rest", False),
    ]  # fmt: skip
    await it.service.change_project(PROJECT, [MODEL, "n"], "ann")
    with refused(InvalidRequest, "name one of m, n"):
        await it.service.set_version(PROJECT, None, 2, STAGES, "ann")


@pytest.mark.parametrize(("model", "version", "kind", "why"), [
    ("n", 1, InvalidRequest, "cannot release n-1 in the project halls: its models are m"),
    ("m", 77, UnknownModel, "cannot find m-77"),
    ("m", 9, Conflict, "its status in the registry is PENDING_REGISTRATION"),
])  # fmt: skip
async def test_version_that_cannot_be_released_is_refused(
    it: Fleet, model: str, version: int, kind: type[ModelDeploymentError], why: str
) -> None:  # fmt: skip
    it.champions[LIVE] = None
    await it.service.follow(PROJECT, LIVE, DEFAULT, "ann")
    with refused(kind, why):
        await it.service.set_version(PROJECT, model, version, DEFAULT, "ann")
    assert await it.service.releases(PROJECT, 10) == []
    assert (await it.service.project(PROJECT)).follows is not None


async def test_endpoint_that_is_not_there_or_of_another_model_is_not_followed(it: Fleet) -> None:
    it.champions[LIVE] = None
    with refused(
        NotDeployed, "cannot follow m@next: there is no such endpoint (there are: m@live)"
    ):
        await it.service.follow(PROJECT, EndpointName(MODEL, "next"), DEFAULT, "ann")
    with refused(InvalidRequest, "cannot release n@live in the project halls"):
        await it.service.follow(PROJECT, EndpointName("n", "live"), DEFAULT, "ann")


async def test_champion_that_devices_have_already_is_not_released_again(it: Fleet) -> None:
    await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "ann")
    await it.quiet()
    it.champions[LIVE] = ModelKey(MODEL, 1)
    view = await it.service.follow(PROJECT, LIVE, DEFAULT, "ann")
    assert view is not None
    assert view.release.number == 1
    assert await it.states() == {1: "complete"}


async def test_release_is_steered_as_its_state_allows(it: Fleet) -> None:
    await it.join("canary")
    with refused(UnknownRelease, "cannot find release 1 of halls: it has none yet"):
        await it.service.pause(PROJECT, 1, "ann")
    await it.service.set_version(PROJECT, MODEL, 1, STAGES, "ann")
    with refused(
        Conflict, "cannot pause release 1 of halls: it is preparing, and would have to be"
    ):
        await it.service.pause(PROJECT, 1, "ann")
    await it.ticks(2)
    with refused(Conflict, "cannot resume release 1"):
        await it.service.resume(PROJECT, 1, "ann")
    paused = await it.service.pause(PROJECT, 1, "ann")
    assert paused.release.state is ReleaseState.PAUSED
    assert paused.release.reason == "paused by ann; waits for one of 1 devices to come"
    assert (await it.service.resume(PROJECT, 1, "ann")).release.state is ReleaseState.ROLLING
    await it.service.set_version(PROJECT, MODEL, 2, STAGES, "ann")
    advice = (
        "release 2 (m-2) came after it, and is preparing; stop that one, or set another version"
    )
    with refused(Conflict, advice):
        await it.service.stop(PROJECT, 1, "ann")
    assert (await it.service.stop(PROJECT, 2, "")).release.reason == "stopped"
    with refused(Conflict, "cannot stop release 2 of halls: it is stopped"):
        await it.service.stop(PROJECT, 2, "ann")
    with refused(Conflict, "release 2 (m-2) came after it, and is stopped; set another version"):
        await it.service.stop(PROJECT, 1, "ann")
    with refused(UnknownRelease, "the newest one is 2"):
        await it.service.release(PROJECT, 3)


async def test_release_shows_its_stages_with_failures_first(it: Fleet) -> None:
    bad, _, slow = await it.joined(3, "canary")
    it.bad.add(1)
    slow.looks = 99
    await it.service.set_version(PROJECT, MODEL, 1, STAGES, "ann")
    await it.ticks(2)
    it.agents["d2"].mute = True
    await it.tick()
    first, *others = (await it.service.release(PROJECT, 1)).stages
    assert [(one.device, one.update.state) for one in first.updates] == [
        (bad.name, UpdateState.FAILED),
        ("d2", UpdateState.OFFERED),
        (slow.name, UpdateState.DOWNLOADING),
    ]
    assert (first.open, first.devices, others[0].open) == (True, 3, False)
    assert first.counts[UpdateState.FAILED] == 1
    assert (await it.service.release(PROJECT, 1)).release.reason == (
        "signed; opens group canary; waits for d1 (failed), d2 (offered), d3 (downloading): 0 of 3 devices "
        "run it, 90 % have to"
    )
