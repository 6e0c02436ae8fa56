"""A controller that is killed between a request of a run, the hand-over, and the end of the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_deployment.flow_project.create import MAKE_DATA, create
from tests.support.flow_runs import project
from tests.support.harness import OPERATOR, Controller, Controllers
from tests.support.missing import missing
from tests.support.prefect_engine import PYTHON, stub_engine
from tests.support.waiting import until_sync

STATE = 20.0


def states(controller: Controller) -> list[str]:
    return [one["state"] for one in controller.get("/api/flow-runs")]


def test_a_run_is_neither_lost_nor_started_twice_by_kills(
    controllers: Controllers, tmp_path: Any
) -> None:
    folder = project(tmp_path / "project").folder
    with stub_engine() as engine:
        controller = controllers(
            FLOWS_PROJECT=folder,
            FLOWS_API_URL=engine.address.url,
            FLOWS_API_AUTH=engine.address.auth,
        ).with_users()
        controller.up()
        controller.user = OPERATOR
        assert (controller.data / "flows" / "password").stat().st_mode & 0o777 == 0o600
        # Nobody serves the flows yet, so the request waits.
        body = {"experiment": "income", "trials": 3}
        made = controller.post("/api/run_flow/train_flow", 202, body)
        controller.kill()

        engine.serve()
        controller.up()
        until_sync(lambda: states(controller) == ["scheduled"], timeout=STATE)
        controller.kill()

        assert engine.stub
        [run] = engine.stub.runs.values()
        assert run["parameters"] == {**body, "data": "original"}
        assert f"request:{made['id']}" in run["tags"]
        engine.enter(run["id"], "RUNNING")
        engine.leave(run["id"], '{"version": 3}')
        engine.log(run["id"], "the end")
        engine.enter(run["id"], "COMPLETED")
        controller.up()
        until_sync(lambda: states(controller) == ["completed"], timeout=STATE)
        found = controller.get(made["place"])
        assert (found["result"], found["requested_by"]) == ({"version": 3}, OPERATOR[0])
        assert [one["message"] for one in controller.get(found["links"]["logs"])] == ["the end"]
        assert len(engine.stub.runs) == 1

        # The user that runs call as may do what an operator may.
        password = (controller.data / "flows" / "password").read_text().strip()
        controller.user = ("flows", password)
        assert states(controller) == ["completed"]


@pytest.mark.timeout(400)
def test_the_real_service_is_started_and_a_run_survives_a_kill_of_the_controller(
    controllers: Controllers, stub_registry: Path, tmp_path: Path
) -> None:
    if not PYTHON.exists():
        missing("the flows' environment is not installed (make flows-dev)")
    folder, database = tmp_path / "project", tmp_path / "mlflow.db"
    create(folder)
    subprocess.run(
        [sys.executable, MAKE_DATA, "--rows", "600"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )  # fmt: skip
    # Runs write into it.
    shutil.copyfile(stub_registry / "mlflow.db", database)
    controller = controllers(
        f"sqlite:///{database}",
        FLOWS_PROJECT=folder,
        FLOWS_PYTHON=PYTHON,
        # It would wait for other tests.
        FLOWS_PRIORITY="normal",
    ).up()
    service = controller.data / "flows" / "service.json"
    try:
        made = controller.post("/api/run_flow/data_flow", 202, {"experiment": "income"})
        until_sync(lambda: states(controller) == ["running"], timeout=240, interval=0.5)
        controller.kill()
        controller.up()
        until_sync(lambda: states(controller) == ["completed"], timeout=120, interval=0.5)
        assert controller.get(made["place"])["id"] == made["id"]
    finally:
        if service.exists():
            os.kill(json.loads(service.read_bytes())["pid"], signal.SIGTERM)
            until_sync(lambda: not service.exists(), timeout=60, what="the service's end")
