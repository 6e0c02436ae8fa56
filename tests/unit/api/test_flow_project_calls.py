"""The calls for the settings of the project of flows, over HTTP without a controller."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from model_deployment.api import flow_project, problems
from model_deployment.api.flow_project import FlowProjectCalls
from model_deployment.flow_project import Project
from model_deployment.flow_project.create import create
from model_deployment.flows.parameters import allowed

SETTINGS = "/api/flow-project/settings"
YAML = {"Content-Type": "application/yaml"}


def client_of(folder: Path | None) -> TestClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(flow_project.router(FlowProjectCalls(Project(folder), allowed)))
    return TestClient(app)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    create(tmp_path / "project")
    with client_of(tmp_path / "project") as client:
        yield client


def test_settings_are_read_changed_and_brought_back(client: TestClient) -> None:
    before = client.get(SETTINGS)
    text = before.text.replace("trials: 12", "trials: 13", 1)
    saved = client.put(SETTINGS, content=text, headers={**YAML, "If-Match": before.headers["etag"]})
    assert saved.json()["number"] == 2
    assert client.get(SETTINGS).headers["etag"] == saved.headers["etag"] != before.headers["etag"]
    shown = client.get("/api/flow-project").json()
    assert shown["settings"]["experiments"]["income"]["trials"] == 13
    assert shown["settings"]["experiments"]["income"]["class"] == "experiments.income:Income"
    assert shown["runs"]["income"]["train_flow"]["model_type"]["enum"] == [
        "auto", "random_forest", "gradient_boosting",
    ]  # fmt: skip
    assert [one["number"] for one in client.get("/api/flow-project/history").json()] == [2, 1]
    first = client.get("/api/flow-project/history/1").json()["text"]
    assert first == before.text
    assert client.put(SETTINGS, content=first, headers=YAML).json()["number"] == 3


def test_a_text_that_was_replaced_meanwhile_is_not_saved(client: TestClient) -> None:
    before = client.get(SETTINGS)
    text = before.text + "# mine\n"
    assert client.put(SETTINGS, content=before.text + "# theirs\n", headers=YAML).is_success
    refused = client.put(
        SETTINGS, content=text, headers={**YAML, "If-Match": before.headers["etag"]}
    )
    assert refused.status_code == 412
    assert client.get(SETTINGS).text.endswith("# theirs\n")


def test_each_problem_is_answered_with_its_line(client: TestClient) -> None:
    text = client.get(SETTINGS).text.replace("trials: 12", "trials: -1", 1)
    checked = client.post(SETTINGS + "/check", content=text, headers=YAML).json()
    assert not checked["usable"]
    refused = client.put(SETTINGS, content=text, headers=YAML)
    assert refused.status_code == 422
    assert refused.json()["problems"] == checked["problems"]
    assert checked["problems"][0]["key"] == "experiments.income.trials"
    assert client.post(SETTINGS + "/check", content=client.get(SETTINGS).content).json()["usable"]


def test_settings_that_were_broken_by_hand_can_be_mended(
    client: TestClient, tmp_path: Path
) -> None:
    good = client.get(SETTINGS).text
    (tmp_path / "project" / "settings.yaml").write_text("experiments: 5")
    shown = client.get("/api/flow-project").json()
    assert shown["settings"] is None
    assert shown["problems"][0]["line"] == 1
    broken = client.get(SETTINGS)
    assert broken.text == "experiments: 5"
    headers = {**YAML, "If-Match": broken.headers["etag"]}
    assert client.put(SETTINGS, content=good, headers=headers).is_success


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff", YAML, 422),
        (b"a: 1", {"Content-Type": "application/json"}, 415),
        (b"a: 1", {**YAML, "Content-Encoding": "gzip"}, 415),
        (b"#" * 70_000, YAML, 422),
        (b"", YAML, 422),
    ],
)
def test_what_is_no_settings_changes_nothing(
    client: TestClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    before = client.get(SETTINGS).text
    assert client.put(SETTINGS, content=body, headers=headers).status_code == status
    assert client.get(SETTINGS).text == before


@pytest.mark.parametrize("path", ["", "/settings", "/history", "/history/1"])
def test_without_a_project_the_answer_says_how_to_get_one(path: str) -> None:
    with client_of(None) as client:
        answer = client.get("/api/flow-project" + path)
    assert answer.status_code == 404
    assert "flows init FOLDER" in answer.json()["detail"]
    assert "MODEL_DEPLOYMENT_FLOWS_PROJECT" in answer.json()["detail"]
