"""Baselines are had from the registry, and kept for when it is away."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.metrics import baselines
from model_deployment.metrics.baselines import Baselines
from model_deployment.registry import kept_copies
from tests.support.waiting import until

KEY = ModelKey("wine", 3)


class Registry:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.metrics = {"rmse": 0.25, "auc": 1e-300}
        self.error: Exception | None = None
        self.mute = False
        self.asked = 0

    async def ask(self, key: ModelKey, artifact: str) -> dict[str, float]:
        self.asked += 1
        if self.mute:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return dict(self.metrics)


class Deployed:
    def __init__(self) -> None:
        self.artifact: str | None = "wine-3-1700000000000"

    async def __call__(self, key: ModelKey) -> str | None:
        return self.artifact


AWAY = RegistryUnavailable(
    "cannot look up wine-3: cannot reach the MLflow registry at http://r: refused"
)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def deployed() -> Deployed:
    return Deployed()


def opened(root: Path, registry: Registry, deployed: Deployed) -> Baselines:
    return Baselines(root / "training", registry.ask, deployed)


async def test_baselines_outlive_registry_and_controller(
    registry: Registry, deployed: Deployed, tmp_path: Path
) -> None:
    before = datetime.now(UTC)
    assert await opened(tmp_path, registry, deployed).of(KEY) == registry.metrics
    it = opened(tmp_path, registry, deployed)
    registry.error = AWAY
    assert await it.of(KEY) == registry.metrics
    at = it.as_of(KEY)
    assert at is not None
    assert before <= at <= datetime.now(UTC)
    registry.error = None
    registry.metrics = {"rmse": 0.5}
    assert await it.of(KEY) == {"rmse": 0.5}
    assert it.as_of(KEY) is None
    registry.error = UnknownModel("cannot look up wine-3: it was deleted")
    assert await it.of(KEY) == {"rmse": 0.5}


async def test_baseline_never_fetched_stays_unknown(
    registry: Registry, deployed: Deployed, tmp_path: Path
) -> None:
    registry.error = AWAY
    it = opened(tmp_path, registry, deployed)
    with pytest.raises(RegistryUnavailable):
        await it.of(KEY)
    assert it.as_of(KEY) is None


async def test_baseline_of_an_earlier_model_is_not_inherited(
    registry: Registry, deployed: Deployed, tmp_path: Path
) -> None:
    it = opened(tmp_path, registry, deployed)
    await it.of(KEY)
    registry.error = AWAY
    deployed.artifact = "wine-3-1800000000000"
    with pytest.raises(RegistryUnavailable):
        await it.of(KEY)
    deployed.artifact = None  # compared with, and not deployed
    with pytest.raises(RegistryUnavailable):
        await it.of(KEY)


async def test_registry_that_hangs_is_not_awaited_with_a_stored_baseline(
    registry: Registry, deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "_PATIENCE", 0.05)
    it = opened(tmp_path, registry, deployed)
    await it.of(KEY)
    registry.mute = True
    async with asyncio.timeout(10):
        assert await it.of(KEY) == registry.metrics
    assert it.as_of(KEY) is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"metrics": 3, "at": "x"}', '{"metrics": {"a": "b"}}']
)
async def test_baseline_file_damaged_is_ignored(
    registry: Registry, deployed: Deployed, tmp_path: Path, text: str
) -> None:
    it = opened(tmp_path, registry, deployed)
    await it.of(KEY)
    (file,) = (tmp_path / "training").rglob("baseline.json")
    file.write_text(text)
    registry.error = AWAY
    with pytest.raises(RegistryUnavailable):
        await it.of(KEY)
    registry.error = None
    assert await it.of(KEY) == registry.metrics
    assert json.loads(file.read_text())["metrics"] == registry.metrics


async def test_baseline_folder_read_only_is_logged(
    registry: Registry, deployed: Deployed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "training").write_text("no folder")
    assert await opened(tmp_path, registry, deployed).of(KEY) == registry.metrics
    assert "cannot write" in caplog.text


async def test_baselines_of_deployments_are_stored_ahead_of_time(
    registry: Registry, deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_copies, "_LOOK", 0.01)

    async def ready() -> list[ModelKey]:
        return [KEY]

    registry.error = AWAY
    loop = asyncio.create_task(opened(tmp_path, registry, deployed).run(ready))
    try:
        await until(lambda: registry.asked >= 2)
        registry.error = None
        await until(lambda: any((tmp_path / "training").rglob("baseline.json")))
        asked = registry.asked
        await asyncio.sleep(0.1)
        assert registry.asked == asked  # not again within the hour
    finally:
        loop.cancel()
    monkeypatch.setattr(baselines, "_OLD", timedelta(0))
    registry.error = AWAY
    assert await opened(tmp_path, registry, deployed).of(KEY) == registry.metrics


async def test_baseline_of_a_deleted_version_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_copies, "_LOOK", 0.01)
    monkeypatch.setattr(baselines, "_OLD", timedelta(0))
    keys = [ModelKey("deleted", 1), ModelKey("anew", 1), KEY]
    gone: set[ModelKey] = set()
    asked: list[ModelKey] = []

    async def ask(key: ModelKey, artifact: str) -> dict[str, float]:
        asked.append(key)
        if key in gone:
            raise UnknownModel(f"cannot look up the metrics of {key}")
        return {"rmse": 1.0}

    async def artifact(key: ModelKey) -> str:
        return f"{key}-1"

    async def ready() -> list[ModelKey]:
        return keys

    it = Baselines(tmp_path, ask, artifact)
    await it.of(keys[1])
    gone.update(keys[:2])
    loop = asyncio.create_task(it.run(ready))
    try:
        await until((tmp_path / f"{KEY}-1" / "baseline.json").exists)
    finally:
        loop.cancel()
    assert await it.of(keys[1]) == {"rmse": 1.0}
