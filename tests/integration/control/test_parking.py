"""Models that nobody calls give up their processes and ports, and the next request brings them back."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from tests.support.harness import Controller, Controllers
from tests.support.tools import at_once, check_problem
from tests.support.waiting import until_sync

#: Seconds; too many to pass while something is looked at, and too few to wait for.
LONG, SHORT = 600, 0.2


def park(controller: Controller, key: str) -> None:
    """Deploy a model, and wait until it is parked."""
    assert controller.deploy(key, idle_timeout=SHORT)["state"] == "ready"
    row = controller.wait_for(key, "parked")
    assert (row["port"], row["pid"], row["reason"]) == (None, None, f"no request for {SHORT} s")
    assert controller.processes(key) == []


def test_an_idle_model_is_parked_and_the_next_request_is_answered(controllers: Controllers) -> None:
    controller = controllers().up()
    park(controller, "stub-1")
    assert controller.get("/ready")["ports"]["leased"] == 0
    metrics = controller.call("GET", "/metrics").text
    assert 'deployment_state{model="stub",state="parked",version="1"} 1.0' in metrics
    assert controller.predict("stub-1", 7).json()["predictions"] == [7]
    reasons = [event["reason"] for event in controller.events("stub-1")]
    assert "started by a request" in reasons
    controller.wait_for("stub-1", "parked")
    # Whoever asks at the same time waits for the same start.
    answers = at_once(lambda number: controller.predict("stub-1", number), range(20))
    assert [answer.json()["predictions"] for answer in answers] == [[n] for n in range(20)]
    assert len({answer.json()["pid"] for answer in answers}) == 1
    controller.wait_for("stub-1", "parked")
    # To deploy it again is to start it, if it is meant as it is.
    controller.deploy("stub-1", status=409, workers=2)
    assert controller.deploy("stub-1")["state"] == "ready"
    assert controller.row("stub-1")["restarts"] == 0


def test_it_is_undeployed_wherever_it_is(controllers: Controllers) -> None:
    controller = controllers().up()
    park(controller, "slow-start-1")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(controller.predict, "slow-start-1")
        controller.wait_for("slow-start-1", "starting")
        assert controller.undeploy("slow-start-1")["state"] == "stopped"
        problem = check_problem(waiting.result(10))
        assert problem["status"] == 503
        assert "cannot predict with slow-start-1: it is st" in problem["detail"]
    park(controller, "stub-1")
    assert controller.undeploy("stub-1")["state"] == "stopped"
    assert controller.predict("stub-1").status_code == 404


def test_a_controller_is_killed_while_models_are_parked_and_woken(controllers: Controllers) -> None:
    controller = controllers().up()
    for key in ("stub-1", "slow-start-1"):
        park(controller, key)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(controller.predict, "slow-start-1")
        controller.wait_for("slow-start-1", "starting")
        controller.kill()
        assert isinstance(waiting.exception(10), ConnectionError)
    controller.up()
    assert controller.row("stub-1")["state"] == "parked"
    for key in ("slow-start-1", "stub-1"):
        assert controller.predict(key).json()["model"] == key


def test_many_models_share_a_few_ports(controllers: Controllers) -> None:
    controller = controllers(ports=3, IDLE_TIMEOUT=LONG).up()
    keys = [f"many-{version}" for version in range(1, 10)]
    for key in keys:
        assert controller.deploy(key)["state"] == "ready"
    for key in keys[::3]:
        answer = controller.predict(key)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == key
    states = [row["state"] for row in controller.get("/get_deployed_models")]
    assert states.count("parked") == 6
    # All at once is more than three can be, and nobody is refused for it.
    answers = at_once(controller.predict, keys[:5])
    assert [answer.json().get("model") for answer in answers] == keys[:5]


def test_a_start_that_fails_is_told_to_those_who_wait(controllers: Controllers) -> None:
    controller = controllers(TRIES=2).up()
    park(controller, "flaky-1")
    (controller.data / "work" / "flaky").touch()
    problem = check_problem(controller.predict("flaky-1"))
    assert problem["status"] == 502
    assert "cannot predict with flaky-1: it does not start: " in problem["detail"]
    assert controller.row("flaky-1")["state"] == "failed"


def test_callers_who_wait_are_answered_when_the_controller_stops(controllers: Controllers) -> None:
    controller = controllers(DRAIN_TIMEOUT=1).up()
    park(controller, "slow-start-1")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(controller.predict, "slow-start-1")
        controller.wait_for("slow-start-1", "starting")
        os.kill(controller.pid, signal.SIGTERM)
        answer = waiting.result(20)
        assert answer.status_code in (200, 503), answer.text
    assert controller.wait() == 0


def test_a_request_that_comes_as_it_is_parked_is_answered(controllers: Controllers) -> None:
    controller = controllers().up()
    controller.deploy("stub-1", idle_timeout=SHORT)
    for _ in range(3):
        until_sync(lambda: controller.row("stub-1")["state"] != "ready", interval=0.005)
        answer = controller.predict("stub-1")
        assert answer.status_code == 200, answer.text


def test_a_model_that_would_not_fit_into_memory_is_refused(controllers: Controllers) -> None:
    guess = 2**50
    controller = controllers().up()
    controller.deploy("stub-1", idle_timeout=2)
    until_sync(lambda: controller.row("stub-1")["memory_needed"] < 10**9, what="a measurement")
    controller.wait_for("stub-1", "parked")
    controller.terminate()
    controller.up(MEMORY_MARGIN=1024, MEMORY_GUESS=guess, MEMORY_GUESS_FORK=guess)
    problem = controller.deploy("stub-2", status=507)
    assert problem["title"] == "Not enough memory"
    assert f"it needs {guess >> 20} MB of memory (an estimate), " in problem["detail"]
    controller.get("/model/stub-2", 404)
    # What was measured before is known to fit.
    row = controller.row("stub-1")
    assert (row["state"], row["rss"]) == ("parked", None)
    assert 0 < row["memory_needed"] < 10**9
    assert controller.predict("stub-1").status_code == 200
