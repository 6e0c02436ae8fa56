"""Errors of the dashboard: a page, or a part of one, whichever was asked for."""

import logging

import httpx
import pytest
from fastapi import FastAPI

from model_deployment.core.errors import (
    ModelDeploymentError,
    NotDeployed,
    RegistryUnavailable,
    TooBusy,
)
from model_deployment.dashboard.pages import Pages
from model_deployment.documents.base import StoreUnavailable

ERRORS = {
    "gone": (NotDeployed("cannot find it"), 404, "cannot find it"),
    "busy": (TooBusy("cannot now", retry_after=10), 429, "cannot now"),
    "store": (
        StoreUnavailable("cannot reach it at mongodb://ana:secret@db: connection refused"),
        503,
        "cannot read the document store now: cannot reach it at mongodb://ana:***@db: connection refused",
    ),
    "registry": (RegistryUnavailable("cannot list it", retry_after=20), 503, "cannot list it"),
    "ours": (ValueError("secret"), 500, "an internal error"),
}


async def ask(path: str) -> httpx.Response:
    app, pages = FastAPI(), Pages(lambda _: None)
    whole = pages.router()
    within = pages.router(part=True)

    async def fail(what: str) -> None:
        raise ERRORS[what][0]

    whole.get("/page/{what}")(fail)
    within.get("/part/{what}")(fail)
    whole.include_router(within)
    app.include_router(whole)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        # No Sec-Fetch-Dest: on plain HTTP browsers send none.
        return await client.get(path)


@pytest.mark.parametrize("what", ERRORS)
async def test_error_is_a_page_or_a_part_as_requested(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    error, status, said = ERRORS[what]
    page, part = await ask(f"/page/{what}"), await ask(f"/part/{what}")
    for answer in (page, part):
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert said in answer.text
        assert "secret" not in answer.text
        after = {"busy": "10", "registry": "20"}.get(what)
        assert answer.headers.get("retry-after") == after
    # What is away comes back: the page asks again by itself, and so may its reader.
    seconds = {"store": 10, "registry": 20}.get(what)
    assert (f'http-equiv="refresh" content="{seconds}"' in page.text) == bool(seconds)
    assert ("Try again" in page.text) == bool(seconds)
    assert "<h1>" in page.text
    assert "<html" not in part.text
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(told) != isinstance(error, ModelDeploymentError)
    assert any(record.exc_info for record in told) == (what == "ours")
