"""Which version is the champion."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from harness.tiny_experiment import SETTINGS, settings
from model_deployment_flows import handover
from model_deployment_flows.champion import champion_of


def test_a_champion_that_was_deleted_from_the_registry_stops_no_evaluation(
    empty_registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")

    @contextmanager
    def controller(environment: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(handover, "controller", controller)
    monkeypatch.setattr(handover, "endpoint", lambda client, name: {"champion": 7})
    text = SETTINGS.replace("trials: 4", "trials: 4\n    endpoint: tiny@champion")
    context: Any = SimpleNamespace(
        settings=settings(text), environment=SimpleNamespace(controller_url="http://localhost")
    )
    try:
        assert champion_of(context) is None
    finally:
        mlflow.set_tracking_uri(before)
    assert "cannot find version 7 of model tiny" in caplog.text
