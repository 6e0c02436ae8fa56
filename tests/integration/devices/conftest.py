"""Controllers with a project of devices, and devices that are registered."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.controller_forks import ControllerForks
from tests.support.device_client import DeviceClient
from tests.support.harness import Controller, Controllers
from tests.support.release_bench import ReleaseBench, release_bench


class EdgeBench:
    """A controller with a project."""

    def __init__(self, controller: Controller, project: str = "hall") -> None:
        self.controller, self.project = controller, project
        controller.post("/projects", 201, {"name": project, "models": ["stub"]})

    def register(self, name: str) -> DeviceClient:
        """A device that has a token, and is not connected."""
        controller = self.controller
        code = controller.post(f"/{self.project}/enrolments", 201, {})["code"]
        body = {"code": code, "device": name}
        answer = controller.call("POST", f"/{self.project}/registerDevice", json=body, auth=None)
        assert answer.status_code == 201, answer.text
        return DeviceClient(controller.url, name, answer.json()["token"])

    def device(self, name: str) -> dict[str, Any]:
        """What the API says of a device."""
        found: dict[str, Any] = self.controller.get(f"/{self.project}/devices/{name}")
        return found

    def captured(self, key: str) -> list[dict[str, Any]]:
        """The captures of devices in the document store, in its order."""
        path = f"/model/{key}/dataset"
        answer = self.controller.call("GET", path, params={"source": "devices", "format": "jsonl"})
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture
def benches(controllers: Controllers) -> Callable[..., EdgeBench]:
    """Makes controllers that run, with settings."""

    def make(**settings: Any) -> EdgeBench:
        return EdgeBench(controllers(**settings).with_users().up())

    return make


@pytest.fixture
def edge(controller: Controller) -> Iterator[EdgeBench]:
    """A project of its own on the controller that tests share."""
    bench = EdgeBench(controller, f"hall-{secrets.token_hex(4)}")
    yield bench
    answer = controller.call("DELETE", f"/projects/{bench.project}", params={"force": True})
    assert answer.status_code == 204, answer.text


@pytest.fixture(scope="package")
def bench(
    tmp_path_factory: pytest.TempPathFactory, controller_forks: ControllerForks
) -> Iterator[ReleaseBench]:
    """A controller that releases real files."""
    with release_bench(tmp_path_factory.mktemp("releases"), controller_forks) as made:
        yield made
