"""What operators may do with projects, and what they are told when they may not."""

import pytest

from model_deployment.core.devices import Presence
from model_deployment.core.domain import State
from model_deployment.core.errors import (
    Conflict,
    InvalidName,
    InvalidRequest,
    ModelDeploymentError,
    UnknownModel,
    UnknownProject,
)
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import DEFAULT, LIVE, reasons, refused


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
