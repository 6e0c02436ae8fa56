"""Training data and artifacts in S3, as Amazon answers it (moto): what is read, and what never is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from mlflow.store.artifact import s3_artifact_repo
from moto.server import ThreadedMotoServer

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.registry import s3_objects
from model_deployment.registry.training_data import TrainingDataFinder
from tests.support.ports import HOST, free_port
from tests.support.registry_lab import CSV, ROWS, RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's

BUCKET = "data"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    # MLflow keeps clients, and boto3 a session, with the keys of their first use.
    s3_artifact_repo._cached_get_s3_client.cache_clear()
    boto3.DEFAULT_SESSION = None


@pytest.fixture(autouse=True)
def s3(store: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client, with the variables that MLflow and the controller read as well."""

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for name in ("team/train.csv", "team/a/../b.csv", "teammate/secret.csv"):
        client.put_object(Bucket=BUCKET, Key=name, Body=CSV)
    return client


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> RegistryLab:
    return RegistryLab(tmp_path_factory.mktemp("lab"))


def finder(lab: RegistryLab, *allowed: str, **more: Any) -> TrainingDataFinder:
    return TrainingDataFinder(lab.registry(), allowed=allowed, **more)


async def test_an_object_under_an_allowed_prefix_is_training_data(
    lab: RegistryLab, tmp_path: Path
) -> None:
    import mlflow

    lab.be_the_default()
    with mlflow.start_run(experiment_id=lab.experiment) as run:
        data = mlflow.data.from_pandas(ROWS, f"s3://{BUCKET}/team/train.csv", name="wine")
        mlflow.log_input(data, context="training")
    key = lab.register(run.info.run_id)
    for number, prefix in enumerate(("s3://data", "s3://data/team", "s3://data/team/")):
        found = await finder(lab, "/srv/none", prefix).fetch(key, tmp_path / str(number))
        assert found is not None
        assert found.path.read_bytes() == CSV
        assert found.origin.endswith("from s3://data/team/train.csv")


@pytest.mark.parametrize(
    "address",
    [
        "s3://data/teammate/secret.csv",
        "s3://data/team/../teammate/secret.csv",
        "s3://data/team/a/../b.csv",
        "s3://data/team//train.csv",
        "s3://other/team/train.csv",
        "s3://data/team/none.csv",
        "s3://data/team/train.csv?versionId=1",
        "s3://data",
        "S3://data/team/train.csv",
        "s3://key:secret@data/team/train.csv",
    ],
)
async def test_other_objects_are_not_read(lab: RegistryLab, tmp_path: Path, address: str) -> None:
    key = lab.logged({"uri": address}, kind="s3")
    assert await finder(lab, "s3://data/team").fetch(key, tmp_path / "f") is None
    assert not any((tmp_path / "f").glob("*"))


async def test_an_object_that_is_too_large_is_not_copied(lab: RegistryLab, tmp_path: Path) -> None:
    key = lab.logged({"uri": "s3://data/team/train.csv"}, kind="s3")
    it = finder(lab, "s3://data/team", max_bytes=len(CSV) - 1)
    assert await it.fetch(key, tmp_path / "f") is None


async def test_a_store_that_does_not_answer_is_asked_again_later(
    lab: RegistryLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{HOST}:{free_port()}")
    key = lab.logged({"uri": "s3://data/team/train.csv"}, kind="s3")
    with pytest.raises(RegistryUnavailable, match=r"s3://data/team/train\.csv: Could not connect"):
        await finder(lab, "s3://data/team").fetch(key, tmp_path / "f")


async def test_what_is_missing_for_s3_is_said(
    lab: RegistryLab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = lab.logged({"uri": "s3://data/team/train.csv"}, kind="s3")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert await finder(lab, "s3://data/team").fetch(key, tmp_path / "f") is None
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in caplog.text
    monkeypatch.setattr(s3_objects, "can_read", lambda: False)
    caplog.clear()
    assert await finder(lab, "s3://data/team").fetch(key, tmp_path / "f") is None
    assert caplog.text.count("pip install 'model-deployment[storage]'") == 2  # at start, and here


async def test_an_artifact_in_s3_is_training_data(lab: RegistryLab, tmp_path: Path) -> None:
    """Where MLflow's server does not pass artifacts on, they are fetched from the store itself."""
    experiment = lab.client.create_experiment("direct", artifact_location="s3://data/artifacts")
    run = lab.client.create_run(experiment).info.run_id
    (tmp_path / "train.csv").write_bytes(CSV)
    lab.client.log_artifact(run, str(tmp_path / "train.csv"), "dataset")
    found = await finder(lab).fetch(lab.register(run), tmp_path / "f")
    assert found is not None
    assert found.path.read_bytes() == CSV
    assert found.origin.startswith("artifact dataset/train.csv of run ")
