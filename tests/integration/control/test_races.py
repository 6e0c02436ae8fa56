"""Many callers who want the same, or the opposite, at the same moment."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.harness import Controller, Controllers
from tests.support.tools import at_once
from tests.support.waiting import until_sync

SECONDS = 2.0


def launches(controller: Controller, key: str) -> set[str]:
    """Every launch a deployment ever had."""
    return {event["launch_id"] for event in controller.events(key)} - {None}


def test_many_equal_deploys_are_one_process(controllers: Controllers) -> None:
    controller = controllers().up()
    rows = at_once(controller.deploy, ["wrapper-1"] * 50)
    assert len({(row["pid"], row["port"], row["created_at"]) for row in rows}) == 1
    assert launches(controller, "wrapper-1") == {
        process.launch_id for process in controller.processes()
    }
    assert len(controller.processes()) == 2
    again = at_once(controller.deploy, ["wrapper-1"] * 50)
    assert {row["pid"] for row in again} == {rows[0]["pid"]}


def test_many_equal_undeploys_are_one_stop(controller: Controller) -> None:
    controller.deploy("many-8")
    rows = at_once(controller.undeploy, ["many-8"] * 50)
    assert {row["state"] for row in rows} == {"stopped"}
    assert len(launches(controller, "many-8")) == 1


def test_of_equal_deploys_with_other_options_one_wins(controller: Controller) -> None:
    def deploy(workers: int) -> int:
        body = {"workers": workers}
        return controller.call("POST", "/deploy/many/9", json=body).status_code

    assert Counter(at_once(deploy, range(1, 9))) == {200: 1, 409: 7}
    assert len(launches(controller, "many-9")) == 1


def test_a_race_of_deploys_undeploys_and_predictions_leaves_nothing(
    controllers: Controllers,
) -> None:
    controller = controllers(ports=16, STOP_GRACE=0.5).up()
    keys = ["stub-1", "wrapper-1", "slow-start-1", "deaf-1"]
    at_once(controller.deploy, keys)
    end = time.monotonic() + SECONDS
    seen: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()

    def race(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            key = chance.choice(keys)
            model, _, version = key.rpartition("-")
            wait = chance.choice([0, 0.2, 2])
            path, doing = chance.choice(
                [
                    (f"/deploy/{model}/{version}?wait={wait}", "deploy"),
                    (f"/undeploy/{key}?wait={wait}", "undeploy"),
                    (f"/{key}", "predict"),
                ]
            )
            answer = controller.call(
                "POST", path, json={"inputs": [1]} if doing == "predict" else None
            )
            if doing == "predict" and answer.status_code == 200:
                assert answer.json()["model"] == key
            with lock:
                seen[doing, answer.status_code] += 1

    with ThreadPoolExecutor(32) as pool:
        for finished in [pool.submit(race, number) for number in range(32)]:
            finished.result()
    for doing, statuses in {
        "deploy": {200, 202, 409},
        "undeploy": {200, 202, 409},
        "predict": {200, 404, 502, 503},
    }.items():
        assert {status for what, status in seen if what == doing} <= statuses, seen
    assert seen["deploy", 200], seen
    assert seen["undeploy", 200], seen
    at_once(controller.undeploy, keys)
    assert controller.leftovers() == []
    until_sync(lambda: controller.get("/ready")["ports"]["free"] == 16, what="all ports to be free")
