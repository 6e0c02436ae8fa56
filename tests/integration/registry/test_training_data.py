"""Training data that a real registry names, and files that the registry must not make us read."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model_deployment.core.names import ModelKey
from model_deployment.registry.training_data import TrainingDataFinder
from tests.support.registry_lab import CSV, ROWS, RegistryLab

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's


def finder(lab: RegistryLab, *allowed: str | Path, **more: Any) -> TrainingDataFinder:
    return TrainingDataFinder(lab.registry(), allowed=[str(folder) for folder in allowed], **more)


def empty(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())


async def test_artifact_of_the_run_is_training_data(
    lab: RegistryLab, trained: ModelKey, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    found = await finder(lab).fetch(trained, folder)
    assert found is not None
    assert found.path == folder / "training.parquet"
    assert [path.name for path in folder.iterdir()] == ["training.parquet"]
    pd.testing.assert_frame_equal(pd.read_parquet(found.path), ROWS)
    assert found.origin.startswith("artifact dataset/a.parquet of run ")
    assert found.target == "y"


async def test_artifacts_that_are_no_tables_are_passed_over(
    lab: RegistryLab, tmp_path: Path
) -> None:
    run = lab.run()
    lab.artifact(run, "train.PARQUET", b"PAR1 not really")
    lab.log(run, {"uri": str(lab.root / "local.csv")})
    (lab.root / "local.csv").write_bytes(CSV)
    found = await finder(lab, lab.root).fetch(lab.register(run), tmp_path / "f")
    assert found is not None
    assert found.path.read_bytes() == CSV
    assert found.path.name == "training.csv"
    assert found.target is None  # there is no signature


async def test_a_link_out_of_the_artifacts_is_not_followed(
    lab: RegistryLab, tmp_path: Path
) -> None:
    run = lab.run()
    path = lab.artifact(run, "train.csv", CSV)
    key = lab.register(run)
    assert await finder(lab).fetch(key, tmp_path / "f") is not None
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert await finder(lab).fetch(key, tmp_path / "g") is None
    assert empty(tmp_path / "g")


async def test_fetched_file_is_kept(lab: RegistryLab, tmp_path: Path) -> None:
    run = lab.run()
    key = lab.register(run)
    it = finder(lab)
    assert await it.cached(key, tmp_path) is None
    (tmp_path / ".partial-left").mkdir()
    path = lab.artifact(run, "train.csv", CSV)
    found = await it.cached(key, tmp_path)
    assert found is not None
    assert set(os.listdir(tmp_path)) == {"training.csv", "training.json"}  # noqa: PTH208
    path.unlink()
    assert await it.cached(key, tmp_path) == found
    found.path.write_bytes(b"cut")
    assert await it.cached(key, tmp_path) is None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_bytes(CSV)
    return folder


@pytest.mark.parametrize("context", ["training", "train"])
async def test_a_file_in_an_allowed_folder(
    lab: RegistryLab, data: Path, tmp_path: Path, context: str
) -> None:
    for uri in (f"{data}/train.csv", f"file://{data}/train.csv", f"{data}/../data/train.csv"):
        key = lab.logged({"uri": uri}, context=context)
        found = await finder(lab, "/srv/none", data).fetch(key, tmp_path / "f")
        assert found is not None
        assert found.path == tmp_path / "f" / "training.csv"
        assert found.path.read_bytes() == CSV
        assert "train.csv" in found.origin


async def test_dataset_logged_by_mlflow_is_found(
    lab: RegistryLab, data: Path, tmp_path: Path
) -> None:
    import mlflow

    lab.be_the_default()
    with mlflow.start_run(experiment_id=lab.experiment) as run:
        source = str(data / "train.csv")
        mlflow.log_input(mlflow.data.from_pandas(ROWS, name="of code"), context="training")
        mlflow.log_input(mlflow.data.from_pandas(ROWS, source, name="wine"), context="training")
    key = lab.register(run.info.run_id)
    found = await finder(lab, data).fetch(key, tmp_path / "f")
    assert found is not None
    assert "dataset wine " in found.origin
    assert await finder(lab).fetch(key, tmp_path / "g") is None


def escape_by_file(data: Path) -> Any:
    (data / "link.csv").symlink_to(data.parent / "secret.csv")
    return {"uri": str(data / "link.csv")}


def escape_by_folder(data: Path) -> Any:
    (data / "link").symlink_to(data.parent)
    return {"uri": str(data / "link" / "secret.csv")}


def pipe(data: Path) -> Any:
    os.mkfifo(data / "pipe.csv")
    return {"uri": str(data / "pipe.csv")}


def folder(data: Path) -> Any:
    (data / "folder.csv").mkdir()
    return {"uri": str(data / "folder.csv")}


def listener(data: Path) -> Any:
    with socket.socket(socket.AF_UNIX) as it:
        it.bind(os.path.relpath(data / "s.csv"))
    return {"uri": str(data / "s.csv")}


REFUSED: list[Callable[[Path], Any]] = [
    escape_by_file,
    escape_by_folder,
    pipe,
    folder,
    listener,
    lambda data: {"uri": "/etc/passwd"},
    lambda data: {"uri": f"{data}/../../../../../../../../../etc/passwd"},
    lambda data: {"uri": "file:///etc/passwd"},
    lambda data: {"uri": "/proc/self/environ"},
    lambda data: {"uri": f"{data.parent}/secret.csv"},
    lambda data: {"uri": f"{data}/../secret.csv"},
    lambda data: {"uri": f"{data}/%2e%2e/secret.csv"},
    lambda data: {"uri": f"file://{data}/%2e%2e/secret.csv"},
    lambda data: {"uri": f"{data}-other/secret.csv"},
    lambda data: {"uri": f"{str(data).upper()}/train.csv"},
    lambda data: {"uri": f"{data}/none.csv"},
    lambda data: {"uri": f"{data}/train.csv\0"},
    lambda data: {"uri": "train.csv"},
    lambda data: {"uri": "../data/train.csv"},
    lambda data: {"uri": f"file://evil{data}/train.csv"},
    lambda data: {"uri": str(data / "binary.csv")},
    lambda data: {"uri": str(data / "empty.csv")},
    lambda data: {"uri": str(data / "large.csv")},
    lambda data: {"uri": str(data / "train.pickle")},
    lambda data: {"uri": ["/etc/passwd"]},
    lambda data: {"path": f"{data}/train.csv"},
    lambda data: {"url": "https://127.0.0.1/train.csv"},
    lambda data: {"uri": "s3://bucket/train.csv"},
    lambda data: "no json",
    lambda data: "[" * 60_000,
    lambda data: '"/etc/passwd"',
]


@pytest.mark.parametrize("make", REFUSED)
async def test_files_that_are_not_allowed_are_not_read(
    lab: RegistryLab, data: Path, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    (tmp_path / "data-other").mkdir()
    (tmp_path / "data-other" / "secret.csv").write_bytes(CSV)
    (data / "binary.csv").write_bytes(b"\xff\xfe\0")
    (data / "empty.csv").write_bytes(b"")
    (data / "large.csv").write_bytes(CSV * 1000)
    (data / "train.pickle").write_bytes(CSV)
    key = lab.logged(make(data))
    it = finder(lab, data, max_bytes=10_000)
    assert await it.fetch(key, tmp_path / "f") is None
    assert empty(tmp_path / "f")


async def test_empty_list_allows_nothing(lab: RegistryLab, data: Path, tmp_path: Path) -> None:
    key = lab.logged({"uri": f"{data}/train.csv"})
    assert await finder(lab).fetch(key, tmp_path / "f") is None
    assert empty(tmp_path / "f")


async def test_data_of_another_context_are_not_for_training(
    lab: RegistryLab, data: Path, tmp_path: Path
) -> None:
    key = lab.logged({"uri": f"{data}/train.csv"}, context="evaluation")
    assert await finder(lab, data).fetch(key, tmp_path / "f") is None


async def test_a_link_that_is_turned_meanwhile_is_noticed(
    lab: RegistryLab, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    inner = data / "inner"
    inner.mkdir()
    (inner / "secret.csv").write_bytes(CSV)
    key = lab.logged({"uri": f"{inner}/secret.csv"})
    real_open = os.open

    def turn(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith("secret.csv") and inner.is_dir() and not inner.is_symlink():
            inner.rename(data / "old")
            inner.symlink_to(tmp_path)
        return real_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", turn)
    assert await finder(lab, data).fetch(key, tmp_path / "f") is None
    assert inner.is_symlink()
