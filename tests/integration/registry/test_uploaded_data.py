"""Uploaded data in a real registry: a run for each version, once, and again after an outage."""

import asyncio
import json
from pathlib import Path

import pytest

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.registry.client import Registry
from model_deployment.registry.uploaded_data import UploadedData
from model_deployment.training_data.versions import Versions
from tests.support.kept_versions import kept
from tests.support.registry_lab import RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> RegistryLab:
    lab = RegistryLab(tmp_path_factory.mktemp("lab"))
    lab.client.create_experiment("income", artifact_location=(lab.root / "income").as_uri())
    return lab


def away() -> Registry:
    return Registry(
        tracking_uri="http://127.0.0.1:9", registry_uri="http://127.0.0.1:9", timeout=1,
        download_timeout=1,
    )  # fmt: skip


def content(uri: str) -> bytes:
    return Path(uri.removeprefix("file://")).read_bytes()


async def test_a_version_is_logged_once_with_file_input_and_tags(
    lab: RegistryLab, tmp_path: Path
) -> None:
    versions = Versions(tmp_path)
    version = kept(versions, b"a\n1\n")
    with pytest.raises(RegistryUnavailable):
        await UploadedData(away(), versions).log_all()
    assert versions.registry(version.sha256) is None
    assert await UploadedData(lab.registry(), versions).log_all()
    place = versions.registry(version.sha256)
    assert place is not None
    # A program that was killed before it noted the place logs to the same run.
    (version.path.parent / "registry.json").unlink()
    assert await UploadedData(lab.registry(), versions).log_all()
    assert versions.registry(version.sha256) == place
    run = lab.client.get_run(place["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_sha256"] == version.sha256
    (logged,) = run.inputs.dataset_inputs
    assert json.loads(logged.dataset.source) == {"uri": str(version.path)}
    assert content(place["artifact_uri"]) == b"a\n1\n"


async def test_a_version_that_is_deleted_while_others_are_logged_stops_nothing(
    lab: RegistryLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tmp_path)
    gone, stays = kept(versions, b"a\n2\n"), kept(versions, b"a\n3\n")
    listed = versions.list()
    monkeypatch.setattr(versions, "list", lambda: listed)
    versions.delete(gone.sha256)
    assert await UploadedData(lab.registry(), versions).log_all()
    assert versions.registry(stays.sha256) is not None


async def test_a_version_that_mlflow_refuses_stops_neither_the_others_nor_retention(
    lab: RegistryLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions = Versions(tmp_path)
    stays = kept(versions, b"a\n4\n")
    refused = kept(versions, b"a\n5\n", after=1)  # the newest comes first
    refused.path.unlink()
    uploaded = UploadedData(lab.registry(), versions, pause=0.01)
    applied: asyncio.Queue[None] = asyncio.Queue()
    going = asyncio.create_task(uploaded.run(after=lambda: applied.put(None)))
    async with asyncio.timeout(20):
        await applied.get()
        await applied.get()
    going.cancel()
    assert versions.registry(stays.sha256) is not None
    (told,) = [one for one in caplog.messages if "It is tried again" in one]
    assert refused.sha256 in told


async def test_models_that_were_trained_on_a_version_are_found(lab: RegistryLab) -> None:
    sha256 = "a" * 64
    uploaded = UploadedData(lab.registry(), Versions(lab.root))
    assert await uploaded.trained_on(sha256) == []
    key = lab.register(None)
    lab.client.set_model_version_tag(key.model, str(key.version), "data_sha256", sha256)
    assert await uploaded.trained_on(sha256) == [key]
