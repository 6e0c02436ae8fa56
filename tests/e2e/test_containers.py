"""The whole, with a real model in a container of a real engine."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from model_deployment.runtime.container import spec
from tests.support.base_image import WHOLE
from tests.support.controller_program import Program
from tests.support.engine import TestEngine, shared_engine
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

REGISTER = """
import sys
import mlflow
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
import pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(experiment_id=mlflow.create_experiment("containers", sys.argv[2]))
data = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
model = LinearRegression().fit(data, [2.0, 4.0, 6.0])
mlflow.sklearn.log_model(
    model, name="m", registered_model_name="line", signature=infer_signature(data, model.predict(data)),
    pip_requirements=sys.argv[3:],
)
"""
PAYLOAD = {"dataframe_split": {"columns": ["x"], "data": [[5.0]]}}


@pytest.fixture(scope="module")
def engine() -> TestEngine:
    it = shared_engine()
    with it.client() as client:
        if not client.images.list(name="whole"):
            it.make_base("whole", WHOLE)
    return it


@pytest.fixture(scope="module")
def program(engine: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    # The path of a socket is short, and so has to be that of the data directory.
    folder = engine.root / "e2e"
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    needed = [f"{name}=={version(name)}" for name in ("mlflow", "scikit-learn", "pandas", "skops")]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REGISTER, uri, (folder / "artifacts").as_uri(), *needed],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "CONTAINER_ENGINE": engine.url, "IMAGE_BASE": "whole:latest", "IMAGE_NETWORK": "none",
            "START_METHOD": "container", "START_TIMEOUT": "240",
        }.items():  # fmt: skip
            patch.setenv(f"MODEL_DEPLOYMENT_{name}", value)
        patch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        with Program(folder, uri) as running:
            yield running
        with engine.client() as client:
            label: dict[str, str | list[str] | bool] = {"label": spec.LAUNCH}
            left = client.containers.list(all=True, filters=label)
            assert [one.name for one in left] == []


def containers(engine: TestEngine) -> dict[str, str]:
    with engine.client() as client:
        found = client.containers.list(filters={"label": f"{spec.KEY}=line-1"})
        return {str(one.id): one.name or "" for one in found}


def predict(program: Program) -> Any:
    answer = program.post("/line-1", json=PAYLOAD)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_model_in_a_container_is_built_served_changed_adopted_and_removed(
    program: Program, engine: TestEngine
) -> None:
    def deployed() -> bool:
        # The registry of a busy machine may need more than one attempt to make its database over.
        asked = program.post("/deploy/line/1?wait=0")
        assert asked.status_code in (200, 202), asked.text
        return True

    until_sync(deployed, timeout=90, interval=1, what="the registry")
    reasons: set[str] = set()

    def ready() -> bool:
        now = program.get("/model/line-1").json()
        reasons.add(str(now["reason"]))
        assert now["state"] != "failed", now
        return bool(now["state"] == "ready")

    until_sync(ready, timeout=240, interval=0.2, what="a model in a container")
    assert any("the image of the model's environment" in one for one in reasons), reasons
    assert predict(program) == pytest.approx([10.0])
    row = program.get("/model/line-1").json()
    assert row["pid"] is None
    assert row["container"] in containers(engine).values()

    before = containers(engine)
    program.kill()
    assert predict(program) == pytest.approx([10.0])  # by a proxy
    program.start()
    assert containers(engine) == before
    assert predict(program) == pytest.approx([10.0])
    assert "Started server process" in program.get("/model/line-1/logs").text

    failures, stop = [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                predict(program)
            except Exception as error:
                failures.append(repr(error))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for one in callers:
        one.start()
    changed = program.post(
        "/deploy/line/1?wait=240&replace=true",
        json={"memory_limit": 1024**3},
    )
    stop.set()
    for one in callers:
        one.join()
    assert changed.status_code == 200, changed.text
    assert failures == []

    def replaced() -> bool:
        return len(containers(engine)) == 1 and containers(engine) != before

    until_sync(replaced, timeout=60, what="one container")
    with engine.client() as client:
        (container,) = containers(engine)
        assert client.api.inspect_container(container)["HostConfig"]["Memory"] == 1024**3
    assert program.post("/undeploy/line-1?wait=60").status_code == 200
    until_sync(lambda: not containers(engine), timeout=30)
    folders = Path(program.data) / "containers"
    until_sync(
        lambda: not [*folders.glob("*/serve.sock")], timeout=30, what="no folder of a launch"
    )
