"""Starting the service of flows: when it is needed, and not again and again."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd, service_user
from model_deployment.flows import service_file
from model_deployment.flows.service_file import AWAY, Service, ServiceState
from model_deployment.flows.starter import Starter
from model_deployment.runtime.flow_service import ServiceProcess, is_service
from tests.support.waiting import until_sync


@dataclass
class Process:
    """One that a test lets live and die."""

    living: bool = False
    starts: list[Mapping[str, str]] = field(default_factory=list)
    error: OSError | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        if self.error:
            raise self.error
        self.starts.append(environment)
        self.living = True

    def is_running(self) -> bool:
        return self.living

    def status(self) -> int | None:
        return None if self.living else 3

    def last_words(self) -> str:
        return "no room"


@dataclass
class World:
    process: Process = field(default_factory=Process)
    service: Service = AWAY
    now: float = 100.0
    unusable: str = ""

    def starter(self) -> Starter:
        return Starter(
            self.process,
            lambda: self.service,
            lambda: {"PASSWORD": "x"},
            unusable=lambda: self.unusable,
            clock=lambda: self.now,
        )


def test_it_is_started_once_and_then_left_alone() -> None:
    world = World()
    starter = world.starter()
    for _ in range(3):
        starter.ensure()
    assert world.process.starts == [{"PASSWORD": "x"}]
    assert starter.state is ServiceState.STARTING
    world.service = Service(ServiceState.READY, 7)
    starter.ensure()
    assert len(world.process.starts) == 1


def test_a_living_service_of_an_earlier_controller_is_adopted() -> None:
    world = World(service=Service(ServiceState.READY, 7))
    world.starter().ensure()
    assert world.process.starts == []


def test_one_that_dies_is_started_again_after_longer_and_longer_pauses() -> None:
    world = World()
    starter = world.starter()
    starter.ensure()
    moments = []
    for _ in range(60):
        world.process.living = False
        before = len(world.process.starts)
        starter.ensure()
        if len(world.process.starts) > before:
            moments.append(world.now)
        world.now += 1
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 2 * pauses[0]
    assert starter.problem == ("cannot start the service of flows: it ended with status 3: no room")
    world.service = Service(ServiceState.READY, 7)
    starter.ensure()
    assert starter.problem == ""


@pytest.mark.parametrize("how", ["unusable", "error"])
def test_why_it_cannot_be_started_is_said(how: str) -> None:
    world = World(unusable="no Python" if how == "unusable" else "")
    if how == "error":
        world.process.error = PermissionError(13, "no Python")
    starter = world.starter()
    starter.ensure()
    assert "no Python" in starter.problem
    assert starter.state is ServiceState.AWAY


def test_a_process_that_ends_at_once_tells_why(tmp_path: Path) -> None:
    process = ServiceProcess(Path(sys.executable), tmp_path, tmp_path / "service.log")
    (tmp_path / "service.log").write_text("of an earlier start\n")
    process.start({"PATH": os.environ["PATH"], "PYTHONPATH": "/nowhere"})
    until_sync(lambda: process.status() is not None, timeout=30, what="its end")
    assert process.status() == 1
    assert "model_deployment_flows" in process.last_words()
    assert not process.is_running()


def test_the_file_of_a_service_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    assert not is_service(os.getpid())
    assert not is_service(2**22 + 1)
    said = {
        "pid": os.getpid(),
        "state": "ready",
        "api_url": "http://127.0.0.1:1/api",
        "auth": "a:b",
    }
    (tmp_path / service_file.FILE).write_text(json.dumps(said))
    assert service_file.read(tmp_path, is_service) == AWAY
    found = service_file.read(tmp_path, lambda pid: True)
    assert found.address
    assert found.address.basic == ("a", "b")
    elsewhere = {**said, "api_url": "http://example.com/api"}
    for text in ("", "[]", "{}", json.dumps(elsewhere)):
        (tmp_path / service_file.FILE).write_text(text)
        assert service_file.read(tmp_path, lambda pid: True).address is None


def test_the_user_that_runs_call_as_is_made_once_and_mended(tmp_path: Path) -> None:
    users, folder = tmp_path / "credentials", tmp_path / "flows"
    assert service_user.ensure(users, folder) == ""
    assert not folder.exists()
    htpasswd.set_user(users, "ann", "a" * 20, Role.OPERATOR)
    password = service_user.ensure(users, folder)
    assert len(password) >= 32
    assert service_user.ensure(users, folder) == password
    assert htpasswd.read(users).role("flows") is Role.OPERATOR
    assert (folder / "password").stat().st_mode & 0o777 == 0o600
    htpasswd.remove_user(users, "flows")
    assert service_user.ensure(users, folder) not in ("", password)
