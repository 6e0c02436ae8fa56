"""A deployment of an earlier release whose name is reserved by now: it serves on, and can be undeployed."""

import sqlite3
from contextlib import closing

from tests.support.command_line import run_here
from tests.support.harness import Controller, Controllers


def renamed(controller: Controller, before: str, now: str) -> None:
    """As if the model had had this name when it was deployed."""
    with closing(sqlite3.connect(controller.state_db)) as database:
        changed = database.execute(
            "UPDATE deployments SET model = ? WHERE model = ?", (now, before)
        ).rowcount
        database.commit()
    assert changed == 1


def test_what_was_deployed_before_its_name_was_reserved(controllers: Controllers) -> None:
    name = "Endpoints"
    controller = controllers().up()
    controller.deploy("stub-1")
    assert controller.terminate() == 0
    renamed(controller, "stub", name)
    key = f"{name}-1"
    controller.up()
    controller.wait_for(key, "ready")
    assert [row["name"] for row in controller.get("/get_deployed_models")] == [key]
    assert controller.predict(key).status_code == 200
    assert controller.call("POST", f"/{key}/invocations", json={"inputs": [1]}).status_code < 500
    for path in ("", "/metrics", "/events", "/logs", "/reports"):
        assert controller.call("GET", f"/model/{key}{path}").status_code == 200, path
    assert controller.get(f"/compare/{name}", versions="1")["versions"] == [1]
    for path in (f"/dashboard/deployments/{key}", "/", "/dashboard/registry"):
        page = controller.call("GET", path, headers={"Accept": "text/html"})
        assert page.status_code == 200, path
    assert controller.call("POST", f"/deploy/{name}/2").status_code == 422
    done = run_here(controller, "undeploy", key)
    assert (done.exit_code, done.stdout) == (0, f"{key} is stopped\n"), done.stderr
    assert controller.get("/get_deployed_models") == []
    refused = controller.call("POST", f"/deploy/{name}/1")
    assert refused.status_code == 422
    assert "reserved for the controller's own paths" in refused.json()["detail"]
