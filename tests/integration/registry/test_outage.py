"""A registry that is gone, mute or moved: new deploys are refused, and all that runs runs on."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.harness import HOST, Controller, Controllers
from tests.support.ports import free_port
from tests.support.tools import at_once, within
from tests.support.waiting import until_sync


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a registry that accepts connections, and says nothing."""
    with socket.create_server((HOST, 0), backlog=128) as listener:
        yield f"http://{HOST}:{listener.getsockname()[1]}"


def restarted(controller: Controller, key: str) -> None:
    """Kill a model; the next launch has to come without help."""
    pid = controller.row(key)["pid"]
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: controller.row(key)["pid"] not in (pid, None))
    controller.wait_for(key, "ready")


def test_a_registry_that_refuses_connections(controllers: Controllers) -> None:
    registry = f"http://user:secret@{HOST}:{free_port()}"
    controller = controllers(registry, REGISTRY_TIMEOUT=15).up()
    with within(15):
        problem = controller.deploy("stub-1", status=503)
    shown = registry.replace("user:secret@", "")
    assert problem["detail"] == (
        f"cannot look up stub-1: cannot reach the MLflow registry at {shown}: connection refused"
    )
    assert "secret" not in problem["detail"]
    controller.get("/get_model_list", 503)
    controller.get("/get_model_version_list/stub", 503)
    for page in ("/dashboard/registry", "/dashboard/registry/stub"):
        answer = controller.call("GET", page)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert f"cannot reach the MLflow registry at {shown}: connection refused</p>" in answer.text
        assert '<meta http-equiv="refresh" content="10">' in answer.text
    assert controller.get("/get_deployed_models") == []
    assert controller.get("/ready")["status"] == "ready"
    assert "secret" not in controller.logged()


def test_silent_registry_is_unavailable(controllers: Controllers, mute: str) -> None:
    controller = controllers(mute, REGISTRY_TIMEOUT=3).up()
    # More than there are threads for them: each still has its answer in time.
    keys = [f"stub-{version}" for version in range(1, 21)]
    with within(3 + 1, controller.held_up):
        problems = at_once(lambda key: controller.deploy(key, status=503), keys)
    for problem in problems:
        assert f"the MLflow registry at {mute}" in problem["detail"]
    assert controller.get("/get_deployed_models", stopped=True) == []


def test_running_models_and_known_baselines_need_no_registry(
    controllers: Controllers, mute: str
) -> None:
    controller = controllers().up()
    newest = controller.get("/get_model_version_list/stub")[0]["version"]  # the one that has a run
    key = f"stub-{newest}"
    at_once(controller.deploy, ("wrapper-1", "stub-1", key))
    controller.undeploy("stub-1")
    pid = controller.row("wrapper-1")["pid"]
    known = controller.get(f"/model/{key}/metrics")
    assert known["baseline"] == {"rmse": 1.5}
    assert known["baseline_as_of"] is None
    controller.kill()
    controller.registry = mute
    controller.up(REGISTRY_TIMEOUT=2)
    _baselines_are_known(controller, newest)
    assert controller.row("wrapper-1")["pid"] == pid
    assert controller.predict("wrapper-1").status_code == 200
    assert controller.deploy("wrapper-1")["pid"] == pid
    restarted(controller, "wrapper-1")
    # What was undeployed has to be looked up again, since the registry may say otherwise by now.
    with within(2 + 1):
        assert mute in controller.deploy("stub-1", status=503)["detail"]
    controller.undeploy("wrapper-1")


def _baselines_are_known(controller: Controller, version: int) -> None:
    key = f"stub-{version}"
    kept = controller.get(f"/model/{key}/metrics")
    assert (kept["baseline"], kept["baseline_error"]) == ({"rmse": 1.5}, None)
    assert datetime.fromisoformat(kept["baseline_as_of"]) <= datetime.now(UTC)
    compared = controller.get("/compare/stub", versions=version)
    assert compared["metrics"]["rmse"][str(version)]["baseline"] == 1.5
    assert compared["baseline_as_of"][str(version)] == kept["baseline_as_of"]
    page = controller.call("GET", f"/dashboard/deployments/{key}/reports").text
    assert "The registry does not answer. This baseline is from" in page


def test_a_registry_that_comes_back_is_used_again(
    controllers: Controllers, stub_registry: Path, tmp_path: Path
) -> None:
    here = tmp_path / "mlflow.db"
    here.mkdir()  # or MLflow would make itself a new registry
    controller = controllers(f"sqlite:///{here}", REGISTRY_TIMEOUT=2).up()
    assert "the MLflow registry" in controller.deploy("stub-1", status=503)["detail"]
    here.rmdir()
    shutil.copyfile(stub_registry / "mlflow.db", here)
    until_sync(lambda: controller.call("POST", "/deploy/stub/1").status_code == 200, timeout=60)


def test_without_an_address_the_registry_is_in_the_data_directory(
    controllers: Controllers, stub_registry: Path
) -> None:
    controller = controllers("")
    folder = controller.data / "mlflow"
    folder.mkdir(parents=True)
    shutil.copyfile(stub_registry / "mlflow.db", folder / "mlflow.db")
    controller.up()
    assert controller.deploy("stub-1")["state"] == "ready"
    # Where it runs, nothing is made: MLflow's own default would be there.
    assert {path.name for path in controller.data.parent.iterdir()} == {"data", "controller.log"}


def test_a_registry_apart_from_the_tracking_server_is_used(
    controllers: Controllers, stub_registry: Path, tmp_path: Path
) -> None:
    controller = controllers(f"sqlite:///{tmp_path / 'tracking.db'}")
    controller.variables["MLFLOW_REGISTRY_URI"] = f"sqlite:///{stub_registry / 'mlflow.db'}"
    assert controller.up().deploy("stub-1")["state"] == "ready"


def cached(controller: Controller, key: str) -> Path:
    """The entry of a version in the cache."""
    (entry,) = (controller.data / "models").glob(f"{key}-*")
    return entry


def change(entry: Path) -> None:
    file = entry / "model" / "stub.json"
    file.write_text(file.read_text().replace("many", "evil"))


DAMAGES: list[Callable[[Path], object]] = [
    change,
    lambda entry: (entry / "model" / "sitecustomize.py").write_text("evil"),
    lambda entry: (entry / "model" / "MLmodel").unlink(),
    lambda entry: (entry / "manifest.json").write_text("{"),
    lambda entry: (entry / "manifest.json").unlink(),
    lambda entry: shutil.rmtree(entry / "model"),
]


def test_a_damaged_or_unfinished_copy_is_downloaded_again(controllers: Controllers) -> None:
    controller = controllers()
    # Of a download that was broken off.
    partial = controller.data / "models" / ".partial-abc" / "download"
    partial.mkdir(parents=True)
    (partial / "MLmodel").write_text("half of it")
    controller.up()
    assert [*(controller.data / "models").glob(".partial-*")] == []
    keys = [f"many-{version}" for version in range(1, len(DAMAGES) + 1)]
    at_once(controller.deploy, keys)
    for key, damage in zip(keys, DAMAGES, strict=True):
        damage(cached(controller, key))
    at_once(lambda key: restarted(controller, key), keys)
    for key in keys:
        assert controller.predict(key).json()["model"] == key
        names = {path.name for path in (cached(controller, key) / "served").iterdir()}
        assert names >= {"MLmodel", "stub.json"}
        assert "sitecustomize.py" not in names


def test_a_tampered_copy_is_not_served_also_without_a_registry(
    controllers: Controllers, mute: str
) -> None:
    controller = controllers().up()
    before = controller.deploy("many-1")
    controller.kill()
    controller.registry = mute
    controller.up(REGISTRY_TIMEOUT=1, TRIES=2, DOWNLOAD_TIMEOUT=1)
    change(cached(controller, "many-1"))
    os.kill(before["pid"], signal.SIGKILL)
    row = controller.wait_for("many-1", "failed")
    assert f"no answer from the MLflow registry at {mute}" in row["reason"]
    assert controller.processes() == []
