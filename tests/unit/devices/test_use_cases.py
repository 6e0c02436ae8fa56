"""What operators and devices may do, and what they are told when they may not."""

import hashlib
import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    Conflict,
    Forbidden,
    InvalidName,
    InvalidRequest,
    ModelDeploymentError,
    NotDeployed,
    UnknownDevice,
    UnknownModel,
    UnknownProject,
    UnknownRelease,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleasePolicy, ReleaseState
from tests.support.fleet import MODEL, PROJECT, Fleet, fleet

LIVE = EndpointName(MODEL, "live")
DEFAULT = ReleasePolicy()
STAGES = ReleasePolicy(groups=("canary",), percent=(50.0,), soak=3600.0)


@pytest.fixture
async def it() -> AsyncIterator[Fleet]:
    """A project without devices."""
    with fleet() as made:
        await made.start()
        await made.service.create_project(PROJECT, [MODEL], "ann")
        yield made
        await made.gone()


def refused(kind: type[ModelDeploymentError], why: str) -> pytest.RaisesExc[ModelDeploymentError]:
    return pytest.raises(kind, match=re.escape(why))


async def reasons(it: Fleet) -> list[str]:
    """Of the events, oldest first, with the device."""
    found = reversed(await it.service.events(PROJECT, 100))
    return [f"{one.device}: {one.reason}" if one.device else one.reason for one in found]


# Projects.


@pytest.mark.parametrize(("name", "models", "kind", "why"), [
    ("a b", ["m"], InvalidName, "cannot use the project name 'a b'"),
    ("projects", ["m"], InvalidName, "it is reserved"),
    ("HALLS", ["m"], Conflict, "there is a project halls"),
    ("new", [], InvalidRequest, "cannot use 0 models in a project"),
    ("new", ["m"] * 101, InvalidRequest, "cannot use 101 models"),
    ("new", ["mm"], UnknownModel, "cannot use the model mm: the registry has none; did you mean m?"),
    ("new", ["other"], UnknownModel, "register it in MLflow first"),
    ("new", ["--host=1"], InvalidName, "cannot use the model name"),
])  # fmt: skip
async def test_project_that_cannot_be_is_refused(
    it: Fleet, name: str, models: list[str], kind: type[ModelDeploymentError], why: str
) -> None:
    with refused(kind, why):
        await it.service.create_project(name, models, "ann")
    assert [one.project.name for one in await it.service.projects()] == [PROJECT]


async def test_project_is_found_by_its_id_too_and_counts_its_devices(it: Fleet) -> None:
    away, _ = await it.joined(2)
    await it.tick()
    away.online = False
    await it.tick(600.0)
    await it.join()
    id = (await it.service.project(PROJECT)).project.id
    found = await it.service.project(str(id))
    assert dict(found.devices) == {Presence.ONLINE: 1, Presence.OFFLINE: 1, Presence.NEVER: 1}
    [same] = await it.service.projects()
    assert same == found
    with refused(UnknownProject, "cannot find the project 'nowhere'; there are: halls"):
        await it.service.project("nowhere")


async def test_models_of_a_project_change_unless_it_follows_one_of_them(it: Fleet) -> None:
    changed = await it.service.change_project(PROJECT, [MODEL, "n"], "bob")
    assert changed.project.models == (MODEL, "n")
    it.champions[LIVE] = None
    await it.service.follow(PROJECT, LIVE, DEFAULT, "bob")
    with refused(Conflict, "cannot take m away from the project halls: it follows m@live"):
        await it.service.change_project(PROJECT, ["n"], "bob")
    await it.service.unfollow(PROJECT, "bob")
    assert (await it.service.change_project(PROJECT, ["n"], "bob")).project.models == ("n",)
    assert (await reasons(it))[-3:] == [
        "follows m@live: set by bob",
        "no longer follows m@live: ended by bob",
        "its models are n: changed by bob",
    ]


async def test_project_with_devices_is_deleted_by_force_only_and_shuts_them_out(it: Fleet) -> None:
    agent, _ = await it.joined(2)
    await it.service.revoke(PROJECT, "d2", "ann")
    with refused(Conflict, "1 of its devices are registered"):
        await it.service.delete_project(PROJECT, "ann", force=False)
    it.dropped.clear()
    forgotten = it.tokens_forgotten
    await it.service.delete_project(PROJECT, "ann", force=True)
    assert await it.service.projects() == []
    assert agent.id in it.dropped
    assert it.tokens_forgotten > forgotten


async def test_versions_are_shown_with_where_they_run(it: Fleet) -> None:
    await it.service.change_project(PROJECT, [MODEL, "n"], "ann")  # n is gone from the registry
    await it.joined(2, "canary")
    for version in (1, 2):
        await it.service.set_version(PROJECT, MODEL, version, DEFAULT, "ann")
        await it.quiet()
    found = await it.service.versions(PROJECT)
    assert [(one.key.version, one.state, one.devices, one.releases) for one in found] == [
        (3, None, 0, ()), (2, None, 2, (2,)), (1, State.READY, 0, (1,)),
    ]  # fmt: skip
    assert found[0].metrics == {"rmse": 3.0}


# Releases.


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


# Devices.


async def test_code_lets_one_device_in_once_and_the_token_is_stored_as_its_digest(
    it: Fleet,
) -> None:
    made = await it.service.enrol(PROJECT, ["canary"], None, "ann")
    assert re.fullmatch(r"mdc_[\w-]{43}\.[0-9a-f]{16}", made.code)
    lasts = made.enrolment.expires_at - made.enrolment.created_at
    assert abs(lasts - timedelta(minutes=15)) < timedelta(seconds=2)
    found = await it.service.register(PROJECT, made.code, "gate-1", {"place": "hall 3"})
    assert made.code.endswith(found.key)
    assert re.fullmatch(r"mdd_[\w-]{43}", found.token)
    assert found.device.groups == ("canary",)
    row = await it.devices.by_token(hashlib.sha256(found.token.encode()).hexdigest())
    assert row == found.device
    [(stored,)] = await it.query("SELECT token_hash FROM devices")
    assert found.token not in str(stored)
    for code in (made.code, "mdc_wrong.0123456789abcdef", ""):
        with refused(Forbidden, "the code is unknown, was used before, or has expired"):
            await it.service.register(PROJECT, code, "gate-2", {})
    with refused(
        UnknownProject, "cannot register the device gate-2: there is no project 'nowhere'"
    ):
        await it.service.register("nowhere", made.code, "gate-2", {})
    assert (await reasons(it))[-2:] == [
        "code for a new device made by ann", "gate-1: registered with a code",
    ]  # fmt: skip


async def test_names_groups_and_attributes_are_checked_before_the_code_is_used(it: Fleet) -> None:
    with refused(InvalidName, "cannot use the group name"):
        await it.service.enrol(PROJECT, ["a/b"], None, "ann")
    with refused(InvalidRequest, "cannot use 21 groups"):
        await it.service.enrol(PROJECT, [f"g{n}" for n in range(21)], None, "ann")
    with refused(InvalidName, "cannot use the device name"):
        await it.service.enrol(PROJECT, [], "../x", "ann")
    code = (await it.service.enrol(PROJECT, [], None, "ann")).code
    with refused(InvalidRequest, "cannot use 51 attributes"):
        await it.service.register(PROJECT, code, "d", {str(n): 1 for n in range(51)})
    with refused(InvalidName, "cannot use the device name"):
        await it.service.register(PROJECT, code, "", {})
    await it.service.register(PROJECT, code, "d", {})


async def test_rotated_and_revoked_tokens_are_out_at_once(it: Fleet) -> None:
    agent = await it.join()
    before = it.tokens_forgotten
    again = await it.service.rotate(PROJECT, agent.name, "ann")
    assert (it.dropped[-1], it.tokens_forgotten) == (agent.id, before + 1)
    assert await it.devices.by_token(hashlib.sha256(again.token.encode()).hexdigest())
    view = await it.service.revoke(PROJECT, agent.name, "ann")
    assert (view.presence, it.tokens_forgotten) == (Presence.REVOKED, before + 2)
    assert await it.devices.by_token(hashlib.sha256(again.token.encode()).hexdigest()) is None
    with refused(Conflict, "it is revoked"):
        await it.service.rotate(PROJECT, agent.name, "ann")
    await it.service.delete_device(PROJECT, agent.name, "ann")
    with refused(UnknownDevice, f"cannot find the device {agent.name} in the project halls"):
        await it.service.device(PROJECT, agent.name)


async def test_change_of_groups_tells_the_device(it: Fleet) -> None:
    agent = await it.join()
    await it.service.set_version(PROJECT, MODEL, 1, ReleasePolicy(percent=()), "ann")
    await it.join("canary", online=False)
    await it.ticks(3)
    assert (await it.service.device(PROJECT, agent.name)).wanted is None
    it.told.clear()
    view = await it.service.change_device(PROJECT, agent.name, "ann", groups=["canary"])
    assert (view.wanted, it.told) == (1, [[agent.id]])
    it.told.clear()
    same = await it.service.change_device(PROJECT, agent.name, "ann", attributes={"place": "x"})
    assert (same.device.attributes, it.told) == ({"place": "x"}, [])


async def test_devices_are_shown_with_what_they_should_run_and_do(it: Fleet) -> None:
    await it.join("canary")
    agent = await it.join(online=False)
    await it.service.set_version(PROJECT, MODEL, 1, DEFAULT, "ann")
    await it.quiet()
    first, other = await it.service.devices(PROJECT)
    assert first.update is not None
    assert (first.wanted, first.update.state, first.connected) == (1, UpdateState.RUNNING, True)
    assert (other.device.name, other.wanted, other.update) == (agent.name, 1, None)
    assert (other.presence, other.connected) == (Presence.NEVER, False)
    [update] = await it.service.updates(PROJECT, first.device.name)
    assert (update.device, update.update) == (first.device.name, first.update)


# Commands.


async def test_command_goes_to_the_devices_and_groups_that_are_named(it: Fleet) -> None:
    for groups in (("canary",), ("hall",), ("hall", "canary"), ()):
        await it.join(*groups)
    await it.service.revoke(PROJECT, "d3", "ann")

    async def told(**targets: list[str]) -> list[str]:
        ordered = await it.service.order(PROJECT, "dark", True, "ann", **targets)
        return sorted(one.device for one in ordered)

    assert await told() == ["d1", "d2", "d4"]
    assert await told(devices=["D4"]) == ["d4"]
    assert await told(groups=["hall"]) == ["d2"]
    assert await told(devices=["d1"], groups=["canary", "hall"]) == ["d1", "d2"]
    assert it.told[-1] == [it.agents["d1"].id, it.agents["d2"].id]
    with refused(Conflict, "cannot give the device d3 a command: it is revoked"):
        await told(devices=["d1", "d3"])
    with refused(UnknownDevice, "cannot find the device d9"):
        await told(devices=["d9"])
    with refused(InvalidRequest, "no device of halls belongs to it"):
        await told(groups=["attic"])
    with refused(InvalidName, "cannot use the command name"):
        await it.service.order(PROJECT, "a b", 1, "ann")


async def test_commands_are_listed_newest_first(it: Fleet) -> None:
    await it.joined(2)
    for number in range(3):
        await it.service.order(PROJECT, f"c{number}", number, "ann")
    found = await it.service.commands(PROJECT, 4)
    assert [one.command.name for one in found] == ["c2", "c2", "c1", "c1"]
    assert [one.command.value for one in await it.service.commands(PROJECT, 9, "d1")] == [2, 1, 0]
