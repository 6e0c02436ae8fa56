"""A model that was deleted and registered anew, under the same name and version, inherits nothing."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from typing import Any

from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

KEY = "stub-1"


def register_anew(database: Path) -> None:
    """What the registry says of a version that was deleted and made again."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE model_versions SET creation_time = ? WHERE name = 'stub' AND version = 1",
            (time.time_ns() // 1_000_000,),
        )


def ask(controller: Controller, *names: str) -> None:
    for name in names:
        answer = controller.call("POST", f"/{KEY}", json={"x": 1}, headers={"X-Request-Id": name})
        assert answer.status_code == 200, answer.text
    until_sync(lambda: set(names) <= set(captured(controller)), what="the captures in the store")


def captured(controller: Controller) -> list[str]:
    answer = controller.call("GET", f"/model/{KEY}/dataset?source=captured&format=jsonl")
    if answer.status_code == 404:
        return []
    return [json.loads(line)["request_id"] for line in answer.text.splitlines()]


def known(controller: Controller) -> dict[str, Any]:
    """What is told of the deployment's past."""
    metrics = controller.call("GET", f"/model/{KEY}/metrics").json()
    return {
        "captured": captured(controller),
        "metrics": [entry["metrics"] for entry in metrics["history"] if entry["source"] == "set"],
        "requests": metrics["serving"]["total"]["requests"],
        "reports": len(controller.get(f"/model/{KEY}/reports")),
    }


def label(controller: Controller, name: str, value: float) -> dict[str, Any]:
    items = [{"request_id": name, "row": 0, "label": value}]
    return dict(controller.call("POST", f"/model/{KEY}/feedback", json={"items": items}).json())


def test_a_model_that_was_registered_anew_begins_with_nothing(
    controllers: Controllers, stub_registry: Path, tmp_path: Path
) -> None:
    database = tmp_path / "mlflow.db"
    copyfile(stub_registry / "mlflow.db", database)
    controller = controllers(registry=f"sqlite:///{database}").up()
    controller.deploy(KEY)
    ask(controller, "first", "second")
    metrics = {"metrics": {"rmse": 9.0}, "n": 50}
    assert controller.call("POST", f"/model/{KEY}/set_new_metrics", json=metrics).status_code == 201
    assert label(controller, "first", 1.0)["matched"] == 1
    report = controller.get(f"/model/{KEY}/degradation_report", format="json")
    before = {
        "captured": ["first", "second"], "metrics": [{"rmse": 9.0}], "requests": 2, "reports": 1,
    }  # fmt: skip
    assert known(controller) == before
    # The same version again is the same model.
    controller.undeploy(KEY)
    controller.deploy(KEY)
    assert known(controller) == before

    controller.undeploy(KEY)
    register_anew(database)
    assert known(controller) == before
    controller.deploy(KEY)
    assert known(controller) == {"captured": [], "metrics": [], "requests": 0, "reports": 0}
    controller.get(f"/model/{KEY}/degradation_report", 404, id=report["id"])
    assert label(controller, "first", 1.0)["unmatched"] == 1
    ask(controller, "first")
    assert label(controller, "first", 2.0)["matched"] == 1
    controller.kill()
    controller.up()
    assert known(controller)["captured"] == ["first"]
