"""Releases from the call that begins them to devices that poll, with a controller at work."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

HALLS = "/projects/halls"
ALL_AT_ONCE: dict[str, list[Any]] = {"groups": [], "percent": []}


@dataclass
class PollingDevice:
    """Asks what it should run, and says that it does; the files are those of other tests."""

    controller: Controller
    name: str
    token: str
    #: Numbers that it cannot run.
    fails: set[int] = field(default_factory=set)
    sent: int = 0
    running: int | None = None

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.controller.call(method, path, headers=headers, **more)

    def goes_on(self) -> int | None:
        """One round; the number that it was told."""
        answer = self.call("GET", "/halls/activeModel")
        assert answer.status_code == 200, answer.text
        if (wanted := answer.json()["release"]) is None:
            return None
        number = int(wanted["manifest"].partition('"number":')[2].partition(",")[0])
        if self.running != number:
            self.says(number)
        return number

    def says(self, number: int) -> None:
        self.sent += 1
        failed = number in self.fails
        data = {
            "release": number,
            "state": "failed" if failed else "running",
            "reason": "the model answers NaN" if failed else "",
        }
        self.running = None if failed else number
        message = {"seq": self.sent, "kind": "progress", "at": 1_796_000_000_000, "data": data}
        body: dict[str, Any] = {
            "agent": "1.0.0", "stream": "s", "running": self.running, "health": {},
            "messages": [message],
        }  # fmt: skip
        answer = self.call("POST", "/halls/messages", json=body)
        assert answer.json() == {"received": self.sent}, answer.text


def join(controller: Controller, name: str, *groups: str) -> PollingDevice:
    code = controller.post(f"{HALLS}/enrolments", 201, body={"groups": [*groups]})["code"]
    body = {"code": code, "device": name, "attributes": {}}
    found = controller.call("POST", "/halls/registerDevice", json=body)
    assert found.status_code == 201, found.text
    return PollingDevice(controller, name, found.json()["token"])


@pytest.fixture
def halls(controller: Controller) -> Iterator[Controller]:
    yield with_halls(controller)
    assert controller.call("DELETE", f"{HALLS}?force=true").status_code == 204


def with_halls(controller: Controller) -> Controller:
    """With the project."""
    controller.post("/projects", status=201, body={"name": "halls", "models": ["stub"]})
    return controller


def ends(controller: Controller, number: int, devices: list[PollingDevice]) -> str:
    """The state in which a release ends, while devices poll."""

    def state() -> str:
        for one in devices:
            one.goes_on()
        found = controller.get(f"{HALLS}/releases/{number}")
        return "" if found["state"] in ("preparing", "rolling") else str(found["state"])

    return until_sync(state, timeout=60, interval=0.3, what=f"release {number} to end")


def test_release_reaches_devices_and_a_bad_one_is_taken_back(controllers: Controllers) -> None:
    # Models of environments of their own are not tried, which would take seconds for each release.
    halls = with_halls(controllers(ENV_MANAGER="uv").up())
    canary, other = join(halls, "gate-1", "canary"), join(halls, "hall-1")
    devices = [canary, other]
    first = halls.post(f"{HALLS}/setModel", 202, body={"version": 1})["release"]
    number = first["number"]
    assert first["state"] == "preparing"
    assert ends(halls, number, devices) == "complete"
    assert (canary.running, other.running) == (number, number)

    canary.fails.add(number + 1)
    halls.post(f"{HALLS}/setModel", 202, body={"model": "stub", "version": 2})
    assert ends(halls, number + 1, devices) == "stopped"
    assert ends(halls, number + 2, devices) == "complete"
    assert (canary.running, other.running) == (number + 2, number + 2)
    releases = halls.get(f"{HALLS}/releases")
    assert [(one["number"], one["version"], one["reverts"]) for one in releases] == [
        (number + 2, 1, number + 1), (number + 1, 2, None), (number, 1, None),
    ]  # fmt: skip
    [stopped] = [one for one in halls.get(f"{HALLS}/events") if one["state"] == "stopped"]
    assert "the model answers NaN (gate-1)" in stopped["reason"]

    versions = {one["version"]: one for one in halls.get(f"{HALLS}/models")}
    assert (versions[1]["devices"], versions[1]["releases"]) == (2, [number + 2, number])
    assert (versions[2]["devices"], versions[2]["releases"]) == (0, [number + 1])
    stats = halls.get(f"{HALLS}/getStats")["versions"]
    assert {(one["version"], one["running"]) for one in stats} == {(1, 2), (2, 0)}

    halls.call("POST", f"{HALLS}/devices/hall-1/revoke")
    assert other.call("GET", "/halls/activeModel").status_code == 401


def test_promotion_on_the_server_is_a_release_on_devices(halls: Controller) -> None:
    one = join(halls, "gate-1")
    halls.post("/set_model", body={"model": "stub", "alias": "champion"}, wait=60)
    body = {"endpoint": "stub@champion", "policy": ALL_AT_ONCE}
    begun = halls.post(f"{HALLS}/setModel", 202, body=body)["release"]
    assert (begun["version"], begun["endpoint"]) == (2, "stub@champion")
    assert ends(halls, begun["number"], [one]) == "complete"
    assert halls.get(HALLS)["follows"]["endpoint"] == "stub@champion"
