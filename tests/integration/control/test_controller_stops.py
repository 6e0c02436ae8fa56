"""A controller that is told to stop, and controllers that want what another one has."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.beside import run_beside
from tests.support.harness import Controller, Controllers
from tests.support.tools import at_once, check_problem, within
from tests.support.waiting import until_sync


def refused(controller: Controller, **settings: object) -> str:
    """Start a second one with the same settings; what it says as it ends."""
    status, said = run_beside(controller, "serve", **settings)
    assert status == 1
    assert "Traceback" not in said
    return said


def test_sigterm_takes_the_models_down_and_the_next_start_brings_them_back(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    before = at_once(controller.deploy, ("stub-1", "wrapper-1"))
    controller.undeploy("stub-1")
    assert controller.terminate() == 0
    assert controller.leftovers() == []
    controller.up()
    after = controller.wait_for("wrapper-1", "ready")
    assert after["pid"] != before[1]["pid"]
    assert controller.row("stub-1")["state"] == "stopped"


def test_sigterm_in_the_middle_of_a_start_cancels_it(controllers: Controllers) -> None:
    controller = controllers().up()
    controller.deploy("never-ready-1", status=202, wait=0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(controller.call, "POST", "/deploy/never-ready/1?wait=60")
        controller.wait_for("never-ready-1", "starting")
        with within(10):
            assert controller.terminate() == 0
        assert check_problem(waiting.result())["status"] == 503
    assert controller.leftovers() == []


def test_sigterm_lets_requests_in_flight_finish(controllers: Controllers) -> None:
    controller = controllers().up()
    controller.deploy("slow-1")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(controller.predict, "slow-1", 4)
        controller.arrived("slow-1")
        assert controller.terminate() == 0
        assert answer.result().json()["predictions"] == [4]


@pytest.mark.parametrize("keep", ["false", "true"])
def test_sigterm_ends_requests_that_outstay_the_drain(controllers: Controllers, keep: str) -> None:
    controller = controllers(DRAIN_TIMEOUT=1, KEEP_MODELS=keep).up()
    controller.deploy("slower-1")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(controller.predict, "slower-1")
        controller.arrived("slower-1")
        with within(10):
            assert controller.terminate() == 0
        assert check_problem(waiting.result())["status"] == 502
    if keep == "true":
        controller.up(KEEP_MODELS="false")


def test_a_second_sigterm_hurries(controllers: Controllers) -> None:
    controller = controllers(DRAIN_TIMEOUT=20).up()
    controller.deploy("slower-1")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(controller.predict, "slower-1")
        controller.arrived("slower-1")
        controller.send(signal.SIGTERM)
        until_sync(lambda: "stopping" in controller.logged())
        with within(10):
            assert controller.terminate() == 0
        assert check_problem(waiting.result())["status"] == 502
    assert controller.leftovers() == []


def test_models_are_left_running_where_that_is_asked_for(controllers: Controllers) -> None:
    controller = controllers(KEEP_MODELS="true").up()
    before = controller.deploy("wrapper-1")
    assert controller.terminate() == 0
    assert len(controller.processes("wrapper-1")) == 2
    controller.up(KEEP_MODELS="false")
    after = controller.row("wrapper-1")
    assert (after["pid"], after["state"], after["restarts"]) == (before["pid"], "ready", 0)


def test_a_second_controller_on_a_data_directory_is_refused(controllers: Controllers) -> None:
    controller = controllers().up()
    before = controller.deploy("stub-1")
    message = refused(controller, PORT=controller.ports[1] + 1)
    assert f"error: cannot use the data directory {controller.data}" in message
    assert "another controller (pid " in message
    assert "MODEL_DEPLOYMENT_DATA_DIR" in message
    assert controller.row("stub-1")["pid"] == before["pid"]
    assert controller.predict("stub-1").status_code == 200


def test_an_address_that_is_taken_is_refused(controllers: Controllers) -> None:
    controller = controllers().up()
    message = refused(controller, DATA_DIR=controller.data.parent / "other")
    assert f"error: cannot listen on 127.0.0.1:{controller.port}" in message
    assert "MODEL_DEPLOYMENT_PORT" in message


def test_a_data_directory_that_cannot_be_made_is_refused(controllers: Controllers) -> None:
    controller = controllers()
    controller.data.parent.mkdir(parents=True)
    controller.data.touch()
    message = refused(controller)
    assert f"error: cannot use the data directory {controller.data}" in message


def test_of_many_controllers_that_start_at_once_one_wins(controllers: Controllers) -> None:
    many = [controllers(ports=1) for _ in range(8)]
    for one in many:
        one.data = many[0].data
        one.start()
    until_sync(
        lambda: len([one for one in many if one.running]) == 1,
        timeout=60,
        what="all but one to give up",
    )
    (winner,) = (one for one in many if one.running)
    winner.wait_ready()
    for one in many:
        if one is not winner:
            assert one.wait() == 1
            assert "another controller" in one.logged()
