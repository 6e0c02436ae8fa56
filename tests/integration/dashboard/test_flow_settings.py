"""The page with the settings of the project of flows, in a browser, without a controller."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from model_deployment.api import flow_project, problems
from model_deployment.api.flow_project import FlowProjectCalls
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.flow_project import Project, history
from model_deployment.flow_project.create import create
from model_deployment.flows.parameters import allowed
from tests.support.browser import Tab, expect
from tests.support.dashboard_app import dependencies, serving
from tests.support.endpoint_views import MemoryEndpoints
from tests.support.looks import faults

PAGE = "/dashboard/flows/settings"
SELECTED = (
    "(({value, selectionStart, selectionEnd}) => value.slice(selectionStart, selectionEnd))(text)"
)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    project = Project(folder)
    app = FastAPI()
    problems.install(app)
    app.include_router(flow_project.router(FlowProjectCalls(project, allowed)))
    app.include_router(Dashboard(dependencies(MemoryEndpoints(), project=project)).router())
    with serving(app) as address:
        yield address + PAGE


def settings(folder: Path) -> str:
    return (folder / "settings.yaml").read_text()


def test_somebody_edits_compares_and_brings_back(folder: Path, url: str, tab: Tab) -> None:
    page, first = tab.page, settings(folder)
    page.goto(url)
    text, save = page.locator("#text"), page.get_by_role("button", name="Save")
    expect(save).to_be_disabled()
    # A slip is named with its line, and cannot be saved.
    text.fill(first.replace("trials: 12", "trails: 12", 1))
    expect(page.locator("#problems")).to_contain_text("did you mean trials?")
    expect(save).to_be_disabled()
    line = first[: first.index("trials: 12")].count("\n") + 1
    page.get_by_role("button", name=f"line {line}").click()
    assert page.evaluate(SELECTED).strip() == "trails: 12"
    # Mended, and saved with the keyboard.
    text.fill(first.replace("trials: 12", "trials: 13", 1) + f"# {HOSTILE}\n")
    expect(page.locator("#state")).to_have_text("can be saved")
    text.press("Control+s")
    expect(page.locator("#history tbody tr")).to_have_count(2)
    assert "trials: 13" in settings(folder)
    # What has changed.
    page.get_by_role("link", name="What number 2 has changed").click()
    expect(page.locator(".difference .added code").first).to_contain_text("trials: 13")
    expect(page.locator(".difference .removed")).to_have_count(1)
    # Back.
    page.get_by_role("button", name="Bring number 1 back").click()
    expect(page.locator("#state")).to_have_text("can be saved")
    save.click()
    expect(page.locator("#history tbody tr")).to_have_count(3)
    assert settings(folder) == first
    assert tab.trouble == []


def test_what_somebody_else_saved_is_not_overwritten(folder: Path, url: str, tab: Tab) -> None:
    page, first = tab.page, settings(folder)
    page.goto(url)
    page.locator("#text").fill(first + "# mine\n")
    expect(page.locator("#state")).to_have_text("can be saved")
    history.save(folder, first + "# theirs\n", by="bob")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#failed")).to_contain_text("somebody has changed them")
    assert settings(folder).endswith("# theirs\n")
    assert page.locator("#text").input_value().endswith("# mine\n")


def test_the_page_has_contrast_and_fits_every_width(folder: Path, url: str, tab: Tab) -> None:
    page = tab.page
    history.save(folder, settings(folder) + f"# {'long ' * 60}{HOSTILE}\n", by="ann" * 20)
    history.save(folder, settings(folder).replace("trials: 12", "trials: 4", 1), by="bob")
    (folder / "settings.yaml").write_text(settings(folder).replace("trials: 4", "trials: none", 1))
    found = []
    for query in ("", "?old=1#difference"):
        page.goto(url + query)
        expect(page.locator("#problems li")).to_have_count(1)
        expect(page.locator("#state")).to_have_text("1 problem")
        found += faults(page, PAGE + query)
    assert found == [], "\n".join(found)
