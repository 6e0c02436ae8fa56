"""PostgreSQL and an S3 store behind MLflow: a registry moves there, and models outlive both stores."""

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_deployment.cli.main import app
from model_deployment.core.names import ModelKey
from model_deployment.registry.moving import CannotMove, move
from tests.support.filled_registry import MODELS, write_model
from tests.support.harness import Controllers
from tests.support.registry_lab import CSV, RegistryLab
from tests.support.storage_profile import StorageProfile
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow's warnings


@pytest.fixture(scope="module")
def lab(stub_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> RegistryLab:
    """A registry in a file and a folder, with two versions of a model."""
    root = tmp_path_factory.mktemp("lab")
    # MLflow takes seconds for the tables of a new file.
    shutil.copyfile(stub_registry / "mlflow.db", root / "mlflow.db")
    with closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        for rows in ("model_version_tags", "registered_model_tags", "registered_model_aliases",
                     "model_versions", "registered_models"):  # fmt: skip
            connection.execute(f"DELETE FROM {rows}")
    lab = RegistryLab(root)
    lab.client.create_registered_model("stub", tags={"team": "rot & blau"}, description="größer")
    for version in (1, 2):
        run = lab.run()
        lab.client.log_metric(run, "rmse", float("nan") if version == 1 else 1.5)
        lab.artifact(run, "train.csv", CSV)
        source = lab.root / "artifacts" / "stub" / str(version)
        write_model(source, "stub", version, MODELS["stub"])
        lab.client.create_model_version("stub", source.as_uri(), run)
    lab.client.set_registered_model_alias("stub", "champion", "2")
    return lab


@pytest.fixture(scope="module")
def address(
    profile: StorageProfile, lab: RegistryLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """MLflow's server, to which the registry was moved."""
    with pytest.raises(
        RuntimeError, match=re.escape(f"there is a registry in {lab.root}/mlflow.db")
    ):
        profile.program("run", "mlflow", "mlflow", "server", MLFLOW_BACKEND_STORE_URI=lab.uri)
    variables = {
        "MLFLOW_BACKEND_STORE_URI": profile.database,
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/",
        **profile.s3.environment,
    }
    arguments = ["move-registry", f"{lab.root}/mlflow.db", f"{lab.root}/artifacts"]
    ended = CliRunner().invoke(app, arguments, env=variables)
    assert ended.exit_code == 0, ended.exception
    assert "2 model_versions" in ended.output
    assert "copied 8 files" in ended.output
    with profile.mlflow(tmp_path_factory.mktemp("mlflow") / "server") as address:
        yield address


def test_a_moved_registry_is_the_same(address: str, lab: RegistryLab) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(address, address)
    old, new = (one.get_registered_model("stub") for one in (lab.client, client))
    assert (new.tags, new.description) == (old.tags, old.description)
    assert {alias: int(number) for alias, number in new.aliases.items()} == {"champion": 2}
    for number in ("1", "2"):
        before, after = (one.get_model_version("stub", number) for one in (lab.client, client))
        assert after.creation_timestamp == before.creation_timestamp
        assert after.source == f"mlflow-artifacts:/stub/{number}"
        run, other = (one.get_run(before.run_id) for one in (lab.client, client))
        assert str(run.data.metrics) == str(other.data.metrics)
        assert [one.path for one in client.list_artifacts(before.run_id, "dataset")] == [
            "dataset/train.csv"
        ]
    # Numbers go on after those that were copied.
    assert int(client.create_experiment("another")) > int(lab.experiment)


def test_a_registry_is_not_moved_over_another(
    address: str, profile: StorageProfile, lab: RegistryLab
) -> None:
    source = lab.root / "mlflow.db", lab.root / "artifacts"
    with pytest.raises(CannotMove, match="there is something in it already"):
        move(*source, profile.database, "s3://mlflow/")


def test_a_move_that_fails_leaves_nothing_and_can_be_repeated(
    profile: StorageProfile, stub_registry: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    url = profile.postgresql.create("second")
    source, folder = tmp_path / "mlflow.db", tmp_path / "artifacts"
    folder.mkdir()
    # It has models with names that PostgreSQL refuses, and as a rule no experiment but MLflow's own.
    shutil.copyfile(stub_registry / "mlflow.db", source)
    with pytest.raises(CannotMove, match="cannot copy the rows of registered_models"):
        move(source, folder, url, str(tmp_path / "store"))
    client = MlflowClient(url, url)
    assert client.search_registered_models() == []
    with closing(sqlite3.connect(source)) as connection, connection:
        for rows in ("model_versions", "registered_models"):
            connection.execute(
                f"DELETE FROM {rows} WHERE instr(name, char(0)) OR length(name) > 256"
            )
        (last,) = connection.execute("SELECT max(experiment_id) FROM experiments").fetchone()
    copied = move(source, folder, url, str(tmp_path / "store")).rows
    assert copied["registered_models"] == len(client.search_registered_models(max_results=1000))
    # Another test may have made one: all of them share the registry.
    assert client.create_experiment("first") == str(last + 1)


def test_artifacts_are_copied_out_and_in(
    address: str, profile: StorageProfile, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    assert "copied 8 files" in profile.program("copy-out", str(folder))
    assert (folder / "stub/2/MLmodel").is_file()
    assert "copied 8 files" in profile.program("copy-in", str(folder))


def test_models_outlive_both_stores(
    address: str, profile: StorageProfile, controllers: Controllers
) -> None:
    controller = controllers(address, REGISTRY_TIMEOUT=5).up()
    controller.deploy("stub-2")
    profile.kill()
    assert controller.predict("stub-2").json()["model"] == "stub-2"
    problem = controller.deploy("stub-1", status=503)
    assert "the MLflow registry at" in problem["detail"]
    # A model, and then the controller with it: the next ones come from the cache.
    os.kill(pid := controller.row("stub-2")["pid"], signal.SIGKILL)
    until_sync(lambda: controller.row("stub-2")["pid"] not in (pid, None))
    pid = controller.wait_for("stub-2", "ready")["pid"]
    controller.kill()
    os.kill(pid, signal.SIGKILL)
    controller.up()
    controller.wait_for("stub-2", "ready")
    assert controller.predict("stub-2").json()["model"] == "stub-2"
    profile.start()
    until_sync(
        lambda: controller.call("POST", "/deploy/stub/1").status_code == 200,
        timeout=60,
        what="a deploy once the stores are back",
    )
    assert controller.predict("stub-1").json()["model"] == "stub-1"


def test_training_data_come_from_the_store(address: str, tmp_path: Path) -> None:
    import asyncio

    from model_deployment.registry.client import Registry
    from model_deployment.registry.training_data import TrainingDataFinder

    registry = Registry(tracking_uri=address, registry_uri=address, timeout=60, download_timeout=60)
    found = asyncio.run(TrainingDataFinder(registry).fetch(ModelKey("stub", 1), tmp_path))
    assert found is not None
    assert found.path.read_bytes() == CSV


def test_what_cannot_be_moved_is_said(tmp_path: Path, lab: RegistryLab) -> None:
    database, folder = lab.root / "mlflow.db", lab.root / "artifacts"
    nowhere = "postgresql+psycopg2://mlflow:s3cret@127.0.0.1:1/mlflow"
    (tmp_path / "no.db").touch()
    for source, files, target, said in (
        (tmp_path / "none.db", folder, nowhere, "there is no such file"),
        (database, tmp_path / "none", nowhere, "there is no such folder"),
        (database, folder, nowhere, "cannot open the database postgresql+psycopg2://127.0.0.1:1"),
        (database, folder, "postgres://127.0.0.1/mlflow", "cannot open the database postgres://"),
        (tmp_path / "no.db", folder, f"sqlite:///{tmp_path}/new.db", "it is no database of MLflow"),
    ):
        with pytest.raises(CannotMove, match=re.escape(said)) as caught:
            move(source, files, target, str(tmp_path / "artifacts"))
        assert "s3cret" not in caught.value.detail
