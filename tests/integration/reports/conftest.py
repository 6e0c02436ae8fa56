"""Forks that make reports, which saves the imports of each child."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_deployment.reports import service
from tests.support.report_forks import ReportForks


@pytest.fixture(scope="module")
def forks() -> Iterator[ReportForks]:
    it = ReportForks()
    yield it
    it.close()


@pytest.fixture
def forked(forks: ReportForks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child of a reporter is a fork."""

    async def run(folder: Path) -> None:
        await asyncio.to_thread(forks.run, folder)

    monkeypatch.setattr(service, "_run", run)
