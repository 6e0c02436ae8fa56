"""What MLflow's calls say of an order that has not come to its end."""

import json
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from model_deployment.client.mlflow_plugin import ModelDeploymentClient
from tests.support.scripted_server import Answer, scripted

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

MISSING = Answer(404, b'{"status": 404, "detail": "not deployed"}')


def row(state: str, change: str | None = None) -> Answer:
    replacement = change and {"state": change, "reason": "waits for memory"}
    shown = {"name": "m-1", "state": state, "reason": "is loading", "replacement": replacement}
    done = state in ("ready", "stopped") and not change
    return Answer(200 if done else 202, json.dumps(shown).encode())


def called(call: str, answer: Answer, wait: float = 5) -> Any:
    first = [MISSING] if call == "create_deployment" else []
    with scripted(*first, answer) as server:
        client = ModelDeploymentClient(f"model-deployment:{server.url}")
        more = {"model_uri": "models:/m/1"} if first else {}
        return getattr(client, call)("m-1", config={"wait": wait}, **more)


@pytest.mark.parametrize(
    ("call", "answer", "said"),
    [
        ("create_deployment", row("starting"), "m-1 is still starting after 5 s: is loading"),
        ("create_deployment", row("pending"), "m-1 is still pending after 5 s"),
        (
            "update_deployment",
            row("ready", "pending"),
            "the change of m-1 is still pending after 5 s: waits for memory",
        ),
        ("update_deployment", row("ready", "stopping"), "the change of m-1 is still stopping"),
        ("delete_deployment", row("stopping"), "m-1 is still stopping after 5 s"),
    ],
)
def test_what_is_not_done_in_time_is_an_error(call: str, answer: Answer, said: str) -> None:
    with pytest.raises(MlflowException, match=said) as raised:
        called(call, answer)
    assert raised.value.error_code == "DEADLINE_EXCEEDED"
    called(call, answer, wait=0)  # whoever does not wait is told the state


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("create_deployment", row("ready")),
        ("update_deployment", row("parked")),
        ("update_deployment", row("ready", "retiring")),
        ("update_deployment", row("ready", "failed")),  # of an earlier change
        ("delete_deployment", row("stopped")),
    ],
)
def test_what_is_done_is_answered(call: str, answer: Answer) -> None:
    called(call, answer)
