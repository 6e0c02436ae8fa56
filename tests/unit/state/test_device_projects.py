"""Projects of devices: found by name or id, removed with all that is in them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import Conflict, UnknownProject
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import FollowedEndpoint, ReleasePolicy
from tests.support.stored_devices import (
    SHORT,
    DeviceStores,
    log,
    opened,
    progress,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DeviceStores]:
    async with opened(tmp_path) as it:
        yield it


@pytest.mark.parametrize("taken", ["hall", "Hall", "HALL"])
async def test_a_name_is_taken_once_whatever_its_capitals(store: DeviceStores, taken: str) -> None:
    hall = await store.projects.create("Hall", ["b", "a", "b"])
    assert (hall.name, hall.models) == ("Hall", ("b", "a"))
    with pytest.raises(Conflict, match="there is a project Hall"):
        await store.projects.create(taken, [])
    assert await store.projects.all() == [hall]
    assert await store.projects.find(taken) == hall


async def test_a_name_goes_before_an_id(store: DeviceStores) -> None:
    first = await store.projects.create("first", [])
    named = await store.projects.create(str(first.id), [])
    assert await store.projects.find(str(first.id)) == named
    assert await store.projects.find(str(named.id)) == named
    assert await store.projects.find("first") == first


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.0", " 1", "\u0661", "\u00b2", "9" * 18, "9" * 400, "%", "none"]
)
async def test_what_is_neither_name_nor_id_is_no_project(store: DeviceStores, text: str) -> None:
    await store.projects.create("first", [])
    assert await store.projects.find(text) is None


async def test_other_models(store: DeviceStores) -> None:
    hall = await store.project()
    changed = await store.projects.change(hall, ["n", "m"])
    assert (changed.id, changed.models) == (hall.id, ("n", "m"))
    await store.projects.remove(hall)
    with pytest.raises(UnknownProject, match="hall: it was removed"):
        await store.projects.change(hall, [])


@pytest.mark.parametrize("name", [EndpointName("m", "live"), EndpointName("a@b", "live")])
async def test_an_endpoint_is_followed_until_it_is_not(
    store: DeviceStores, name: EndpointName
) -> None:
    hall, other = await store.project(), await store.project("other")
    policy = ReleasePolicy(groups=("a", "b"), percent=(1.5,), success=80.0)
    for one in (ReleasePolicy(), policy):
        await store.projects.follow(FollowedEndpoint(hall.id, name, one))
        assert await store.projects.followed() == [FollowedEndpoint(hall.id, name, one)]
    await store.projects.unfollow(other)
    assert len(await store.projects.followed()) == 1
    await store.projects.unfollow(hall)
    assert await store.projects.followed() == []
    await store.projects.remove(hall)
    with pytest.raises(UnknownProject, match="removed"):
        await store.projects.follow(FollowedEndpoint(hall.id, name, policy))


async def test_all_there_is_of_a_project_goes_with_it(store: DeviceStores) -> None:
    await store.connected("a", "other")
    before = await store.dump()
    hall = await store.project()
    device = await store.connected()
    release = await store.release()
    await store.devices.enrol(hall, "code", [], None, SHORT)
    await store.commands.order([device.id], "dark", True, "ann")
    await store.receive(device, progress(1, release.number, "running"), log(2, "hello"))
    assert all((await store.dump()).values())
    await store.projects.remove(hall)
    assert await store.dump() == before
    # Neither the ids nor the numbers are given a second time.
    assert (await store.project()).id > hall.id


async def test_numbers_of_releases_go_on_in_a_project_of_the_same_name(store: DeviceStores) -> None:
    policy, key = ReleasePolicy(), ModelKey("m", 1)
    for name, numbers in (("Hall", (1, 2, 3)), ("hall", (4, 5)), ("other", (1,)), ("HALL", (6,))):
        project = await store.projects.create(name, ["m"])
        begun = [
            (await store.releases.begin(project, key, policy, by="", reason="set")).number
            for _ in numbers
        ]
        assert begun == [*numbers], name
        await store.projects.remove(project)
    unused = await store.projects.create("hall", ["m"])
    await store.projects.remove(unused)
    again = await store.projects.create("hall", ["m"])
    assert (await store.releases.begin(again, key, policy, by="", reason="set")).number == 7
