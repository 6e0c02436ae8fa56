"""The commands for projects, devices and releases, run against the calls themselves in this process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from model_deployment.cli import device_commands, devices, projects, releases
from model_deployment.cli.main import app
from model_deployment.client import Client
from model_deployment.core.devices import Device
from model_deployment.core.releases import ReleasePolicy
from tests.support.device_calls import DeviceWorld, LoopThread, device_world
from tests.support.in_this_process import InThisProcess


class DeviceCommandLine:
    """Runs commands against a controller with the project ``warehouse``."""

    def __init__(self, world: DeviceWorld, loop: LoopThread, client: Client) -> None:
        self.world, self.loop, self.client = world, loop, client

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments])

    def done(self, *arguments: str) -> str:
        """What a command prints that succeeds."""
        found = self(*arguments)
        assert found.exit_code == 0, found.output
        return found.stdout

    def refused(self, *arguments: str, status: int = 1) -> str:
        found = self(*arguments)
        assert (found.exit_code, found.stdout) == (status, ""), found.output
        return " ".join(found.stderr.replace("│", "").split())

    def json(self, *arguments: str) -> Any:
        return json.loads(self.done(*arguments, "--json"))

    def device(self, name: str, *groups: str) -> Device:
        return self.loop.run(self.world.registered(name, *groups))

    def policy(self, number: int) -> ReleasePolicy:
        return self.loop.run(self.world.devices.release("warehouse", number)).release.policy


def words(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


@contextmanager
def device_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DeviceCommandLine]:
    """Commands that talk to a controller whose database is in a folder."""
    with LoopThread() as loop:
        context = device_world(folder)
        world = loop.run(context.__aenter__())
        loop.run(world.devices.create_project("warehouse", ["diabetes"], "ann"))
        client = Client("http://test")
        transport = InThisProcess(world.application(), loop.run)
        client._http = httpx.Client(transport=transport, base_url="http://test")
        for module in (device_commands, devices, projects, releases):
            monkeypatch.setattr(module, "controller_at", lambda url: client)
        monkeypatch.setattr(releases, "_EVERY", 0)
        yield DeviceCommandLine(world, loop, client)
        client.close()
        loop.run(context.__aexit__(None, None, None))
