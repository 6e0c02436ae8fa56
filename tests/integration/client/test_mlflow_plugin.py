"""The target ``model-deployment`` of MLflow, through MLflow's own client and command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.deployments import PredictionsResponse, get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.exceptions import MlflowException

from model_deployment.client import Client
from tests.support.harness import Controller
from tests.support.waiting import until_sync

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

FRAME = pd.DataFrame({"x": [1.5, 2.5]})
ENDPOINT = "other@live"


@pytest.fixture
def target(controller: Controller, registry_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, registry_uri)
    return controller.url.replace("http", "model-deployment")


def code(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    with pytest.raises(MlflowException) as raised:
        call(*arguments, **more)
    return str(raised.value.error_code)


def test_a_deployment(target: str) -> None:
    plugin: Any = get_deploy_client(target)
    made = plugin.create_deployment("stub-1", "models:/stub/1", config={"workers": "1", "wait": 30})
    assert (made["name"], made["flavor"], made["state"]) == ("stub-1", "python_function", "ready")
    assert code(plugin.create_deployment, "stub-1", "models:/stub/1") == "RESOURCE_ALREADY_EXISTS"
    assert code(plugin.create_deployment, "mine", "models:/stub/1") == "INVALID_PARAMETER_VALUE"
    assert code(plugin.create_deployment, "x-1", "runs:/0/model") == "INVALID_PARAMETER_VALUE"
    assert code(plugin.create_deployment, "stub-9", "models:/stub/9") == "RESOURCE_DOES_NOT_EXIST"
    assert (
        code(plugin.create_deployment, "stub-2", "models:/stub/2", "onnx")
        == "INVALID_PARAMETER_VALUE"
    )
    wrong = ("stub-2", "models:/stub/2", None, {"workers": "x"})
    assert code(plugin.create_deployment, *wrong) == "INVALID_PARAMETER_VALUE"
    assert [row["name"] for row in plugin.list_deployments()] == ["stub-1"]
    assert plugin.get_deployment("stub-1")["signature"]
    found = plugin.predict("stub-1", FRAME)
    assert isinstance(found, PredictionsResponse)
    assert found["predictions"] == [1.5, 2.5]
    assert len(found.get_predictions()) == 2
    assert (
        code(plugin.predict, "stub-1", FRAME.rename(columns={"x": "y"}))
        == "INVALID_PARAMETER_VALUE"
    )
    assert code(plugin.predict, None, FRAME) == "INVALID_PARAMETER_VALUE"
    assert code(plugin.explain, "stub-1", FRAME) == "NOT_IMPLEMENTED"
    updated = plugin.update_deployment("stub-1", config={"idle_timeout": "12h"})
    assert (updated["flavor"], updated["options"]["idle_timeout"]) == ("python_function", 43200)
    assert code(plugin.update_deployment, "stub-1", "models:/stub/2") == "INVALID_PARAMETER_VALUE"
    for _ in range(2):
        plugin.delete_deployment("stub-1")
    assert code(plugin.predict, "stub-1", FRAME) == "RESOURCE_DOES_NOT_EXIST"
    assert plugin.create_deployment("other-2", "models:/other/latest")["version"] == 2


@pytest.fixture
def alias(registry_uri: str) -> Iterator[MlflowClient]:
    """``other@live`` names version 1."""
    registry = MlflowClient(registry_uri, registry_uri)
    registry.set_registered_model_alias("other", "live", "1")
    yield registry
    registry.delete_registered_model_alias("other", "live")


def test_an_endpoint_serves_the_version_that_its_alias_names(
    target: str, controller: Controller, alias: MlflowClient
) -> None:
    plugin: Any = get_deploy_client(target)
    config = {"canary.steps": "[]", "checks.replay": "0"}
    made = plugin.create_deployment(ENDPOINT, "models:/other@live", config=config)
    assert made["policy"]["canary"]["steps"] == []
    assert code(plugin.create_endpoint, ENDPOINT) == "RESOURCE_ALREADY_EXISTS"
    until_sync(lambda: plugin.get_endpoint(ENDPOINT)["champion"] == 1, what="a champion")
    assert plugin.predict(endpoint=ENDPOINT, inputs=FRAME)["predictions"] == [1.5, 2.5]
    assert [row["name"] for row in plugin.list_deployments(endpoint=ENDPOINT)] == ["other-1"]

    updated = plugin.update_deployment(ENDPOINT, "models:/other/2", config={"wait": "60"})
    assert updated["champion"] == 2
    with Client(controller.url) as client:
        assert client.predict(ENDPOINT, FRAME).model_version == 2
    assert code(plugin.update_deployment, ENDPOINT, "models:/other/9") == "INVALID_PARAMETER_VALUE"

    changed = plugin.update_endpoint(ENDPOINT, {"keep_previous": "2h"})
    assert (changed["policy"]["keep_previous"], changed["policy"]["canary"]["steps"]) == (7200, [])
    assert [one["name"] for one in plugin.list_endpoints()] == [ENDPOINT]
    for _ in range(2):
        plugin.delete_endpoint(ENDPOINT)
    assert code(plugin.get_endpoint, ENDPOINT) == "RESOURCE_DOES_NOT_EXIST"


def test_the_command_line(
    target: str, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: str, *arguments: str) -> str:
        given = [command, "--target", target, *arguments]
        done = CliRunner().invoke(commands, given, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    name, model = ("--name", "stub-1"), ("-m", "models:/stub/1")
    assert "model-deployment://HOST:PORT" in run("help")
    created = run("create", *name, *model, "-C", "idle_timeout=12h")
    assert "python_function deployment stub-1 is created" in created
    assert "'idle_timeout': 43200.0" in run("get", *name)
    assert "stub-1" in run("list")
    assert "stub-1 is updated (with flavor python_function)" in run(
        "update", *name, "-C", "idle_timeout=1h"
    )
    (tmp_path / "rows.json").write_text(FRAME.to_json())
    answer = json.loads(run("predict", *name, "-I", str(tmp_path / "rows.json")))
    assert answer["predictions"] == [1.5, 2.5]
    for _ in range(2):
        assert "Deployment stub-1 is deleted" in run("delete", *name)
    monkeypatch.setenv("MODEL_DEPLOYMENT_URL", controller.url)
    run("run-local", "--name", "stub-2", "-m", "models:/stub/2")
    assert controller.row("stub-2")["state"] == "ready"
