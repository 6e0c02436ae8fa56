"""A data directory of the release before, its models alive: all that was in it is there."""

import json
import sqlite3
from contextlib import closing

import pytest

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
    with closing(sqlite3.connect(controller.state_db)) as state, state:
        for column in ("proven", "kills", "renewed_at", "merging"):
            state.execute(f"ALTER TABLE deployments DROP COLUMN {column}")
        state.execute("PRAGMA user_version=2")
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
            "UPDATE deployments SET options = json_set(options, '$.batch_max_rows', ?)", [rows]
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
