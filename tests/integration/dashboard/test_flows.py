"""The pages of runs of flows, in a browser, over a stub of Prefect and without a controller."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI, Request

from model_deployment.api import flows, problems
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.dashboard.dashboard import Dashboard
from tests.support.browser import Tab, expect
from tests.support.dashboard_app import dependencies, serving
from tests.support.endpoint_views import MemoryEndpoints
from tests.support.flow_runs import flow_runs
from tests.support.looks import faults
from tests.support.prefect_engine import Engine, stub_engine

PAGE = "/dashboard/flows"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with stub_engine() as found:
        found.serve()
        yield found


@pytest.fixture
def url(tmp_path: Path, engine: Engine) -> Iterator[str]:
    app = FastAPI(lifespan=lambda app: _alive(app, tmp_path, engine))
    problems.install(app)

    @app.middleware("http")
    async def sign_in(request: Request, call_next):  # type: ignore[no-untyped-def]
        request.scope[USER] = User("ann", Role.OPERATOR)
        return await call_next(request)

    with serving(app) as address:
        yield address


@asynccontextmanager
async def _alive(app: FastAPI, folder: Path, engine: Engine) -> AsyncIterator[None]:
    async with flow_runs(folder, engine) as scene:
        app.include_router(flows.router(scene.runs))
        pages = dependencies(MemoryEndpoints(), project=scene.runs.project, flow_runs=scene.runs)
        app.include_router(Dashboard(pages).router())
        task = asyncio.create_task(scene.runs.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def only_run(engine: Engine) -> str:
    assert engine.stub
    [run] = engine.stub.runs
    return run


def test_somebody_runs_a_flow_watches_it_and_cancels_the_next(
    url: str, engine: Engine, tab: Tab
) -> None:
    page, found = tab.page, []
    page.goto(url + PAGE)
    expect(page.get_by_role("heading", name="Nothing has run yet")).to_be_visible()
    page.get_by_text("Run a flow").click()
    page.locator("#run [name=flow]").select_option("train_flow")
    expect(page.locator("#run [name=epochs]")).to_have_count(0)
    page.locator("#run [name=experiment]").select_option("sales")
    expect(page.locator("#run [name=epochs]")).to_be_visible()
    page.locator("#run [name=trials]").fill("3")
    found += faults(page, "the form")
    page.get_by_role("button", name="Run", exact=True).click()
    row = page.locator("#runs tbody tr")
    expect(row).to_contain_text("scheduled")
    expect(row).to_contain_text("trials=3")
    run = only_run(engine)
    engine.enter(run, "RUNNING")
    engine.task(run, HOSTILE)
    engine.log(run, "first line", HOSTILE)
    expect(row).to_contain_text("running")
    expect(page.locator(".gantt g.bar.running.wide")).to_have_count(1)
    found += faults(page, "runs")

    row.get_by_role("link").click()
    expect(page.locator(".tabs [aria-current]")).to_have_text("Runs")
    expect(page.locator("#log")).to_contain_text(HOSTILE)
    expect(page.locator(".gantt text.name")).to_have_text(HOSTILE)
    engine.log(run, "Finished in state Completed()", "last line")
    engine.leave(run, '{"version": 3, "metrics": {"f1_score": 0.7}}')
    engine.enter(run, "FAILED", f"no: {HOSTILE}")
    expect(page.locator(".message")).to_have_text(f"no: {HOSTILE}")
    expect(page.locator("#log")).to_contain_text("last line")
    expect(page.locator("#log")).not_to_contain_text("Finished in state")
    page.get_by_label("lines of Prefect itself").check()
    expect(page.locator("#log")).to_contain_text("Finished in state")
    expect(page.locator(".result")).to_contain_text("f1_score")
    found += faults(page, "a run")

    page.get_by_role("button", name="Run again").click()
    expect(page.locator("#now")).to_contain_text("scheduled")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#now")).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert found == [], "\n".join(found)
