"""One service with one Prefect server for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.running_service import RunningService
from mlflow import MlflowClient


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without content, to be copied: making the tables takes seconds."""
    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Ready, with the flows of the tests' project beside the real ones."""
    running = RunningService(tmp_path_factory.mktemp("service"))
    try:
        running.start("--idle-timeout", "0")
        running.register_test_flows()
        yield running
    finally:
        ended = running.stop()
    assert ended == 0
    assert not running.pids_of_runs()
    assert not running.pids_of_servers()
    assert not running.file.exists()
