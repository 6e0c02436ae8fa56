"""Baselines and written metrics, with a real registry."""

import math
import socket
from pathlib import Path

import pytest

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.model_metrics import DEPLOYED, ModelMetrics
from model_deployment.registry.training_data import TrainingDataFinder
from tests.support.registry_lab import RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's


async def test_the_baseline_is_what_the_run_and_the_logged_model_say(
    lab: RegistryLab, trained: ModelKey
) -> None:
    it = ModelMetrics(lab.registry())
    assert await it.baseline(trained) == {"rmse": 1.5}
    version = lab.client.get_model_version("trained", "1")
    assert not version.model_id
    model = version.source.removeprefix("models:/")
    lab.client.log_metric(version.run_id, "rmse", 1.25, timestamp=2_000_000_000_000, model_id=model)
    lab.client.log_metric(version.run_id, "r2", 0.5, model_id=model)
    assert await it.baseline(trained) == {"rmse": 1.25, "r2": 0.5}


async def test_metrics_are_written_beside_the_baseline(lab: RegistryLab, trained: ModelKey) -> None:
    it = ModelMetrics(lab.registry())
    before = await it.baseline(trained)
    version = lab.client.get_model_version("trained", "1")
    model = version.source.removeprefix("models:/")
    said = await it.write(trained, {"rmse": 9.0, "mae": 3.0, "odd": math.nan})
    assert said == f"logged model {model}"
    logged = {one.key: one.value for one in lab.client.get_logged_model(model).metrics}
    assert logged[f"{DEPLOYED}rmse"] == 9.0
    assert f"{DEPLOYED}odd" not in logged
    assert await it.baseline(trained) == before
    await it.write(trained, {"rmse": 10.0})
    run = lab.client.get_run(version.run_id)
    assert run.data.metrics[f"{DEPLOYED}rmse"] == 10.0


async def test_metrics_of_a_version_without_a_logged_model_go_to_its_run(lab: RegistryLab) -> None:
    run = lab.run()
    key = lab.register(run)
    it = ModelMetrics(lab.registry())
    assert await it.write(key, {"rmse": 1}) == f"run {run}"
    assert lab.client.get_run(run).data.metrics == {f"{DEPLOYED}rmse": 1.0}
    assert await it.baseline(key) == {}


async def test_metrics_without_a_place_are_not_written(lab: RegistryLab) -> None:
    it = ModelMetrics(lab.registry())
    assert await it.write(lab.register(None), {"rmse": 1}) == ""
    with pytest.raises(RegistryUnavailable):
        await it.write(ModelKey("none", 1), {"rmse": 1})
    with pytest.raises(UnknownModel):
        await it.baseline(ModelKey("none", 1))
    run = lab.run()
    key = lab.register(run)
    lab.client.log_metric(run, "rmse", 2.0)
    lab.client.delete_run(run)
    assert await it.baseline(key) == {"rmse": 2.0}
    with pytest.raises(RegistryUnavailable):
        await it.write(key, {"rmse": 1})
    with pytest.raises(RegistryUnavailable):
        await it.write(lab.register(lab.run()), {"no\nname": 1})


async def test_zero_is_a_metric(lab: RegistryLab) -> None:
    run = lab.run()
    lab.client.log_metric(run, "loss", 0.0)
    assert await ModelMetrics(lab.registry()).baseline(lab.register(run)) == {"loss": 0.0}


async def test_silent_registry_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        registry = Registry(tracking_uri=uri, registry_uri=uri, timeout=0.5, download_timeout=1)
        it = ModelMetrics(registry)
        for call in (
            it.baseline(ModelKey("m", 1)),
            TrainingDataFinder(registry).fetch(ModelKey("m", 1), Path("/nowhere")),
            it.write(ModelKey("m", 1), {"rmse": 1}),
        ):
            with pytest.raises(RegistryUnavailable, match="no answer"):
                await call
