"""A training that is killed at any call of MLflow, and run again, has one run and one version."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest
from harness.tiny_experiment import Tiny, settings, table
from model_deployment_flows import registry, training_run
from model_deployment_flows.study import TrialResult

from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.server_features import read_mlflow_version

#: The calls of MLflow's client that change something.
_WRITES = (
    "create_run",
    "create_registered_model",
    "create_model_version",
    "log_artifact",
    "log_batch",
    "log_inputs",
    "set_registered_model_alias",
    "set_terminated",
)
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_TRIALS = [
    TrialResult(0, _NOW, _NOW, {"model_type": "shallow", "max_depth": 2}, {"f1_score": 0.8}),
    TrialResult(1, _NOW, _NOW, {"model_type": "deep", "max_depth": 5}, error="MemoryError: "),
]


class _Killed(BaseException):
    """Ends a training as a signal would: nothing handles it."""


class _Killer:
    """Kills at each call once: before it takes effect, or after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.armed, self.after = True, False
        #: The calls that a life was ended at.
        self.killed: set[tuple[str, ...]] = set()
        for name in _WRITES:
            monkeypatch.setattr(mlflow.MlflowClient, name, self._guarded(name))

    def _guarded(self, name: str) -> Any:
        call = getattr(mlflow.MlflowClient, name)

        def guarded(client: Any, *args: Any, **kwargs: Any) -> Any:
            texts = (one for one in (*args, *kwargs.values()) if isinstance(one, str))
            what = (name, *(one for one in texts if not one.startswith("/")))
            kills = self.armed and what not in self.killed
            self.killed.add(what)
            if kills and not self.after:
                raise _Killed(name)
            found = call(client, *args, **kwargs)
            if kills:
                raise _Killed(name)
            return found

        return guarded


@pytest.fixture(scope="module", autouse=True)
def store(empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A registry in a file."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(empty_registry, folder / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.create_experiment("tiny", artifact_location=(folder / "artifacts").as_uri())
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> _Killer:
    return _Killer(monkeypatch)


def _train(key: str, data: Path) -> int:
    """The calls of ``train_flow``, in its order."""
    tiny = Tiny(settings())
    split = tiny.split(*tiny.prepare(table()))
    tags = {"experiment": "tiny", "data_sha256": "0" * 64}
    run = training_run.open_run("tiny", key, "train tiny", tags)
    version = training_run.registered(run, key)
    if version is None:
        training_run.log_trials(run, _TRIALS)
        rows = tiny.reference(split.X_train, split.y_train)
        assert rows is not None
        training_run.log_reference(run, rows, data, "tiny", "0" * 64)
        best = _TRIALS[0].params
        estimator = tiny.build(best).fit(split.X_train, split.y_train)
        example = tiny.example(split.X_train)
        saved = training_run.log_model(run, lambda: tiny.log(estimator, example, best))
        training_run.log_results(run, best, {"test_f1_score": 0.8})
        version = training_run.register(run, key, saved, tags, "")
        training_run.finish(run)
    registry.move_alias(key, registry.NEWEST, version)
    return version


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_killed_training_makes_no_second_version(
    killer: _Killer, tmp_path: Path, after: bool
) -> None:
    key = f"tiny-{after}"
    data = tmp_path / "data.csv"
    table().to_csv(data, index=False)
    client = mlflow.MlflowClient()
    killer.after = after
    lives: list[str] = []
    while True:
        try:
            _train(key, data)
            break
        except _Killed as killed:
            lives.append(str(killed))
            moved = registry.version_at(key, registry.NEWEST) is not None
            assert not moved or (lives[-1] == "set_registered_model_alias" and after)
    assert {*lives} >= {*_WRITES}
    killer.armed = False
    assert _train(key, data) == 1
    assert [one.version for one in client.search_model_versions(f"name = '{key}'")] == [1]
    version = registry.version_at(key, registry.NEWEST)
    assert version is not None
    assert version.tags == {"experiment": "tiny", "data_sha256": "0" * 64}
    _assert_whole(client, key, version.run_id)


def test_a_training_keeps_the_trial_that_it_chose() -> None:
    run = training_run.open_run("tiny", "chosen", "train tiny", {})
    first, failed = _TRIALS
    better = TrialResult(2, _NOW, _NOW, {"model_type": "deep"}, {"f1_score": 0.9})
    assert training_run.choose(run, [first, failed], first) == first
    assert training_run.choose(run, [first, failed, better], better) == first
    # Another study is in the place of the one that was lost.
    assert training_run.choose(run, [better], better) == better
    same_number = replace(better, params={"model_type": "shallow"})
    tiny = Tiny(settings())
    split = tiny.divide(table())
    estimator = tiny.build({"max_depth": 1}).fit(split.X_train, split.y_train)

    def save() -> Any:
        return tiny.log(estimator, tiny.example(split.X_train), {})

    old = training_run.log_model(run, save)
    assert training_run.choose(run, [better], better) == better
    assert training_run.log_model(run, save) == old
    other = replace(first, number=3)
    assert training_run.choose(run, [other, same_number], other) == other
    assert training_run.log_model(run, save) != old


def test_without_logged_models_the_model_is_files_of_its_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = MlflowServer("http://mlflow:5000", ask=lambda _: read_mlflow_version("2.9.2"))
    monkeypatch.setattr(registry, "server", lambda _: here)
    data = tmp_path / "data.csv"
    table().to_csv(data, index=False)
    before = len(_logged_models())
    assert _train("tiny-files", data) == 1
    assert _train("tiny-files", data) == 1
    client = mlflow.MlflowClient()
    version = client.get_model_version("tiny-files", "1")
    run = client.get_run(version.run_id)
    assert version.source == f"{run.info.artifact_uri}/model"
    assert len(_logged_models()) == before
    loaded = mlflow.pyfunc.load_model("models:/tiny-files/1")
    assert (loaded.metadata.run_id, loaded.metadata.model_id) == (version.run_id, None)
    tiny = Tiny(settings())
    example = tiny.example(tiny.divide(table()).X_train)
    assert len(loaded.predict(example)) == len(example)
    # Another trial was chosen: its model takes the place of the one that is there.
    mine = training_run.TrainingRun(version.run_id, run.info.experiment_id)
    training_run.choose(mine, [replace(_TRIALS[0], number=9)], replace(_TRIALS[0], number=9))
    assert client.get_run(version.run_id).data.tags["model_files"] == ""


def _logged_models() -> Any:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("tiny")
    return client.search_logged_models([experiment.experiment_id])


def _assert_whole(client: mlflow.MlflowClient, key: str, run_id: str) -> None:
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment], f"tags.training = '{key}'")
    assert [one.info.run_id for one in runs] == [run_id]
    assert runs[0].info.status == "FINISHED"
    assert runs[0].data.metrics["test_f1_score"] == 0.8
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    ended = {one.data.tags["trial"]: one.info.status for one in children}
    assert ended == {"0": "FINISHED", "1": "FAILED"}
    assert len(children) == 2
    assert [one.path for one in client.list_artifacts(run_id, "dataset")] == [
        "dataset/training.parquet"
    ]
    model = mlflow.pyfunc.load_model(f"models:/{key}/1")
    assert {*model.predict(table().drop(columns="bought").astype({"age": float}))} == {"yes", "no"}
