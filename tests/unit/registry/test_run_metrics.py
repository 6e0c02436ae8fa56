"""Metrics of many versions: how often MLflow is asked, and what is remembered."""

import math
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.registry import run_metrics
from model_deployment.registry.mlflow_client import create_database
from model_deployment.registry.run_metrics import RunMetrics, logged_model


def version(run: str | None, source: str = "", model_id: str | None = None) -> Any:
    return SimpleNamespace(run_id=run, source=source, model_id=model_id)


class Gone(Exception):
    """MLflow's words for what was deleted."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class Client:
    """Runs in experiments: run ``r12`` lies in experiment ``12 % places``."""

    def __init__(self, runs: int, places: int = 1) -> None:
        self.places = places
        self.metrics = {f"r{number}": {"number": float(number)} for number in range(runs)}
        self.running: set[str] = set()
        self.gone: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.longest = 0

    def get_run(self, id: str) -> Any:
        self.calls["get_run"] += 1
        if id in self.gone:
            raise Gone
        return self._as_run(id)

    def search_runs(
        self, experiments: list[str], *, filter_string: str, run_view_type: int, max_results: int
    ) -> Any:
        self.calls["search_runs"] += 1
        ids = filter_string.removeprefix("attributes.run_id IN ('").removesuffix("')").split("','")
        self.longest = max(self.longest, len(ids))
        found = [self._as_run(id) for id in ids if id not in self.gone]
        return [run for run in found if run.info.experiment_id in experiments]

    def get_logged_model(self, id: str) -> Any:
        self.calls["get_logged_model"] += 1
        if id in self.gone:
            raise Gone
        logged = [SimpleNamespace(key="auc", value=at / 10, timestamp=at, step=0) for at in (2, 1)]
        return SimpleNamespace(metrics=logged)

    def _as_run(self, id: str) -> Any:
        status = "RUNNING" if id in self.running else "FINISHED"
        place = str(int(id.removeprefix("r")) % self.places)
        info = SimpleNamespace(run_id=id, experiment_id=place, status=status)
        return SimpleNamespace(info=info, data=SimpleNamespace(metrics=dict(self.metrics[id])))

    def asked(self) -> dict[str, int]:
        calls, self.calls = dict(self.calls), Counter()
        return calls


def listed(it: RunMetrics, client: Client) -> list[dict[str, float] | None]:
    versions = [version(id) for id in client.metrics]
    return it.of(client, versions, time.monotonic() + 30)


def test_hundreds_of_versions_take_a_few_calls_and_then_none() -> None:
    it, client = RunMetrics(), Client(500)
    assert listed(it, client) == [*client.metrics.values()]
    assert client.asked() == {"get_run": 3, "search_runs": 5}
    assert client.longest <= 100
    assert listed(it, client) == [*client.metrics.values()]
    assert client.asked() == {}


def test_runs_of_some_experiments_are_searched_for_as_well() -> None:
    it, client = RunMetrics(), Client(300, places=3)
    assert listed(it, client) == [*client.metrics.values()]
    assert sum(client.asked().values()) < 20


def test_runs_of_an_experiment_each_are_asked_for_one_by_one() -> None:
    it, client = RunMetrics(), Client(50, places=50)
    assert listed(it, client) == [*client.metrics.values()]
    assert client.asked()["get_run"] <= 50
    assert listed(it, client) == [*client.metrics.values()]
    assert client.asked() == {}


def test_a_run_that_has_not_ended_is_asked_again() -> None:
    it, client = RunMetrics(), Client(40)
    client.running = {"r7"}
    listed(it, client)
    client.asked()
    client.metrics["r7"] = {"number": 8.0}
    found = listed(it, client)
    assert found[7] == {"number": 8.0}
    assert client.asked() == {"get_run": 1}


def test_a_run_that_was_deleted_has_no_metrics_and_fails_nothing() -> None:
    it, client = RunMetrics(), Client(40)
    client.gone = {"r0", "r20"}
    found = listed(it, client)
    assert found[0] == found[20] == {}
    assert found[1] == {"number": 1.0}
    client.asked()
    listed(it, client)
    assert client.asked() == {}


def test_written_metrics_are_requested_again() -> None:
    it, client = RunMetrics(), Client(20)
    listed(it, client)
    client.metrics["r3"] = {"deployed/rmse": 1.0}
    assert listed(it, client)[3] == {"number": 3.0}
    it.forget("r3")
    assert listed(it, client)[3] == {"deployed/rmse": 1.0}


def test_metrics_read_during_a_write_are_not_remembered() -> None:
    it, client = RunMetrics(), Client(20)
    whole = client.search_runs

    def meanwhile(*given: Any, **more: Any) -> Any:
        found = whole(*given, **more)
        client.metrics["r10"] = {"number": 0.0}
        it.forget("r10")
        return found

    client.search_runs = meanwhile  # type: ignore[method-assign]
    listed(it, client)
    client.search_runs = whole  # type: ignore[method-assign]
    assert listed(it, client)[10] == {"number": 0.0}


def test_remembered_metrics_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    it, client = RunMetrics(), Client(20)
    listed(it, client)
    client.metrics["r3"] = {"later": 1.0}
    after = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: after)
    assert it.of(client, [version("r3")], after + 30) == [{"later": 1.0}]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_metrics, "_ENTRIES", 10)
    it, client = RunMetrics(), Client(30)
    listed(it, client)
    client.asked()
    listed(it, client)
    assert sum(client.asked().values()) > 0


def test_callers_may_change_returned_metrics() -> None:
    it, client = RunMetrics(), Client(20)
    found = listed(it, client)
    assert found[0] is not None
    found[0]["mine"] = 1.0
    assert listed(it, client)[0] == {"number": 0.0}


def test_version_without_a_run_has_the_metrics_of_its_logged_model() -> None:
    it, client = RunMetrics(), Client(0)
    client.gone = {"m-gone"}
    versions = [
        version(None, "models:/m-a1"),
        version(None, "s3://somewhere"),
        version("", model_id="m-b2"),
        version(None, "models:/m-gone"),
    ]
    end = time.monotonic() + 30
    assert it.of(client, versions, end) == [{"auc": 0.2}, {}, {"auc": 0.2}, {}]
    assert it.of(client, versions, end) == [{"auc": 0.2}, {}, {"auc": 0.2}, {}]
    assert client.asked() == {"get_logged_model": 3}


@pytest.mark.parametrize(
    ("given", "id"),
    [
        (version(None, "models:/m-0a"), "m-0a"),
        (version(None, "models:/m-0a/"), "m-0a"),
        (version(None, "models:/other/3"), ""),
        (version(None, "models:/m-0a", model_id="m-1b"), "m-1b"),
        (SimpleNamespace(), ""),
    ],
)
def test_the_logged_model_of_a_version(given: Any, id: str) -> None:
    assert logged_model(given) == id


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's
def test_searched_and_requested_runs_have_the_same_metrics(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    create_database(uri)
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    places = [client.create_experiment(name) for name in ("one", "two")]
    odd = (math.nan, math.inf, -math.inf, 0.0, 1e-300, 0.1)
    runs = []
    for number in range(14):
        run = client.create_run(places[number % 2]).info.run_id
        client.log_metric(run, "number", number)
        client.log_metric(run, "odd", odd[number % len(odd)])
        client.log_metric(run, "moved", 1.0, step=0)
        client.log_metric(run, "moved", 2.0, step=1)
        if number != 5:
            client.set_terminated(run)
        runs.append(run)
    client.delete_run(runs[9])
    it = RunMetrics()
    found = it.of(client, [version(run) for run in runs], time.monotonic() + 60)
    single = [client.get_run(run).data.metrics for run in runs]
    assert [repr(one) for one in found] == [repr(one) for one in single]
    client.log_metric(runs[5], "number", 55.0)
    again = it.of(client, [version(run) for run in runs], time.monotonic() + 60)
    assert again[5]["number"] == 55.0  # type: ignore[index]
