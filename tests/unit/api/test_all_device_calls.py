"""What the calls of projects, devices and releases have in common: addresses, JSON and the audit trail."""

import logging

import pytest

from tests.support.device_caller import DeviceCaller, P


async def test_values_that_json_cannot_carry_are_refused(caller: DeviceCaller) -> None:
    headers = {"Content-Type": "application/json"}

    async def refused(path: str, body: bytes) -> None:
        await caller.refusal("POST", path, 422, content=body, headers=headers)

    for text in (
        b"NaN",
        b"Infinity",
        b'"\\ud800"',
        b"1e999",
        b"9007199254740992",
        b"-" + b"9" * 30,
    ):
        before = b'{"code": "x", "device": "d", "attributes": {"a": '
        await refused(f"{P}/registerDevice", before + text + b"}}")
        await refused(f"{P}/commands", b'{"name": "dark", "value": ' + text + b"}")
    for name in ("name", "models"):
        body = b'{"name": "halls", "models": ["heart"]}'.replace(
            {"name": b"halls", "models": b"heart"}[name], b"\\ud800"
        )
        await refused("/projects", body)


CALLS = (
    ("GET", "models"), ("GET", "getStats"), ("GET", "releases"), ("GET", "releases/1"),
    ("POST", "releases/1/pause"), ("POST", "releases/1/resume"), ("POST", "releases/1/stop"),
    ("GET", "events"), ("GET", "devices"), ("GET", "devices/d"), ("DELETE", "devices/d"),
    ("POST", "devices/d/revoke"), ("POST", "devices/d/rotate"), ("GET", "devices/d/logs"),
    ("GET", "devices/d/updates"), ("GET", "commands"), ("POST", "enrolments"),
)  # fmt: skip


async def test_both_addresses_are_one_call_and_name_what_is_missing(caller: DeviceCaller) -> None:
    for method, path in CALLS:
        long = await caller.ask(method, f"/projects/none/{path}", 404)
        assert long == await caller.ask(method, f"/none/{path}", 404)
        assert long["type"] == "urn:model-deployment:problem:unknown-project"
        refused = await caller.refusal(method, f"/none/{path}?x=1", 422)
        assert "cannot use the query parameter 'x'" in refused


async def test_changes_are_in_the_audit_trail(
    caller: DeviceCaller, caplog: pytest.LogCaptureFixture
) -> None:
    await caller.world.registered("camera-7")
    with caplog.at_level(logging.INFO):
        await caller.ask("POST", "/projects", 201, json={"name": "halls", "models": ["heart"]})
        await caller.ask("POST", "/warehouse/setModel", 202, json={"version": 2})
        await caller.ask("POST", f"{P}/releases/1/stop")
        await caller.ask("POST", f"{P}/devices/camera-7/revoke")
        await caller.ask("POST", f"{P}/registerDevice", 403, json={"code": "c", "device": "d"})
        await caller.ask("GET", f"{P}/devices")
    told = [
        tuple(vars(one).get(name) for name in ("action", "status", "project", "device", "release"))
        for one in caplog.records
        if hasattr(one, "action")
    ]
    assert told == [
        ("create_project", 201, "halls", None, None),
        ("set_release", 202, "warehouse", None, None),
        ("stop_release", 200, "warehouse", None, "1"),
        ("revoke_device", 200, "warehouse", "camera-7", None),
        ("register_device", 403, "warehouse", "d", None),
    ]
    (released,) = (one for one in caplog.records if vars(one).get("action") == "set_release")
    assert vars(released)["model"] == "diabetes-2"
    events = await caller.ask("GET", f"{P}/events?limit=2")
    assert [one["reason"] for one in events] == ["revoked", "stopped"]
