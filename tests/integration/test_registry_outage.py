"""A registry that is gone, mute or moved: new deploys are refused, and all that runs runs on."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.harness import HOST, Controller, Controllers, at_once, within
from tests.stubs import free_port
from tests.waiting import until_sync


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
    assert f"the MLflow registry at {registry.replace('user:secret@', '')}" in problem["detail"]
    assert "secret" not in problem["detail"]
    controller.get("/get_model_list", 503)
    controller.get("/get_model_version_list/stub", 503)
    assert controller.get("/get_deployed_models") == []
    assert controller.get("/ready")["status"] == "ready"
    assert "secret" not in controller.logged()


def test_a_registry_that_says_nothing(controllers: Controllers, mute: str) -> None:
    controller = controllers(mute, REGISTRY_TIMEOUT=3).up()
    with ThreadPoolExecutor() as pool:
        # More than there are threads for them: each still has its answer in time.
        waiting = [pool.submit(controller.deploy, f"stub-{v}", status=503) for v in range(1, 21)]
        with within(3 + 1):
            problems = [answer.result() for answer in waiting]
        # And nobody else waits for them.
        with within(1):
            controller.get("/ready")
    for problem in problems:
        assert f"no answer from the MLflow registry at {mute} within 3 s" in problem["detail"]
    assert controller.get("/get_deployed_models", stopped=True) == []


def test_what_runs_needs_no_registry(controllers: Controllers, mute: str) -> None:
    controller = controllers().up()
    at_once([lambda key=key: controller.deploy(key) for key in ("wrapper-1", "stub-1")])
    controller.undeploy("stub-1")
    pid = controller.row("wrapper-1")["pid"]
    controller.kill()
    controller.registry = mute
    controller.up(REGISTRY_TIMEOUT=2)
    assert controller.row("wrapper-1")["pid"] == pid
    assert controller.predict("wrapper-1").status_code == 200
    assert controller.deploy("wrapper-1")["pid"] == pid
    restarted(controller, "wrapper-1")
    # What was undeployed has to be looked up again, since the registry may say otherwise by now.
    with within(2 + 1):
        assert mute in controller.deploy("stub-1", status=503)["detail"]
    controller.undeploy("wrapper-1")


def test_a_registry_that_comes_back_is_used_at_once(
    controllers: Controllers, stub_registry: Path, tmp_path: Path
) -> None:
    here, away = tmp_path / "mlflow.db", tmp_path / "away.db"
    shutil.copyfile(stub_registry / "mlflow.db", here)
    controller = controllers(f"sqlite:///{here}").up()
    controller.deploy("stub-1")
    here.rename(away)
    here.mkdir()  # or MLflow would make itself a new registry
    assert "the MLflow registry" in controller.deploy("stub-2", status=503)["detail"]
    restarted(controller, "stub-1")
    here.rmdir()
    away.rename(here)
    assert controller.deploy("stub-2")["state"] == "ready"


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


def cached(controller: Controller) -> Path:
    """The one entry of the cache."""
    (entry,) = (controller.data / "models").iterdir()
    return entry


def spoil(entry: Path, damage: str) -> None:
    file = entry / "model" / "stub.json"
    match damage:
        case "changed":
            file.write_text(file.read_text().replace("stub-1", "evil"))
        case "added":
            (entry / "model" / "sitecustomize.py").write_text("evil")
        case "removed":
            file.unlink()
        case "manifest":
            (entry / "manifest.json").write_text("{")
        case "no manifest":
            (entry / "manifest.json").unlink()
        case "link":
            shutil.move(file, entry / "elsewhere.json")
            file.symlink_to(entry / "elsewhere.json")


def test_a_damaged_copy_is_downloaded_again(controllers: Controllers) -> None:
    controller = controllers().up()
    controller.deploy("stub-1")
    for damage in ("changed", "added", "removed", "manifest", "no manifest"):
        spoil(cached(controller), damage)
        restarted(controller, "stub-1")
        assert controller.predict("stub-1").json()["model"] == "stub-1", damage
        names = {path.name for path in (cached(controller) / "model").iterdir()}
        assert names >= {"MLmodel", "stub.json"}
        assert "sitecustomize.py" not in names


def test_a_tampered_copy_is_not_served_also_without_a_registry(
    controllers: Controllers, mute: str
) -> None:
    controller = controllers().up()
    before = controller.deploy("stub-1")
    controller.kill()
    controller.registry = mute
    controller.up(REGISTRY_TIMEOUT=1, TRIES=2, DOWNLOAD_TIMEOUT=1)
    spoil(cached(controller), "changed")
    os.kill(before["pid"], signal.SIGKILL)
    row = controller.wait_for("stub-1", "failed")
    assert f"no answer from the MLflow registry at {mute}" in row["reason"]
    assert controller.processes() == []


def test_a_download_that_was_broken_off_is_cleared_away(controllers: Controllers) -> None:
    controller = controllers()
    partial = controller.data / "models" / ".partial-abc" / "download"
    partial.mkdir(parents=True)
    (partial / "MLmodel").write_text("half of it")
    controller.up().deploy("stub-1")
    assert cached(controller).name.startswith("stub-1-")
