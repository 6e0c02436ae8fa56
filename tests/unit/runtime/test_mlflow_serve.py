"""The command line that serves a model where our own server does not run."""

from pathlib import Path

import pytest

from model_deployment.core.domain import Address, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime.mlflow_serve import mlflow_command


@pytest.mark.parametrize(
    ("version", "module"),
    [("1.30.0", "mlflow.cli"), ("2.0.1", "mlflow"), ("3.17.2", "mlflow"), ("10.1", "mlflow")],
)
def test_each_mlflow_is_run_in_its_own_environment_as_it_can_be(version: str, module: str) -> None:
    built = Environment("a", Path("/e/a"), "3.7.16", version, serves=False)
    spec = LaunchSpec(
        "one", ModelKey("m", 1), "/m", Address("127.0.0.1", 1), Options(EnvManager.UV)
    )
    command = mlflow_command(60)(spec, built)
    assert command[:5] == ["/e/a/bin/python", "-m", module, "models", "serve"]
    assert command[command.index("--env-manager") + 1] == "local"
