"""A real service with a real server, for tests: started, killed, asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
from model_deployment_flows.service.processes import run_processes, servers
from waiting import until_sync

PROJECT = Path(__file__).parents[1] / "project"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
#: Seconds: the machine may do much else meanwhile.
_READY, _RUN = 120.0, 90.0
_FLOWS = ("sleeper", "glutton")


class RunningService:
    """The service of a data directory, as often as it is started."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.project = folder / "project"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None
        shutil.copytree(PROJECT, self.project)
        self.data_dir.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MODEL_DEPLOYMENT_DATA_DIR": str(self.data_dir),
            "MODEL_DEPLOYMENT_FLOWS_PROJECT": str(self.project),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.data_dir / 'mlflow.db'}",
        }

    @property
    def file(self) -> Path:
        return self.data_dir / "flows" / "service.json"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def api(self) -> httpx.Client:
        assert self._client is not None
        return self._client

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "model_deployment_flows",
            "serve",
            "--priority",
            "normal",
            *arguments,
        ]
        return subprocess.Popen(
            command, env=self.environment, stderr=subprocess.PIPE, start_new_session=True
        )

    def start(self, *arguments: str) -> None:
        """Returns when the service is ready."""
        self._process = self.spawn(*arguments)
        content = until_sync(self._ready, timeout=_READY, interval=0.2, what="a ready service")
        user, _, password = content["auth"].partition(":")
        self._client = httpx.Client(
            base_url=content["api_url"],
            auth=(user, password),
            timeout=20,
            trust_env=False,
            # A server that has much to do may end an idle connection as the next request is sent on it.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _ready(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.log()
        content: dict[str, Any] = json.loads(self.file.read_bytes())
        return (
            content if content["state"] == "ready" and content["pid"] == self.process.pid else None
        )

    def log(self) -> str:
        return (self.data_dir / "flows" / "service.log").read_text()

    def kill(self) -> None:
        """Kill the service alone; its server and the run go on."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """What the death of the machine does."""
        self.kill()
        for pid in [*self.pids_of_runs(), *self.pids_of_servers()]:
            os.kill(pid, signal.SIGKILL)
        until_sync(lambda: not self.pids_of_runs() and not self.pids_of_servers())

    def stop(self) -> int:
        """End it as a user does; returns the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)

    def pids_of_runs(self) -> list[int]:
        return [one.pid for one in run_processes(self.data_dir)]

    def pids_of_servers(self) -> list[int]:
        return [one.pid for one in servers(self.data_dir) if one.status() != psutil.STATUS_ZOMBIE]

    def register_test_flows(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "harness.register_test_flows", *_FLOWS],
            env={
                **self.environment,
                "PYTHONPATH": f"{self.project}:{Path(__file__).parents[1]}",
                "PREFECT_HOME": str(self.data_dir / "flows" / "prefect"),
                "PREFECT_API_URL": str(self.api.base_url).rstrip("/"),
                "PREFECT_API_AUTH_STRING": json.loads(self.file.read_bytes())["auth"],
            },
            check=True,
            timeout=120,
        )

    def create(self, flow: str, **parameters: object) -> str:
        """Have a flow run; returns the run's id."""
        name = self.api.get(f"/deployments/name/{flow}/model-deployment").raise_for_status()
        place = f"/deployments/{name.json()['id']}/create_flow_run"
        body = {"parameters": parameters, "idempotency_key": uuid4().hex}

        def created() -> dict[str, Any] | None:
            answer = self.api.post(place, json=body)
            busy = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE  # SQLite is locked
            return None if busy else answer.raise_for_status().json()

        return str(until_sync(created)["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self.api.get(f"/flow_runs/{run_id}").raise_for_status().json()
        except httpx.HTTPError as error:
            raise ConnectionError(str(error)) from error
        return answer

    def wait_for(self, run_id: str, *states: str) -> str:
        """Wait for one of some states; returns the message of the state."""
        run = until_sync(
            lambda: run if (run := self.run(run_id))["state_type"] in states else None,
            timeout=_RUN,
            interval=0.2,
            what=f"run {run_id} to be {states}",
        )
        return str(run["state"]["message"])
