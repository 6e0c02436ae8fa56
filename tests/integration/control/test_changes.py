"""Options are changed in place, and callers do not notice."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.harness import Controller, Controllers
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

KEY = "stub-1"


def change(controller: Controller, key: str, status: int = 200, **options: Any) -> Any:
    answer = controller.call("PATCH", f"/model/{key}", json=options, params={"wait": 60})
    assert answer.status_code == status, answer.text
    return check_problem(answer) if status >= 400 else answer.json()


def at_rest(controller: Controller, key: str) -> Any:
    """The deployment, once no launch retires."""

    def gone() -> Any:
        row = controller.row(key)
        assert row["replacement"] is None
        return row

    return until_sync(gone, what="the launch before to be gone")


class Callers:
    """Callers that go on asking; what became of their requests."""

    def __init__(self, ask: Callable[[], int], number: int) -> None:
        self._ask, self._number = ask, number
        self._pool = ThreadPoolExecutor(number)
        self._done = threading.Event()
        self.answered = 0
        self.failed: list[int] = []

    def __enter__(self) -> "Callers":
        self._tasks = [self._pool.submit(self._go_on) for _ in range(self._number)]
        return self

    def _go_on(self) -> None:
        # Callers that leave no pause take the processors from what they wait for.
        while not self._done.wait(0.03):
            status = self._ask()
            self.answered += 1
            if status != 200:
                self.failed.append(status)

    def __exit__(self, *error: object) -> None:
        self._done.set()
        for task in self._tasks:
            task.result(30)
        self._pool.shutdown()


@pytest.mark.parametrize("which", ["controller", "controller_with_proxies"])
def test_no_request_is_lost_in_many_changes(which: str, request: pytest.FixtureRequest) -> None:
    controller: Controller = request.getfixturevalue(which)
    controller.deploy(KEY, workers=1)
    pids = set()
    with Callers(lambda: controller.predict(KEY).status_code, 8) as callers:
        for number in range(6):
            pids.add(change(controller, KEY, workers=number % 2 + 2)["pid"])
    assert len(pids) == 6
    assert callers.answered > 50
    assert callers.failed == []
    row = at_rest(controller, KEY)
    assert (row["state"], row["restarts"], row["options"]["workers"]) == ("ready", 0, 3)
    assert "replaced: change of workers from 2 to 3" in [
        event["reason"] for event in controller.events(KEY)
    ]


def test_options_of_the_proxies_change_at_once(controller: Controller) -> None:
    pid = controller.deploy(KEY)["pid"]
    wrong = {"dataframe_records": [{"x": "a"}]}
    assert controller.call("POST", f"/{KEY}", json=wrong).status_code == 422
    row = change(controller, KEY, validation="observe", idle_timeout=600, batch_max_rows=0)
    assert (row["pid"], row["replacement"]) == (pid, None)
    assert controller.call("POST", f"/{KEY}", json=wrong).status_code == 200
    assert controller.row(KEY)["serving"]["merging"]["max_rows"] == 0
    # Null is the default.
    row = change(controller, KEY, validation=None)
    assert (row["options"]["validation"], row["options"]["idle_timeout"]) == ("strict", 600)
    assert controller.call("POST", f"/{KEY}", json=wrong).status_code == 422


def test_a_launch_that_fails_leaves_the_one_before(controllers: Controllers) -> None:
    controller = controllers().up()
    pid = controller.deploy("flaky-1")["pid"]
    (controller.data / "work" / "flaky").touch()
    problem = change(controller, "flaky-1", 502, workers=2)
    assert "change of workers from 1 to 2 of flaky-1: the process exited" in problem["detail"]
    assert any("flaky is in the way" in line for line in problem["log"])
    row = controller.row("flaky-1")
    assert (row["pid"], row["state"], row["options"]["workers"]) == (pid, "ready", 1)
    second = row["replacement"]
    assert (second["state"], second["under_way"], second["options"]["workers"]) == (
        "failed", False, 2
    )  # fmt: skip
    launches = controller.get("/model/flaky-1/launches")
    assert problem["launch_id"] in [launch["launch_id"] for launch in launches]
    assert controller.predict("flaky-1").status_code == 200
    assert controller.deploy("flaky-1")["replacement"] is None
    (controller.data / "work" / "flaky").unlink()
    assert change(controller, "flaky-1", workers=2)["pid"] != pid
    assert at_rest(controller, "flaky-1")["options"]["workers"] == 2


def test_a_controller_is_killed_while_a_launch_replaces_another(controllers: Controllers) -> None:
    controller = controllers().up()
    pid = controller.deploy("slow-start-1")["pid"]
    path = "/model/slow-start-1"
    answer = controller.call("PATCH", path, json={"workers": 2}, params={"wait": 0})
    assert answer.status_code == 202
    until_sync(
        lambda: controller.row("slow-start-1")["replacement"]["state"] == "starting",
        what="a second launch",
    )
    again = controller.call("POST", f"{path}/restart")
    assert "another change is under way" in check_problem(again)["detail"]
    controller.kill()
    controller.up()
    row = at_rest(controller, "slow-start-1")
    assert row["pid"] != pid
    assert (row["state"], row["options"]["workers"]) == ("ready", 2)


def test_a_deployment_is_restarted_and_parked(controller: Controller) -> None:
    pid = controller.deploy(KEY)["pid"]
    assert controller.post(f"/model/{KEY}/restart")["pid"] != pid
    at_rest(controller, KEY)
    assert controller.post(f"/model/{KEY}/park")["state"] == "parked"
    # The next launch has what is changed meanwhile.
    assert change(controller, KEY, workers=2)["state"] == "parked"
    assert controller.predict(KEY).status_code == 200
    assert controller.row(KEY)["options"]["workers"] == 2


def test_a_launch_makes_room_for_the_next_one(controllers: Controllers) -> None:
    controller = controllers(ports=1).up()
    pid = controller.deploy(KEY)["pid"]
    answer = controller.call("PATCH", f"/model/{KEY}", json={"workers": 2})
    assert "strategy=recreate" in check_problem(answer)["detail"]
    with Callers(lambda: controller.predict(KEY).status_code, 4) as callers:
        answer = controller.call(
            "PATCH", f"/model/{KEY}", json={"workers": 2}, params={"strategy": "recreate"}
        )
    assert (answer.status_code, callers.failed) == (200, [])
    assert answer.json()["pid"] != pid


def test_a_deploy_may_change_options(controller: Controller) -> None:
    controller.deploy(KEY)
    problem = controller.deploy(KEY, status=409, workers=2)
    assert "workers from 1 to 2" in problem["detail"]
    row = controller.post("/deploy/stub/1", body={"workers": 2}, replace=True)
    assert row["options"]["workers"] == 2
    estimate = controller.get("/deploy/stub/1", workers=4)
    assert estimate["memory_total"] > estimate["memory_available"] > 0
    assert (estimate["options"]["workers"], estimate["shortage"]) == (4, "")
