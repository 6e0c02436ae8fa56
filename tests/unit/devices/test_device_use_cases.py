"""What devices may do, what operators may do with them, and what either is told when it may not."""

import hashlib
import re
from datetime import timedelta

from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.errors import (
    Conflict,
    Forbidden,
    InvalidName,
    InvalidRequest,
    UnknownDevice,
    UnknownProject,
)
from model_deployment.core.releases import ReleasePolicy
from tests.support.fleet import MODEL, PROJECT, Fleet
from tests.support.fleet_steps import DEFAULT, reasons, refused


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
