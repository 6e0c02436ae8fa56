"""The calls of commands for devices: whom they reach, and what is refused in which words."""

from typing import Any

from model_deployment.core.devices import MessageKind
from tests.support.device_caller import DeviceCaller, P


async def test_commands_go_to_devices_groups_or_all(caller: DeviceCaller) -> None:
    world = caller.world
    one, two = await world.registered("one", "canary"), await world.registered("two")
    await world.registered("three", "canary")
    await world.devices.revoke("warehouse", "three", "")
    dark = await caller.ask("POST", "/warehouse/setDark", 202, json={"value": True})
    assert dark == {"name": "dark", "value": True, "devices": ["one", "two"]}
    assert sorted(caller.world.connections.told[-1] or []) == [one.id, two.id]
    body: dict[str, Any] = {"name": "interval", "value": {"s": 30}, "groups": ["canary"]}
    ordered = await caller.ask("POST", f"{P}/commands", 202, json=body)
    assert ordered["devices"] == ["one"]
    body = {"name": "interval", "value": None, "devices": ["two"]}
    await caller.ask("POST", f"{P}/commands", 202, json=body)
    await world.connected(one)
    (interval, first) = await caller.ask("GET", f"{P}/commands?device=one")
    assert (interval["value"], first["name"], first["ok"]) == ({"s": 30}, "dark", None)
    answer = {"id": first["id"], "ok": False, "detail": "no such lamp"}
    await world.says(one, (MessageKind.ANSWER, answer))
    answered = (await caller.ask("GET", f"{P}/commands?device=one"))[1]
    assert (answered["ok"], answered["answer"]) == (False, "no such lamp")
    assert len(await caller.ask("GET", f"{P}/commands?limit=3")) == 3


NO_COMMANDS: list[tuple[dict[str, Any], int, str]] = [
    ({"name": "dark"}, 422, "value in the body: it is missing"),
    ({"name": "a b", "value": 1}, 422, "cannot use the command name 'a b'"),
    ({"name": "x", "value": "y" * 4100}, 422, "the limit is 4096"),
    ({"name": "x", "value": 1, "devices": []}, 422, "devices in the body"),
    ({"name": "x", "value": 1, "groups": []}, 422, "groups in the body"),
    ({"name": "x", "value": 1, "devices": ["none"]}, 404, "cannot find the device none"),
    ({"name": "x", "value": 1, "devices": ["a", "a"]}, 422, "a stands there twice"),
    (
        {"name": "x", "value": 1, "groups": ["none"]},
        422,
        "no device of warehouse belongs to it",
    ),
    ({"name": "x", "value": 1, "all": True}, 422, "there is no such member"),
]  # fmt: skip


async def test_what_is_no_command_is_refused(caller: DeviceCaller) -> None:
    await caller.world.registered("camera-7")
    for body, status, detail in NO_COMMANDS:
        assert detail in await caller.refusal("POST", f"{P}/commands", status, json=body), body
    assert await caller.ask("GET", f"{P}/commands") == []


async def test_dark_is_true_or_false(caller: DeviceCaller) -> None:
    for value in ("true", 1, None):
        await caller.refusal("POST", f"{P}/setDark", 422, json={"value": value})
