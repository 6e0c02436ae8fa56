"""The calls with which devices register: codes that are good once, and what is refused in which words."""

from typing import Any

from tests.support.device_caller import DeviceCaller, P


async def test_a_device_registers_with_a_code_once(caller: DeviceCaller) -> None:
    made = await caller.ask("POST", f"{P}/enrolments", 201, json={"groups": ["canary"]})
    assert made["code"].endswith(f".{caller.world.key.id}")
    assert made["project"] == "warehouse"
    assert made["command"] == "model-deployment-agent enrol http://test warehouse -"
    assert made["code"] not in made["command"]
    body = {"code": made["code"], "device": "camera-7", "attributes": {"place": "hall 3", "x": 1.5}}
    found = await caller.ask("POST", "/warehouse/registerDevice", 201, json=body)
    assert found["token"].startswith("mdd_")
    assert found["key"] == {"id": caller.world.key.id, "public": caller.world.key.public}
    device = await caller.ask("GET", f"{P}/devices/camera-7")
    assert (device["state"], device["groups"], device["attributes"]) == (
        "never", ["canary"], {"place": "hall 3", "x": 1.5}
    )  # fmt: skip
    assert found["token"] not in str(device)
    used = await caller.refusal("POST", f"{P}/registerDevice", 403, json=body)
    body["code"] = "mdc_" + "x" * 43 + ".0123456789abcdef"
    assert await caller.refusal("POST", f"{P}/registerDevice", 403, json=body) == used
    taken = {"code": await caller.code(), "device": "camera-7"}
    assert "camera-7" in await caller.refusal("POST", f"{P}/registerDevice", 409, json=taken)


async def test_a_code_may_be_for_one_name(caller: DeviceCaller) -> None:
    body = {"code": await caller.code(device="camera-7"), "device": "camera-8"}
    await caller.refusal("POST", f"{P}/registerDevice", 403, json=body)
    body["device"] = "camera-7"
    await caller.ask("POST", f"{P}/registerDevice", 201, json=body)


NO_REGISTRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"device": "a b"}, "cannot use the device name 'a b'"),
    ({"device": "../x"}, "cannot use the device name"),
    ({"device": ""}, "cannot use the device name"),
    ({"device": "x" * 301}, "device in the body"),
    ({"code": "x" * 201}, "code in the body"),
    ({"code": 7}, "code in the body"),
    ({"attributes": []}, "attributes in the body: it must be a JSON object"),
    ({"attributes": {"a": [1]}}, "a must be a text, a number, true, false or null"),
    ({"attributes": {"a": {"b": 1}}}, "a must be a text"),
    ({"attributes": {"a": "x" * 201}}, "a has 201 characters; a text has 200 at most"),
    ({"attributes": {"": 1}}, "cannot be the name of an attribute"),
    ({"attributes": {"a\x1b": 1}}, "cannot be the name of an attribute"),
    ({"attributes": {f"a{n}": n for n in range(51)}}, "a device has 50 at most"),
    ({"attributes": {f"a{n}": "x" * 200 for n in range(50)}}, "the limit is 4096"),
    ({"groups": ["canary"]}, "there is no such member"),
]  # fmt: skip


async def test_what_is_no_registration_is_refused(caller: DeviceCaller) -> None:
    code = await caller.code()
    for body, detail in NO_REGISTRATIONS:
        given = {"code": code, "device": "camera-7"} | body
        assert detail in await caller.refusal("POST", f"{P}/registerDevice", 422, json=given), body
    # The code was not used up.
    await caller.ask("POST", f"{P}/registerDevice", 201, json={"code": code, "device": "camera-7"})


async def test_who_guesses_codes_has_to_wait(caller: DeviceCaller) -> None:
    guess = {"code": "mdc_guess", "device": "d"}
    for place in range(10):
        project, status = ("warehouse", 403) if place % 2 else ("guessed", 404)
        await caller.refusal("POST", f"/projects/{project}/registerDevice", status, json=guess)
    good = {"code": await caller.code(), "device": "camera-7"}
    answer = await caller.http.post(f"{P}/registerDevice", json=good)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.json()["type"] == "urn:model-deployment:problem:too-many-attempts"
    caller.world.clock = 60
    await caller.ask("POST", f"{P}/registerDevice", 201, json=good)
