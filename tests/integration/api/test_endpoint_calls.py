"""The calls of endpoints, with a controller at work behind them."""

import pytest

from tests.support.command_line import run_here as run
from tests.support.harness import Controller
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

ONE = "/endpoints/stub@champion"


@pytest.fixture
def serving(controller: Controller) -> Controller:
    """``stub@champion`` serves version 2."""
    body = {"model": "stub", "alias": "champion"}
    served = controller.post("/set_model", body=body, wait=30)
    assert (served["version"], served["serves"]) == (2, True), served["status"]
    return controller


def test_an_endpoint_is_made_shown_changed_and_deleted(controller: Controller) -> None:
    assert controller.get("/endpoints") == []
    made = controller.call("PUT", ONE, json={"options": {"workers": 2}, "canary": {"steps": []}})
    assert made.status_code == 201
    until_sync(lambda: controller.get(ONE)["champion"] == 2, what="version 2 to serve")
    shown = controller.get(ONE)
    assert [(one["version"], one["role"], one["share"]) for one in shown["versions"]] == [
        (2, "champion", 1.0)
    ]
    assert shown["rollout"]["state"] == "promoted"
    assert shown["rollouts"] == [shown["rollout"]]
    assert shown["policy"]["options"] == {"workers": 2}
    assert controller.row("stub-2")["options"]["workers"] == 2
    assert controller.predict("stub@champion", 1, 2).json()["predictions"] == [1, 2]
    assert controller.call("PUT", ONE, json={}).status_code == 200
    assert controller.get(ONE)["policy"]["options"] == {}
    assert [event["reason"] for event in controller.get(f"{ONE}/events", limit=1)] == ["policy set"]
    assert controller.call("DELETE", f"{ONE}?wait=30").status_code == 204
    until_sync(
        lambda: not controller.get("/get_deployed_models"), what="version 2 to be undeployed"
    )
    assert check_problem(controller.call("GET", ONE))["status"] == 404


def test_what_an_endpoint_uses_is_not_undeployed(serving: Controller) -> None:
    refused = serving.undeploy("stub-2", status=409)
    assert refused["detail"].startswith(
        "cannot undeploy stub-2: the endpoint stub@champion uses it; move the alias"
    )
    assert refused["endpoints"] == ["stub@champion"]
    # A user wants it as well: it stays.
    serving.deploy("stub-2")
    assert serving.call("DELETE", f"{ONE}?wait=30").status_code == 204
    assert serving.row("stub-2")["state"] == "ready"
    serving.undeploy("stub-2")


def test_the_default_endpoint_is_told_of(serving: Controller) -> None:
    assert serving.predict("stub", 3).headers["x-model-version"] == "2"
    shown = serving.get(ONE)
    assert (shown["default"], shown["short_url"]) == (True, f"{serving.url}/stub")
    info = serving.get("/model_info")
    assert (info["endpoint"], info["version"], info["registry"]) == ("stub@champion", 2, "")
    assert (info["since"], info["status"]) == (shown["champion_since"], shown["status"])
    assert info["metrics"] == {}
    assert info["signature"]["inputs"]
    for path in ("/model_info?alias=other", "/model_info?model=other"):
        assert check_problem(serving.call("GET", path))["status"] == 404
    assert serving.post("/set_model", 404, {"model": "stub", "alias": "nobody"})["detail"]


def test_orders_without_a_rollout_are_refused(serving: Controller) -> None:
    for order in ("promote", "pause", "resume", "rollback"):
        refused = serving.post(f"{ONE}/{order}", 409)
        assert refused["detail"].startswith("cannot "), order
        assert serving.post(f"/endpoints/stub@other/{order}", 404)["detail"]


def test_the_command_line_makes_shows_and_deletes(controller: Controller) -> None:
    made = run(controller, "endpoint", "set", "stub@champion", "--replay", "0", "--workers", "1")
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.startswith(f"stub@champion is made: {controller.url}/stub@champion\n")
    shown = run(controller, "endpoint", "show", "stub@champion")
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (
        0, f"stub@champion  {controller.url}/stub@champion, {controller.url}/stub"
    )  # fmt: skip
    assert run(controller, "endpoint", "delete", "stub@champion").exit_code == 0
