"""Model processes that live and serve nobody: noticed, and started again."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.filled_registry import WEDGE
from tests.support.harness import Controller, Controllers
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

#: How soon a wedge is found by probes: three failures, each after an interval and a timeout.
PROBES = {"PROBE_INTERVAL": 0.2, "PROBE_TIMEOUT": 0.5, "PROBE_FAILURES": 3}
FAILED_PROBES = "health checks in a row"
STOPPED = "its process is stopped (SIGSTOP)"


@pytest.fixture
def probing(controllers: Controllers) -> Controller:
    """A controller that probes often."""
    return controllers(**PROBES).up()


def restarted(controller: Controller, key: str, pid: int, reason: str) -> None:
    """Wait for the next launch; the reason of the last one's end has to be this."""
    until_sync(lambda: controller.row(key)["pid"] != pid, timeout=15, what=f"a stop of {key}")
    row = controller.wait_for(key, "ready")
    assert row["pid"] != pid
    assert row["restarts"] == 1
    *_, stop = (  # the controller is shared, and others may have deployed it before
        event
        for event in controller.events(key)
        if (event["previous"], event["state"]) == ("ready", "stopping")
    )
    assert reason in stop["reason"]
    assert pid not in {process.pid for process in controller.processes()}


def test_a_model_that_answers_nothing_at_all_is_restarted(probing: Controller) -> None:
    pid = probing.deploy("wedges-1")["pid"]
    wedge = probing.data / "work" / WEDGE
    with ThreadPoolExecutor() as pool:
        wedge.touch()
        waiting = pool.submit(probing.predict, "wedges-1")
        until_sync(lambda: probing.row("wedges-1")["state"] != "ready", timeout=10)
        wedge.unlink()
        # The file is gone, and so this one may have been answered in its last moment.
        assert waiting.result().status_code in (200, 502)
    restarted(probing, "wedges-1", pid, FAILED_PROBES)
    assert probing.predict("wedges-1").status_code == 200


@pytest.mark.parametrize("key", ["stub-1", "slower-deaf-1"])
def test_a_model_that_is_stopped_is_restarted(controller: Controller, key: str) -> None:
    pid = controller.deploy(key)["pid"]
    os.kill(pid, signal.SIGSTOP)
    restarted(controller, key, pid, STOPPED)


def test_a_server_that_is_stopped_below_its_wrapper_is_restarted(controller: Controller) -> None:
    pid = controller.deploy("wrapper-1")["pid"]
    (server,) = (p.pid for p in controller.processes("wrapper-1") if p.pid != pid)
    os.kill(server, signal.SIGSTOP)
    restarted(controller, "wrapper-1", pid, STOPPED)


def test_the_age_of_one_request_betrays_a_model_that_hangs(controllers: Controllers) -> None:
    controller = controllers(REQUEST_TIMEOUT=1).up()
    pid = controller.deploy("hangs-1")["pid"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(controller.predict, "hangs-1")
        controller.arrived("hangs-1")
        restarted(controller, "hangs-1", pid, "did not answer a request")
        assert check_problem(waiting.result())["status"] == 502


def test_four_time_outs_in_a_row_are_enough(controller: Controller) -> None:
    pid = controller.deploy("times-out-1")["pid"]
    for _ in range(3):
        assert controller.predict("times-out-1").status_code == 504
    assert controller.row("times-out-1")["pid"] == pid
    assert controller.predict("times-out-1").status_code == 504
    restarted(controller, "times-out-1", pid, "timed out on 4 requests in a row")


def test_a_model_that_is_only_slow_is_left_alone(controllers: Controllers) -> None:
    controller = controllers(REQUEST_TIMEOUT=2, **PROBES).up()
    pid = controller.deploy("slow-1")["pid"]
    for _ in range(2):
        assert controller.predict("slow-1", 3).json()["predictions"] == [3]
    assert (controller.row("slow-1")["pid"], controller.row("slow-1")["restarts"]) == (pid, 0)
