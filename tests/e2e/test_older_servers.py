"""A tracking server of MLflow 2.9, which lacks much of what 3.x asks, and models that its client logged.

Few tests, each with much in it: whichever process runs one of them starts that server.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.model_metrics import ModelMetrics
from model_deployment.registry.rollout_tags import RolloutTags
from model_deployment.registry.server_features import ServerFeature
from model_deployment.registry.training_data import TrainingDataFinder
from model_deployment.registry.uploaded_data import UploadedData
from model_deployment.registry.version_details import DetailsReader
from model_deployment.training_data.versions import Versions
from tests.support.controller_program import Program
from tests.support.forwarding_server import forwarding
from tests.support.older_mlflow import log_models
from tests.support.pinned_environments import Pinned, build
from tests.support.tracking_server import tracking_server
from tests.support.waiting import until_sync

FIRST, SECOND = ModelKey("regression", 1), ModelKey("regression", 2)
METRIC = "root_mean_squared_error"
#: Of 2023; in use at many places.
OLDER = Pinned(f"{sys.version_info.major}.{sys.version_info.minor}", "2.9.2")

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # of MLflow in the test's own process
]


@dataclass(frozen=True)
class Older:
    """The server, whose models nobody changes but by tags and metrics."""

    address: str
    #: Has the database and the artifacts.
    folder: Path
    #: Has the data that the models were trained on.
    data: Path


@pytest.fixture(scope="module")
def older(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Older]:
    python = build(OLDER, run_folder / "environments").python
    folder = tmp_path_factory.mktemp("older")
    server = folder / "server"
    server.mkdir()
    with tracking_server(server / "mlflow.db", server, python=str(python)) as address:
        log_models(python, address, folder / "data")
        yield Older(address, server, folder / "data")


def registry_at(address: str) -> Registry:
    return Registry(tracking_uri=address, registry_uri=address, timeout=60, download_timeout=60)


@pytest.mark.parametrize("says", [True, False], ids=["says its version", "does not"])
async def test_older_server_is_read_and_written(older: Older, tmp_path: Path, says: bool) -> None:
    """The server itself; and behind a proxy with a path prefix that hides which release it is."""
    with ExitStack() as stack:
        address = older.address
        if not says:
            proxy = forwarding(lambda: older.address, prefix="/mlflow", hidden={"/version"})
            address = stack.enter_context(proxy)
        await has_its_models_listed(address)
        await has_training_data_of_both_kinds(older, address, tmp_path)
        await takes_metrics_and_tags(address, tmp_path)


async def has_its_models_listed(address: str) -> None:
    registry = registry_at(address)
    [model] = await registry.models()
    assert (model.name, model.latest_version, model.aliases) == ("regression", 2, {"champion": 1})
    second, first = await registry.versions("regression")
    assert (first.key, first.aliases, second.key) == (FIRST, ["champion"], SECOND)
    assert (first.metrics[METRIC], first.late) == (0.25, False)
    assert [one.key for one in await registry.versions("regression", limit=1, before=2)] == [FIRST]
    assert await registry.aliases("regression") == {"champion": 1}
    with pytest.raises(UnknownModel, match="no model regresion; did you mean regression"):
        await registry.version(ModelKey("regresion", 1))
    with pytest.raises(UnknownModel, match="no version 7 of regression, which has versions 1 to 2"):
        await registry.version(ModelKey("regression", 7))


async def has_training_data_of_both_kinds(older: Older, address: str, folder: Path) -> None:
    finder = TrainingDataFinder(registry_at(address), allowed=[str(older.data)])
    artifact = await finder.fetch(FIRST, folder / "1")
    assert artifact is not None
    assert artifact.origin.startswith("artifact dataset/train.parquet of run ")
    assert artifact.target == "y"
    assert artifact.path.read_bytes() == (older.data / "train.parquet").read_bytes()
    dataset = await finder.fetch(SECOND, folder / "2")
    assert dataset is not None
    assert dataset.origin.startswith("dataset train logged by run ")
    assert (dataset.target, dataset.path.name) == ("y", "training.csv")


async def takes_metrics_and_tags(address: str, folder: Path) -> None:
    registry = registry_at(address)
    metrics = ModelMetrics(registry)
    assert await metrics.baseline(FIRST) == {METRIC: 0.25}
    run = (await registry.version(FIRST)).run_id
    assert await metrics.write(FIRST, {"mae": 0.5}) == f"run {run}"
    assert (await registry.versions("regression"))[-1].metrics["deployed/mae"] == 0.5
    endpoint = EndpointName("regression", "champion")
    assert await RolloutTags(registry).write(FIRST, endpoint, "promoted", "", {"rows": 3.0}) == ""

    async def not_deployed(key: ModelKey) -> None:
        return None

    details = await DetailsReader(registry, folder, not_deployed, address).of(FIRST)
    assert details.metrics == {METRIC: 0.25}
    assert details.params == {"alpha": "1.5"}
    assert details.tags["model_deployment.rollout"] == "promoted"
    assert details.flavors.keys() == {"python_function", "sklearn"}
    assert details.run_url == f"{address}/#/experiments/1/runs/{run}"
    uploaded = UploadedData(registry, Versions(folder / "versions"))
    assert await uploaded.trained_on("ab" * 32) == [FIRST]


@pytest.mark.usefixtures("quick_reports")
def test_model_of_an_older_client_deploys_predicts_and_reports(
    older: Older, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)  # set by MLflow in this process
    with Program(tmp_path, older.address) as program:
        answer = program.post("/deploy/regression/1?wait=120")
        assert answer.status_code == 200, answer.text
        rows = [{"a": float(n), "b": 1.0} for n in range(60)]
        answer = program.post("/regression-1", json={"dataframe_records": rows})
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == pytest.approx([2 * n + 1 for n in range(60)])
        metrics = program.get("/model/regression-1/metrics").json()
        assert (metrics["baseline"], metrics["baseline_error"]) == ({METRIC: 0.25}, None)
        answer = httpx.put(f"{program.url}/endpoints/regression@champion", timeout=60)
        assert answer.status_code in (200, 201), answer.text
        until_sync(
            partial(_recorded, program), timeout=30, what="the request in the document store"
        )
        report = until_sync(partial(_report, program), timeout=150, what="a report")
        assert report["reference"].startswith("artifact dataset/train.parquet")
        dataset = program.get("/model/regression-1/dataset")
        assert dataset.status_code == 200, dataset.text


def _report(program: Program) -> dict[str, str]:
    answer = program.get("/model/regression-1/degradation_report?format=json")
    assert answer.status_code == 200, answer.text  # a busy machine may have it asked for again
    found: dict[str, str] = answer.json()
    return found


def _recorded(program: Program) -> bool:
    return bool(program.get("/ready").json()["captures"]["written"] >= 1)


async def test_upgraded_server_is_noticed_and_keeps_its_models(
    older: Older, tmp_path: Path
) -> None:
    new = tmp_path / "server"
    shutil.copytree(older.folder, new)
    _upgrade(new / "mlflow.db")
    served_by = [older.address]
    with (
        forwarding(lambda: served_by[0]) as address,
        tracking_server(new / "mlflow.db", new) as newer,
    ):
        later = 0.0
        server = MlflowServer(address, clock=lambda: time.monotonic() + later)
        registry = registry_at(address)
        assert not server.has(ServerFeature.LOGGED_MODELS)
        assert len(await registry.models()) == 1
        served_by[0] = newer
        server.doubt()  # as any error does while the server is away
        assert not server.has(ServerFeature.LOGGED_MODELS), "it was asked a moment ago"
        later = 10.0
        assert server.has(ServerFeature.LOGGED_MODELS)
        for at in (registry, registry_at(address)):
            [model] = await at.models()
            assert (model.name, model.aliases) == ("regression", {"champion": 1})
            assert await ModelMetrics(at).baseline(FIRST) == {METRIC: 0.25}
            found = await TrainingDataFinder(at).fetch(FIRST, tmp_path / "data")
            assert found is not None
            assert found.target == "y"
        assert (await registry.download(FIRST, tmp_path / "download") / "MLmodel").is_file()


def _upgrade(database: Path) -> None:
    # The command `mlflow db upgrade`, in a process that has imported MLflow.
    import mlflow.db

    mlflow.db.upgrade.callback(f"sqlite:///{database}")
