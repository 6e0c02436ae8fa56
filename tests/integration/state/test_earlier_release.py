"""A data directory of the release before, its models alive: all that was in it is there."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.support import audit, earlier_layouts
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

KEY = "stub-1"


def captured(controller: Controller) -> list[str]:
    answer = controller.call("GET", f"/model/{KEY}/dataset?source=captured&format=jsonl")
    if answer.status_code == 404:
        return []
    return [json.loads(line)["request_id"] for line in answer.text.splitlines()]


def age(controller: Controller) -> None:
    """Take away what the release before did not write."""
    earlier_layouts.age(controller.state_db)
    with closing(sqlite3.connect(controller.state_db.parent / "documents.db")) as store, store:
        for name in ("typed", "left_out", "let_through"):
            store.execute("UPDATE documents SET body = json_remove(body, ?)", (f"$.{name}",))


@pytest.mark.parametrize("rows", [0, 64])
def test_requests_are_merged_as_they_were(controllers: Controllers, rows: int) -> None:
    controller = controllers().up()
    controller.deploy(KEY, batch_max_rows=0)
    controller.kill()
    age(controller)
    with closing(sqlite3.connect(controller.state_db)) as state, state:
        state.execute(
            "UPDATE deployments SET merging = NULL, "
            "options = json_set(options, '$.batch_max_rows', ?)",
            [rows],
        )
    controller.up()
    row = controller.row(KEY)
    assert (row["state"], row["options"]["batch_max_rows"]) == ("ready", rows)
    assert row["serving"]["merging"] == {"max_rows": rows, "reason": f"batch_max_rows is {rows}"}
    controller.deploy(KEY)  # names no option, so there is no conflict
    controller.undeploy(KEY)
    assert controller.deploy(KEY)["options"]["batch_max_rows"] == "auto"


def test_models_go_on_and_captures_are_read(controllers: Controllers) -> None:
    controller = controllers().up()
    controller.deploy(KEY)
    for name in ("a", "b"):
        controller.call("POST", f"/{KEY}", json={"x": 1}, headers={"X-Request-Id": name})
    until_sync(lambda: captured(controller) == ["a", "b"], what="the captures in the store")
    before = controller.row(KEY)
    controller.kill()
    age(controller)
    controller.up()
    now = controller.row(KEY)
    assert (now["pid"], now["state"]) == (before["pid"], "ready")
    assert captured(controller) == ["a", "b"]
    items = [{"request_id": "a", "row": 0, "label": 1.0}]
    answer = controller.call("POST", f"/model/{KEY}/feedback", json={"items": items}).json()
    assert answer["matched"] == 1


def launches(controller: Controller, key: str) -> set[str | None]:
    """Ids of the launches that live."""
    return {row.launch_id for row in audit.read_state(controller.state_db).rows if row.key == key}


def test_a_change_that_was_under_way_goes_on(controllers: Controllers) -> None:
    controller = controllers().up()
    controller.deploy(KEY)
    controller.deploy("slow-start-1")
    path = "/model/slow-start-1"
    controller.call("PATCH", path, json={"workers": 2}, params={"wait": 0})

    def two() -> bool:
        found = launches(controller, "slow-start-1")
        return len(found) == 2 and None not in found

    until_sync(two, what="a launch beside the one that serves")
    before = {key: launches(controller, key) for key in (KEY, "slow-start-1")}
    pid = controller.row(KEY)["pid"]
    controller.kill()
    age(controller)
    controller.up()
    now = {key: launches(controller, key) for key in before}
    assert now[KEY] == before[KEY]
    assert now["slow-start-1"] <= before["slow-start-1"]  # the one before may have retired by now
    assert controller.predict("slow-start-1").status_code == 200

    def done() -> Any:
        row = controller.row("slow-start-1")
        assert (row["options"]["workers"], row["replacement"]) == (2, None)
        assert (row["state"], row["restarts"]) == ("ready", 0)
        return row

    until_sync(done, what="the change")
    assert launches(controller, "slow-start-1") < before["slow-start-1"]
    assert controller.row(KEY)["pid"] == pid
    assert "replaced: change of workers from 1 to 2" in [
        event["reason"] for event in controller.events("slow-start-1")
    ]


def test_what_rested_rests(controllers: Controllers) -> None:
    controller = controllers().up()
    for key in (KEY, "flaky-1"):
        controller.deploy(key)
    controller.post(f"/model/{KEY}/park")
    controller.undeploy("flaky-1")
    events = controller.events(KEY)
    controller.kill()
    age(controller)
    controller.up()
    assert controller.row(KEY)["state"] == "parked"
    assert controller.row("flaky-1")["state"] == "stopped"
    # Whose of several replicas they are of, it did not write.
    unnumbered = [{**event, "replica": None} for event in events]
    assert [{**event, "replica": None} for event in controller.events(KEY)] == unnumbered
    assert controller.predict(KEY).status_code == 200
    assert controller.deploy("flaky-1")["state"] == "ready"
