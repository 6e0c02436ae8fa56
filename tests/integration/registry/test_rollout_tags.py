"""What MLflow is told of rollouts, with a real registry."""

import math
import socket

import pytest

from model_deployment.core.endpoints import EndpointName, RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.model_metrics import ModelMetrics
from model_deployment.registry.rollout_tags import RolloutTags
from tests.support.registry_lab import RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's
ENDPOINT = EndpointName("iris", "champion")


async def test_state_and_figures_are_on_the_version_and_its_run(lab: RegistryLab) -> None:
    run, registry = lab.run(), lab.registry()
    key = lab.register(run)
    lab.client.log_metric(run, "rmse", 1.5)
    tags = RolloutTags(registry)
    assert not await tags.write(key, ENDPOINT, RolloutState.REPLAYING, "it waits for labels")
    reason = "errors: 10 % of 200 requests, and 1 % of the champion's"
    figures = {
        "error_rate.candidate": 0.1,
        "error_rate.champion": 0.01,
        "p95_ms.champion": math.nan,
    }
    assert not await tags.write(key, ENDPOINT, RolloutState.ROLLED_BACK, reason, figures)
    assert lab.client.get_model_version(key.model, "1").tags == {
        "model_deployment.endpoint": "iris@champion",
        "model_deployment.rollout": "rolled_back",
        "model_deployment.rollout_reason": reason,
    }
    logged = lab.client.get_run(run).data.metrics
    assert logged == {
        "rmse": 1.5,
        "model_deployment.rollout.error_rate.candidate": 0.1,
        "model_deployment.rollout.error_rate.champion": 0.01,
    }
    # The figures are no baseline of the next comparison.
    assert await ModelMetrics(registry).baseline(key) == {"rmse": 1.5}


async def test_what_cannot_be_written_is_said_and_the_tags_are_there(lab: RegistryLab) -> None:
    tags = RolloutTags(lab.registry())
    key, run = lab.register(None), lab.run()
    figures = {"p95_ms.candidate": 3.0}
    assert "no run" in await tags.write(key, ENDPOINT, RolloutState.PROMOTED, "", figures)
    orphan = lab.register(run)
    lab.client.delete_run(run)
    said = await tags.write(orphan, ENDPOINT, RolloutState.PROMOTED, "", figures)
    assert said.startswith(f"cannot log the metrics of the rollout of {orphan}: ")
    for one in (key, orphan):
        found = lab.client.get_model_version(one.model, "1").tags
        assert found["model_deployment.rollout"] == "promoted"
    said = await tags.write(ModelKey("none", 1), ENDPOINT, RolloutState.PROMOTED, "")
    assert said.startswith("cannot write the outcome of the rollout of none-1 to MLflow: ")


async def test_a_registry_that_hangs_is_waited_for_in_vain_for_a_limited_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        registry = Registry(tracking_uri=uri, registry_uri=uri, timeout=60, download_timeout=60)
        tags = RolloutTags(registry, limit=0.2)
        for _ in range(2):
            said = await tags.write(ModelKey("m", 1), ENDPOINT, RolloutState.PROMOTED, "")
            assert "no answer" in said
