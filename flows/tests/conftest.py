"""One service with one Prefect server for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.running_service import RunningService
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]


class _OneService(LoadFileScheduling):  # type: ignore[misc]
    """A process for all tests that need the service: each process that needs it would start a server."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "service" if "/service/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneService:
    """Tests of one file share what they have started, and those of the service do."""
    return _OneService(config, log)


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without content, to be copied: making the tables takes seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture(scope="session")
def one_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """It does not run yet."""
    running = RunningService(tmp_path_factory.mktemp("service"))
    yield running
    try:
        if running.is_running:
            assert running.stop() == 0
        assert not running.pids_of_runs()
        assert not running.pids_of_servers()
        assert not running.file.exists()
    finally:
        running.kill_all()  # a test that failed may have left a server, and runs


@pytest.fixture
def service(one_service: RunningService) -> RunningService:
    """Ready, with the flows of the tests' project beside the real ones; also after a test that ended it."""
    if not one_service.is_running:
        known = one_service.file.parent.exists()
        one_service.start("--idle-timeout", "0")
        if not known:
            one_service.register_test_flows()
    return one_service
