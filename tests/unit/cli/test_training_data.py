"""The commands for training data, against the calls themselves in this process."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from model_deployment.api import problems
from model_deployment.api.training_data import TrainingDataCalls, router
from model_deployment.cli import main
from model_deployment.cli import training_data as commands
from model_deployment.client import Client
from model_deployment.core.errors import Conflict
from model_deployment.core.names import ModelKey
from model_deployment.flows.kept_data import KeptData
from model_deployment.flows.runs import FlowRuns
from model_deployment.training_data.checking import Checker, Original
from model_deployment.training_data.uploads import Uploads
from model_deployment.training_data.versions import Versions
from tests.support.in_this_process import InThisProcess

HEADER = "age,income\n"


class NoRoom:
    """Runs that cannot be asked for, of a project with one experiment."""

    project = SimpleNamespace(settings=lambda: SimpleNamespace(experiments={"income": None}))
    data = KeptData()

    async def request(self, flow: str, **more: Any) -> Any:
        raise Conflict(f"cannot run {flow}: too many runs wait")

    async def using(self, sha256: str) -> list[str]:
        return []


class Whole(InThisProcess):
    """Reads a body that comes in pieces, which the application's transport does not."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        return super().handle_request(
            httpx.Request(request.method, request.url, headers=request.headers, content=content)
        )


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    """The versions of the controller that commands call."""
    original = tmp_path / "original.csv"
    original.write_text(f"{HEADER}39,>50K\n")
    kept = Versions(tmp_path / "data")
    uploads = Uploads(kept, Checker(10**6, {}), lambda _: Original(original), 10**6)

    async def trained_on(sha256: str) -> list[ModelKey]:
        return [ModelKey("income", 3)]

    app = FastAPI()
    problems.install(app)
    app.include_router(router(TrainingDataCalls(uploads, cast(FlowRuns, NoRoom()), trained_on)))
    client = Client("http://test")
    client._http = httpx.Client(transport=Whole(app), base_url="http://test")
    monkeypatch.setattr(commands, "controller_at", lambda url: client)
    return kept


def run(*arguments: Any, status: int = 0) -> Result:
    done = CliRunner().invoke(main.app, [*map(str, arguments)])
    assert done.exit_code == status, done.output
    return done


def test_a_file_is_uploaded_shown_saved_and_deleted(versions: Versions, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text(f"{HEADER}41,=1+1\n")
    said = run("upload-data", file, "--experiment", "income", "--no-run").output
    (version,) = versions.list()
    assert said == f"version {version.sha256}: 1 row, 2 columns\n"
    assert version.name == "new.csv"
    again = run("upload-data", file, "-e", "income", status=1)
    assert "a second time" in again.output
    short = version.sha256[:8]
    assert short in run("datasets", "list").output
    assert json.loads(run("datasets", "list", "--json").output)[0]["rows"] == 1
    shown = run("datasets", "show", short).output
    assert "age (int64), income (string)" in shown
    assert "income-3" in shown
    versions.keep_analysis(
        version.sha256, "income", {"headline": "well", "findings": []}, "<p>page"
    )
    assert "Analysis for income: well" in run("datasets", "show", short).output
    run("datasets", "report", short, "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "<p>page"
    run("datasets", "save", short, tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_bytes() == file.read_bytes()
    assert short in run("datasets", "list", "-e", "income").output
    run("datasets", "delete", short)
    assert "no uploads yet" in run("datasets", "list").output
    assert "lists the versions" in run("datasets", "show", short, status=1).output


def test_an_experiment_that_is_not_there_is_told(versions: Versions) -> None:
    assert "no uploads yet" in run("datasets", "list", "-e", "income").output
    said = run("datasets", "list", "--experiment", "nope", status=1).output
    assert "there is no such experiment; the project has income" in " ".join(said.split())


def test_a_file_whose_run_cannot_begin_is_kept(versions: Versions, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text(f"{HEADER}41,x\n")
    said = run("upload-data", file, "-e", "income", status=1).output
    (version,) = versions.list()
    assert "too many runs wait. The file is kept" in said
    assert f"data={version.sha256}" in said


def test_what_does_not_fit_is_said_and_a_missing_file_is_not_sent(
    versions: Versions, tmp_path: Path
) -> None:
    file = tmp_path / "new.csv"
    file.write_text(f"{HEADER}old,x\n")
    assert "row 1 has 'old'" in run("upload-data", file, "-e", "income", status=1).output
    assert "no such file" in run("upload-data", tmp_path / "none", "-e", "x", status=2).output
    assert versions.list() == []
