"""Undeploy at every moment of a deployment's life, and models that do not want to go."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.harness import Controller, Controllers
from tests.support.tools import check_problem, pause, within
from tests.support.waiting import until_sync

#: Between SIGTERM and SIGKILL for a launch that never served.
CANCEL_GRACE = 0.5


@pytest.mark.parametrize(("key", "grace"), [("never-ready", 0), ("never-ready-deaf", CANCEL_GRACE)])
def test_undeploy_during_a_start_cancels_it_at_once(
    controller: Controller, key: str, grace: float
) -> None:
    for delay in (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5):
        controller.deploy(f"{key}-1", status=202, wait=0)
        pause(delay)
        with within(1 + grace):
            assert controller.undeploy(f"{key}-1")["state"] == "stopped"
        assert controller.leftovers() == []


def test_a_deploy_that_waits_hears_of_the_undeploy(controller: Controller) -> None:
    with ThreadPoolExecutor() as pool:
        deploy = pool.submit(controller.deploy, "never-ready-2", status=409)
        until_sync(
            lambda: controller.call("GET", "/model/never-ready-2").json().get("state") == "starting"
        )
        controller.undeploy("never-ready-2")
        assert "undeployed in the meantime" in deploy.result()["detail"]


def test_undeploy_during_a_back_off_is_done_at_once(controller: Controller) -> None:
    controller.deploy("fails-2", status=202, wait=0)
    until_sync(lambda: "status 7" in controller.wait_for("fails-2", "pending")["reason"])
    with within(1):
        assert controller.undeploy("fails-2")["state"] == "stopped"


def test_requests_in_flight_finish_and_new_ones_are_refused(controller: Controller) -> None:
    controller.deploy("slow-1")
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(controller.predict, "slow-1", number) for number in range(3)]
        controller.arrived("slow-1", 3)
        undeploy = pool.submit(controller.undeploy, "slow-1")
        controller.wait_for("slow-1", "stopping", timeout=1)
        assert check_problem(controller.predict("slow-1"))["status"] == 503
        assert [answer.result().json()["predictions"] for answer in answers] == [[0], [1], [2]]
        assert undeploy.result()["state"] == "stopped"


def test_an_undeploy_does_not_wait_for_other_models(controller: Controller) -> None:
    controller.deploy("slow-2")
    controller.deploy("stub-1")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(controller.predict, "slow-2", 5)
        controller.arrived("slow-2")
        with within(1):
            controller.undeploy("stub-1")
        assert answer.result().json()["predictions"] == [5]


@pytest.mark.parametrize("key", ["slower-1", "slower-wrapped-1", "slower-deaf-1"])
def test_request_beyond_the_drain_timeout_is_ended(controllers: Controllers, key: str) -> None:
    controller = controllers(DRAIN_TIMEOUT=1, STOP_GRACE=1).up()
    controller.deploy(key)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(controller.predict, key)
        controller.arrived(key)
        with within(1 + (key == "slower-deaf-1") + 1):  # drain, grace, and what it takes
            assert controller.undeploy(key)["state"] == "stopped"
        assert check_problem(waiting.result())["status"] == 502
    steps = [event["reason"] for event in controller.events(key) if event["state"] == "stopping"]
    assert len(steps) >= 2
    assert controller.leftovers() == []


@pytest.mark.parametrize("key", ["deaf-1", "parent-1", "parent-setsid-1", "parent-double-1"])
def test_model_that_ignores_sigterm_is_killed_with_its_children(
    controller: Controller, key: str
) -> None:
    controller.deploy(key)
    assert len(controller.processes(key)) == 2
    with within(1 + 1):  # the grace, and what it takes
        assert controller.undeploy(key)["state"] == "stopped"
    assert controller.leftovers() == []


def test_a_model_that_is_stopping_can_be_deployed_again(controller: Controller) -> None:
    before = controller.deploy("slow-1")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(controller.predict, "slow-1", 6)
        controller.arrived("slow-1")
        undeploy = pool.submit(controller.undeploy, "slow-1", status=409)
        controller.wait_for("slow-1", "stopping", timeout=1)
        after = controller.deploy("slow-1")
        assert answer.result().json()["predictions"] == [6]
        assert "deployed again in the meantime" in undeploy.result()["detail"]
    assert after["state"] == "ready"
    assert after["pid"] != before["pid"]
    assert controller.predict("slow-1", 7).json()["predictions"] == [7]
