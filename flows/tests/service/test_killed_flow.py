"""A run that is killed in the middle has moved no alias; run again, it ends as if nothing had been."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from harness import tiny_experiment
from harness.running_service import RunningService
from waiting import until_sync

_HANGS = """

_class = Tiny


class Tiny(_class):
    def validate(self, params, X, y):
        folder = Path(__file__).parents[1]
        if (folder / "hang").exists() and (folder / "began").exists():
            (folder / "hangs").touch()
            time.sleep(600)
        (folder / "began").touch()
        return super().validate(params, X, y)
"""


@pytest.fixture
def project(service: RunningService, empty_registry: Path) -> Iterator[Path]:
    """The project of the service, with the experiment ``tiny``, and its place in the registry."""
    folder = service.project
    (folder / "experiments").mkdir()
    (folder / "data").mkdir()
    module = Path(tiny_experiment.__file__).read_text()
    code = f"import time\nfrom pathlib import Path\n{module}{_HANGS}"
    (folder / "experiments" / "tiny.py").write_text(code)
    settings = (folder / "settings.yaml").read_text()
    (folder / "settings.yaml").write_text(tiny_experiment.SETTINGS)
    tiny_experiment.table().to_csv(folder / "data" / "tiny.csv", index=False)
    shutil.copy(empty_registry, service.data_dir / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(service.environment["MLFLOW_TRACKING_URI"])
    place = (service.data_dir / "artifacts").as_uri()
    mlflow.create_experiment("tiny", artifact_location=place)
    yield folder
    (folder / "settings.yaml").write_text(settings)
    mlflow.set_tracking_uri(before)


@pytest.mark.slow
@pytest.mark.timeout(400)  # the first test of a session starts the service as well
def test_a_killed_flow_is_run_again(service: RunningService, project: Path) -> None:
    (project / "hang").touch()
    killed = service.create("full_flow", experiment="tiny", trials=4)
    until_sync((project / "hangs").exists, timeout=90, what="a trial that hangs")
    for pid in service.pids_of_runs():
        os.kill(pid, signal.SIGKILL)
    service.wait_for(killed, "CRASHED")
    client = mlflow.MlflowClient()
    assert not client.search_registered_models()

    (project / "hang").unlink()
    again = service.create("full_flow", experiment="tiny", trials=4)
    service.wait_for(again, "COMPLETED")
    (version,) = client.search_model_versions("name = 'tiny'")
    found = client.get_model_version("tiny", version.version)
    result = _result(service, again)
    assert result["outcome"] == "challenger", result
    assert {*found.aliases} == {"newest", "challenger"}
    assert found.tags["flow_run_id"] == again
    assert found.tags["evaluation"] == "passed"
    assert result["training"]["trials"] == 4
    # Of the trials of the killed run, the one that had ended was not run again.
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    trials = {one.data.tags["trial"] for one in runs if "trial" in one.data.tags}
    assert trials == {"0", "2", "3", "4"}


def _result(service: RunningService, run: str) -> dict[str, Any]:
    query = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["result"]}}}
    (artifact,) = service.api.post("/artifacts/filter", json=query).raise_for_status().json()
    found: dict[str, Any] = json.loads(artifact["data"])
    return found
