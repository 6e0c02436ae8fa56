"""MLflow's calls in a model without a server fail and say what to set; traces are told of once."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from model_deployment.core.domain import Address, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.runtime import identity
from model_deployment.runtime.starter import launch_environment
from model_deployment.settings import Settings
from model_deployment.worker.tracking import NO_TRACKING, NO_TRACKING_HINT


def launch(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a launch's processes."""
    spec = LaunchSpec("a", ModelKey("m", 1), "model", Address("127.0.0.1", 1), Options())
    return launch_environment("instance", spec, environment, identity.FORK)


@pytest.mark.parametrize("manager", [EnvManager.LOCAL, EnvManager.UV])
def test_models_get_no_server_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch, manager: EnvManager
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://name:secret@mlflow.example")
    given = launch(Settings().model_environment(manager))
    assert given["MLFLOW_TRACKING_URI"] == NO_TRACKING
    assert "MLFLOW_REGISTRY_URI" not in given
    named = launch(Settings(model_env=("MLFLOW_TRACKING_URI",)).model_environment(manager))
    assert named["MLFLOW_TRACKING_URI"] == "https://name:secret@mlflow.example"


def test_the_registry_of_our_own_can_be_named_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(data_dir=tmp_path, model_env=("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"))
    given = settings.model_environment(EnvManager.LOCAL)
    assert given["MLFLOW_TRACKING_URI"] == given["MLFLOW_REGISTRY_URI"] == settings.tracking_uri
    assert str(tmp_path) in settings.tracking_uri


CALLS = """
import mlflow
from model_deployment.worker.tracking import log_first_dropped_trace

log_first_dropped_trace()

@mlflow.trace
def double(x):
    return 2 * x

assert [double(x) for x in range(3)] == [0, 2, 4]
failed = []
for call in (
    lambda: mlflow.pyfunc.load_model("models:/other/1"),
    lambda: mlflow.MlflowClient().search_registered_models(),
    mlflow.start_run,
    lambda: mlflow.log_metric("x", 1),
):
    try:
        call()
    except mlflow.MlflowException as error:
        failed.append("name-MLFLOW_TRACKING_URI-in-MODEL_DEPLOYMENT_MODEL_ENV" in str(error))
assert failed == [True] * 4, failed
"""


@pytest.mark.slow
def test_calls_fail_and_name_the_setting_and_dropped_traces_are_told_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CALLS],
        cwd=tmp_path,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": NO_TRACKING,
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(NO_TRACKING_HINT) == 1
    assert [*tmp_path.iterdir()] == []


def test_a_model_with_a_server_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from model_deployment.worker.tracking import log_first_dropped_trace

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    log_first_dropped_trace()
    assert not logging.getLogger("mlflow.tracing.fluent").filters
