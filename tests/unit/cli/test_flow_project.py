"""The commands for a project of flows, against the calls themselves in this process."""

import json
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from model_deployment.api import flow_project, problems
from model_deployment.api.flow_project import FlowProjectCalls
from model_deployment.cli import flow_project as commands
from model_deployment.cli import flows
from model_deployment.client import Client
from model_deployment.core.errors import InvalidProject
from model_deployment.flow_project import Project
from model_deployment.flow_project.create import create
from model_deployment.flows.parameters import allowed
from tests.support.in_this_process import InThisProcess


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings of the project of the controller that commands call."""
    folder = tmp_path / "project"
    create(folder)
    app = FastAPI()
    problems.install(app)
    app.include_router(flow_project.router(FlowProjectCalls(Project(folder), allowed)))
    client = Client("http://test")
    client._http = httpx.Client(transport=InThisProcess(app), base_url="http://test")
    monkeypatch.setattr(commands, "controller_at", lambda url: client)
    return folder / "settings.yaml"


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(flows.app, [*arguments], input=given)


def test_a_project_that_init_has_written_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    written = run("init", str(folder))
    assert written.exit_code == 0, written.output
    assert "flows run full_flow" in written.output
    assert len((folder / "data" / "income.csv").read_text().splitlines()) == 4001
    assert run("settings", "check", str(folder)).exit_code == 0
    (folder / "data" / "sales.csv").unlink()
    (folder / "experiments" / "income.py").unlink()
    refused = run("settings", "check", str(folder))
    assert refused.exit_code == 1
    assert "income.class: there is no file" in refused.output
    assert "sales.data: there is no file" in refused.output
    assert isinstance(run("init", str(folder)).exception, InvalidProject)


def test_a_project_whose_making_was_killed_is_begun_again(tmp_path: Path) -> None:
    folder = tmp_path / "new"

    def killed() -> None:
        (folder / "settings.yaml").write_text("experi")
        (folder / "data").mkdir()
        (folder / "data" / "income.csv").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create(folder, killed)
    assert run("init", str(folder)).exit_code == 0
    assert run("settings", "check", str(folder)).exit_code == 0
    assert len((folder / "data" / "income.csv").read_text().splitlines()) == 4001
    assert isinstance(run("init", str(folder)).exception, InvalidProject)


def test_settings_are_shown_saved_from_a_file_and_brought_back(settings: Path) -> None:
    first = settings.read_text()
    assert run("settings", "show").stdout == first
    saved = run(
        "settings", "edit", "--file", "-", given=first.replace("trials: 12", "trials: 5", 1)
    )
    assert saved.stdout == "saved as number 2\n"
    assert "trials: 5" in settings.read_text()
    history = json.loads(run("settings", "history", "--json").stdout)
    assert [one["number"] for one in history] == [2, 1]
    assert run("settings", "show", "--number", "1").stdout == first
    assert run("settings", "bring-back", "1").stdout == "saved as number 3\n"
    assert settings.read_text() == first


def test_a_text_that_cannot_be_used_is_refused_with_its_lines(settings: Path) -> None:
    first = settings.read_text()
    wrong = first.replace("trials: 12", "trails: 12", 1)
    refused = run("settings", "edit", "--file", "-", given=wrong)
    assert refused.exit_code == 1
    assert "experiments.income.trails: there is no such setting; did you mean trials?" in (
        refused.output
    )
    assert settings.read_text() == first


def test_the_editor_opens_again_until_the_text_can_be_used(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = settings.with_name("editor")
    editor.write_text(
        "#!/bin/sh\n"
        f"echo x >> {settings.with_name('opened')}\n"
        'if grep -q "^#! line" "$1"; then new="trials: 7"; else new="trials: none"; fi\n'
        'sed -i "s/trials: 12/$new/; s/trials: none/$new/" "$1"\n'
    )
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    assert run("settings", "edit").stdout == "saved as number 2\n"
    assert settings.with_name("opened").read_text() == "x\nx\n"
    assert "trials: 7" in settings.read_text()
    assert "#!" not in settings.read_text()
