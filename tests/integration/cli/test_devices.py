"""The commands for devices at the edge, through a running controller, with a device that polls."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.command_line import run_here
from tests.support.harness import ROOT, Controller
from tests.support.waiting import until_sync


class PollingDevice(AbstractContextManager["PollingDevice"]):
    """Does what the protocol of devices says, without a socket."""

    def __init__(self, url: str, project: str, code: str, name: str) -> None:
        # Without TLS: to read the certificates of all authorities takes longer than a call.
        self._calls = httpx.Client(base_url=f"{url}/{project}", verify=False)
        body = {"code": code, "device": name}
        found = self._json(self._calls.post("/registerDevice", json=body), 201)
        assert found["key"]["id"] == code.rpartition(".")[2]
        self.key = found["key"]["public"]
        self._calls.headers["Authorization"] = f"Bearer {found['token']}"
        self.seq = 0

    def __exit__(self, *_: object) -> None:
        self._calls.close()

    def active(self, status: int = 200) -> Any:
        return self._json(self._calls.get("/activeModel"), status)

    def blob(self, sha256: str) -> bytes:
        answer = self._calls.get(f"/blobs/{sha256}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def send(self, kind: str, **data: Any) -> None:
        self.seq += 1
        message = {"seq": self.seq, "kind": kind, "at": 1_769_860_800_000, "data": data}
        running = data["release"] if data.get("state") == "running" else None
        body = {"agent": "0.1.0", "stream": "s", "running": running, "health": {"memory": 0.5},
                "messages": [message]}  # fmt: skip
        answer = self._calls.post("/messages", json=body)
        assert self._json(answer, 200) == {"received": self.seq}

    @staticmethod
    def _json(answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def project(controller: Controller) -> Iterator[str]:
    yield "warehouse"
    done = run_here(controller, "project", "delete", "warehouse", "--force")
    assert done.exit_code == 0, done.output


@pytest.fixture
def registered(controller: Controller, project: str) -> Iterator[Callable[[str], PollingDevice]]:
    """Registers camera-7 with a code."""
    with ExitStack() as devices:
        yield lambda code: devices.enter_context(
            PollingDevice(controller.url, project, code, "camera-7")
        )


def test_from_a_project_to_a_device_that_is_revoked(
    controller: Controller, project: str, registered: Callable[[str], PollingDevice]
) -> None:
    def command(*arguments: str) -> str:
        done = run_here(controller, *arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    command("project", "create", project, "--model", "stub")
    code = command("device", "enrol", project, "--group", "canary", "--device", "camera-7").strip()
    device = registered(code)
    assert device.active()["release"] is None
    begun = command("release", "set", project, "1", "--percent", "none")
    assert begun == f"Look: model-deployment release show {project} 1 --follow\n"

    signed = until_sync(lambda: device.active()["release"], timeout=60)
    manifest = json.loads(signed["manifest"])
    assert (manifest["model"], manifest["version"], manifest["number"]) == ("stub", 1, 1)
    mlmodel = next(one for one in manifest["files"] if one["path"] == "model/MLmodel")
    assert len(device.blob(mlmodel["sha256"])) == mlmodel["size"]
    device.send("log", lines=[{"at": 1_769_860_800_000, "level": "info", "text": "\x1b[2J here"}])
    device.send("progress", release=1, state="running", reason="", bytes=9, of=9)

    followed = command("release", "show", project, "--follow")
    assert followed.splitlines()[-1].startswith("release 1 of warehouse, stub-1: complete")
    (listed,) = json.loads(command("device", "list", project, "--state", "online", "--json"))
    assert (listed["name"], listed["release"]["running"], listed["release"]["state"]) == (
        "camera-7", 1, "running"
    )  # fmt: skip
    assert (listed["health"], listed["agent"]) == ({"memory": 0.5}, "0.1.0")
    assert "\\x1b[2J here" in command("device", "logs", project, "camera-7")
    versions = json.loads(command("project", "models", project, "--json"))
    assert [(one["version"], one["devices"]) for one in versions if one["releases"] == [1]] == [
        (1, 1)
    ]

    command("device", "command", project, "dark", "true")
    (dark,) = device.active()["commands"]
    assert (dark["name"], dark["value"]) == ("dark", True)
    device.send("answer", id=dark["id"], ok=True, detail="it is dark")
    assert "it is dark" in command("device", "commands", project)

    command("device", "revoke", project, "camera-7")
    device.active(401)
    refused = run_here(controller, "device", "rotate", project, "camera-7")
    assert (refused.exit_code, "it is revoked" in refused.stderr) == (1, True)
    again = registered(command("device", "enrol", project, "--device", "camera-7").strip())
    assert again.key == device.key
    until_sync(lambda: json.loads(again.active()["release"]["manifest"])["number"] == 1)


def test_what_enrol_prints_enrols_an_agent(
    controller: Controller, project: str, tmp_path: Path
) -> None:
    run_here(controller, "project", "create", project, "--model", "stub")
    made = run_here(controller, "device", "enrol", project, "--device", "camera-7")
    (line,) = (one for one in made.stderr.splitlines() if "model-deployment-agent enrol" in one)
    program, *arguments = line.split()
    assert program == "model-deployment-agent"
    done = subprocess.run(
        [sys.executable, "-m", "model_deployment_agent", *arguments, "--folder", tmp_path / "device"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "agent")},
        input=made.stdout, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("camera-7 is a device of warehouse")
    (listed,) = json.loads(run_here(controller, "device", "list", project, "--json").stdout)
    assert (listed["name"], listed["state"]) == ("camera-7", "never")
