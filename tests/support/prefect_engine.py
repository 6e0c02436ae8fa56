"""A Prefect server as the tests drive it: the real one of the flows' environment, or the stub."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from model_deployment.flows.base import DEPLOYMENT, FlowType
from model_deployment.flows.prefect import Address
from tests.support.ports import free_port
from tests.support.prefect_stub import PrefectStub, prefect_stub
from tests.support.waiting import until_sync

PYTHON = Path(__file__).parents[2] / ".venv-flows/bin/python"
_AUTH = "u:secret"
_SCHEMA = {
    "type": "object",
    "properties": {"experiment": {"type": "string"}, "data": {"title": "data"}},
    "required": ["experiment"],
}


@dataclass(frozen=True)
class Engine:
    """What the tests do in the place of flows that run."""

    address: Address
    #: The stub, which needs no connection.
    stub: PrefectStub | None = None

    def call(self, path: str, body: Any) -> Any:
        """A call with a body, as a program in the flows' environment makes it."""
        if self.stub is not None:
            return self.stub.answer("POST", f"/api{path}", body)

        def answered() -> httpx.Response:
            """A server that is busy, with its database or its start, is to be asked again."""
            answer = httpx.post(
                self.address.url + path, json=body, auth=self.address.basic, timeout=30
            )
            assert answer.status_code != 503, answer.text
            return answer

        answer = until_sync(answered, timeout=60, what=f"an answer to {path}")
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def serve(self, parameters: dict[str, Any] = _SCHEMA) -> None:
        """Register the five flows."""
        for name in FlowType:
            flow = self.call("/flows/", {"name": name})
            body = {
                "name": DEPLOYMENT,
                "flow_id": flow["id"],
                "parameter_openapi_schema": parameters,
                "enforce_parameter_schema": True,
            }
            self.call("/deployments/", body)

    def enter(self, run: str, state: str, message: str = "") -> None:
        """Have a run be in a state."""
        body = {"state": {"type": state, "message": message or None}, "force": True}
        self.call(f"/flow_runs/{run}/set_state", body)

    def task(self, run: str, name: str) -> str:
        """A task of a run that has begun."""
        body = {
            "flow_run_id": run,
            "task_key": name,
            "dynamic_key": name,
            "name": name,
            "state": {"type": "RUNNING", "name": "Running"},
        }
        return str(self.call("/task_runs/", body)["id"])

    def log(self, run: str, *messages: str) -> None:
        """Lines of a run's log."""
        now = datetime.now(UTC).isoformat()
        lines = [
            {
                "name": "prefect.flow_runs",
                "level": 20,
                "message": text,
                "timestamp": now,
                "flow_run_id": run,
            }
            for text in messages
        ]
        self.call("/logs/", lines)

    def leave(self, run: str, data: str) -> None:
        """A result of a run."""
        body = {"key": "result", "type": "markdown", "data": data, "flow_run_id": run}
        self.call("/artifacts/", body)


@contextlib.contextmanager
def stub_engine() -> Iterator[Engine]:
    with prefect_stub(_AUTH) as stub:
        yield Engine(Address(stub.url, stub.auth), stub)


@contextlib.contextmanager
def real_engine(folder: Path) -> Iterator[Engine]:
    """A server of the flows' environment, with an SQLite file of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_AUTH_STRING": _AUTH,
        "PREFECT_API_AUTH_STRING": _AUTH,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [str(PYTHON), "-m", "prefect", "server", "start", "--no-ui"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    engine = Engine(Address(url, _AUTH))
    try:
        until_sync(lambda: _healthy(engine, process), timeout=120, interval=0.2, what="Prefect")
        yield engine
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


def _healthy(engine: Engine, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "it has ended"
    try:
        return httpx.get(f"{engine.address.url}/health", timeout=5, verify=False).is_success
    except httpx.HTTPError:
        return False
