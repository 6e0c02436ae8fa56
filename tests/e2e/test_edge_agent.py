"""The real agent with the real controller: releases of real models, commands, and what comes back."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.edge_device import EdgeDevice
from tests.support.harness import Controller
from tests.support.waiting import until_sync

HALL = "/projects/hall"


class Hall:
    """A controller with the project ``hall``."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        controller.post("/projects", 201, {"name": "hall", "models": ["wear"]})

    @property
    def url(self) -> str:
        return self.controller.url

    def code(self) -> str:
        found: str = self.controller.post(f"{HALL}/enrolments", 201, {"groups": ["canary"]})["code"]
        return found

    def device(self) -> dict[str, Any]:
        found: dict[str, Any] = self.controller.get(f"{HALL}/devices/camera-7")
        return found

    def release(self, version: int, *ends: str) -> int:
        """Release a version, and wait until it has ended in one of these states; its number."""
        made = self.controller.post(f"{HALL}/setModel", 202, {"model": "wear", "version": version})
        number = int(made["release"]["number"])
        until_sync(
            lambda: self.controller.get(f"{HALL}/releases/{number}")["state"] in ends,
            timeout=90,
            interval=0.2,
            what=f"release {number} to be {ends}",
        )
        return number


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two versions of a pipeline, the second with other weights."""
    import mlflow
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    root: Path = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 5.0], "b": [2.0, 1.0, 0.0, 4.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(uri)
        experiment = mlflow.create_experiment("edge", artifact_location=str(root / "artifacts"))
        for factor in (1, 10):
            model = make_pipeline(StandardScaler(), Ridge()).fit(frame, factor * frame["a"])
            with mlflow.start_run(experiment_id=experiment):
                mlflow.sklearn.log_model(
                    model,
                    name="model",
                    registered_model_name="wear",
                    input_example=frame.head(2),
                    pip_requirements=["scikit-learn"],
                )
    return uri


@pytest.fixture
def hall(registry: str, tmp_path: Path) -> Iterator[Hall]:
    controller = Controller(tmp_path / "controller", registry)
    (tmp_path / "controller").mkdir()
    try:
        yield Hall(controller.up())
    finally:
        controller.destroy()


@pytest.mark.slow
def test_releases_commands_and_captures(hall: Hall, tmp_path: Path) -> None:
    device = EdgeDevice(tmp_path / "device", hall)
    device.enrol("--attribute", "place=hall 3")
    device.start("--watch", 1, "--capture-rate", 1)
    try:
        first = hall.release(1, "complete")
        device.until_running(first)
        assert device.status()["serving"]["form"] == "onnx"
        (low,) = device.predict([2.0, 1.0])
        until_sync(lambda: hall.device()["release"]["running"] == first)
        found = hall.device()
        assert (found["state"], found["agent"]) == ("online", "0.1.0")

        second = hall.release(2, "complete")
        device.until_running(second)
        (high,) = device.predict([2.0, 1.0])
        assert high == pytest.approx(10 * low, rel=1e-3)

        hall.controller.post(f"{HALL}/setDark", 202, {"devices": ["camera-7"], "value": True})
        until_sync(lambda: device.status()["values"] == {"dark": True})

        # The controller is killed, and nothing that the device says meanwhile is lost.
        hall.controller.kill()
        device.predict([5.0, 4.0])
        hall.controller.up()
        until_sync(lambda: device.status()["link"]["state"] == "connected", timeout=60)
        until_sync(lambda: hall.device()["state"] == "online", timeout=30)
        until_sync(lambda: device.status()["health"]["unsent"] == 0, timeout=30)
        until_sync(lambda: [5.0, 4.0] in _captured(hall), timeout=30, what="the capture")

        hall.controller.post(f"{HALL}/devices/camera-7/revoke", 200)
        until_sync(lambda: device.status()["link"]["state"] == "rejected", timeout=10)
        assert device.predict([2.0, 1.0]) == [high]
    finally:
        device.stop()


def _captured(hall: Hall) -> list[list[float]]:
    answer = hall.controller.call(
        "GET", "/model/wear-2/dataset", params={"source": "devices", "format": "jsonl"}
    )
    if answer.status_code != 200:
        return []
    return [[row["a"], row["b"]] for row in map(json.loads, answer.text.splitlines()) if "a" in row]
