"""A run of a flow whose controller is killed, with the real service of flows."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.flow_project.create import MAKE_DATA, create
from model_deployment.registry.mlflow_client import create_database
from tests.support.controller_program import Program
from tests.support.missing import missing
from tests.support.waiting import until_sync

PYTHON = Path(__file__).parents[2] / ".venv-flows" / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example project, which the controller finds in its environment."""
    if not PYTHON.exists():
        missing("the flows' environment is not installed (make flows-dev)")
    folder = tmp_path / "project"
    create(folder)
    subprocess.run([sys.executable, MAKE_DATA], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    monkeypatch.setenv("MODEL_DEPLOYMENT_FLOWS_PROJECT", str(folder))
    monkeypatch.setenv("MODEL_DEPLOYMENT_FLOWS_PYTHON", str(PYTHON))
    # No model is started, and so no warm parent is needed.
    monkeypatch.setenv("MODEL_DEPLOYMENT_START_METHOD", "serve")
    return folder


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("project")
def test_run_survives_kills_of_the_controller_and_runs_once(tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path / 'mlflow.db'}"
    create_database(registry)
    service = tmp_path / "data" / "flows" / "service.json"
    with Program(tmp_path, registry) as controller:
        try:
            asked = controller.post("/api/run_flow/data_flow", json={"experiment": "income"})
            assert asked.status_code == 202, asked.text
            place = f"/api/flow-runs/{asked.json()['id']}"
            controller.kill()  # nothing but the request has been written
            controller.start()

            def state() -> str:
                return str(controller.get(place).raise_for_status().json()["state"])

            until_sync(lambda: state() == "running", timeout=180, interval=0.2, what="the run")
            controller.kill()
            controller.start()
            until_sync(lambda: state() == "completed", timeout=120, interval=0.3, what="its end")
            assert len(controller.get("/api/flow-runs").json()) == 1
        finally:
            if service.exists():
                os.kill(json.loads(service.read_bytes())["pid"], signal.SIGTERM)
                until_sync(lambda: not service.exists(), timeout=60, what="the service's end")
