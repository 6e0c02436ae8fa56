"""Model processes that die, and what callers see of it."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.support.harness import Controller, Controllers
from tests.support.tools import check_problem, within
from tests.support.waiting import until_sync

#: Seconds between a death and its first trace in the events.
NOTICED = 1.0


def kill(controller: Controller, key: str, which: Callable[[str], bool]) -> float:
    """Kill some processes of a deployment by their command lines; when."""
    at = time.time()
    found = [process for process in controller.processes(key) if which(process.cmdline)]
    assert found
    for process in found:
        os.kill(process.pid, signal.SIGKILL)
    return at


def noticed(controller: Controller, key: str, after: float) -> Any:
    """The first event after a moment, which has to be soon after it."""

    def first() -> Any:
        events = controller.events(key)
        return next(
            (e for e in events if datetime.fromisoformat(e["at"]).timestamp() > after), None
        )

    event = until_sync(first, timeout=5, what=f"an event of {key}")
    assert datetime.fromisoformat(event["at"]).timestamp() - after <= NOTICED
    return event


VICTIMS: dict[str, Callable[[str], bool]] = {
    "all": lambda cmdline: True,
    "parent": lambda cmdline: "--wrapped" not in cmdline,
    "server": lambda cmdline: "--wrapped" in cmdline,
}


@pytest.mark.parametrize("victims", VICTIMS)
def test_a_killed_model_is_noticed_at_once_and_started_again(
    controller: Controller, victims: str
) -> None:
    before = controller.deploy("wrapper-1")
    old = {process.pid for process in controller.processes("wrapper-1")}
    killed = kill(controller, "wrapper-1", VICTIMS[victims])
    event = noticed(controller, "wrapper-1", killed)
    assert (event["previous"], event["state"]) == ("ready", "pending")
    after = controller.wait_for("wrapper-1", "ready")
    assert after["restarts"] == 1
    assert after["pid"] != before["pid"]
    new = {process.pid for process in controller.processes("wrapper-1")}
    assert len(new) == 2
    assert not new & old
    assert not old & {process.pid for process in controller.processes()}
    assert controller.predict("wrapper-1", 7).json()["predictions"] == [7]


@pytest.mark.parametrize("victims", VICTIMS)
def test_requests_in_flight_get_502_as_their_model_dies(
    controller: Controller, victims: str
) -> None:
    controller.deploy("slower-wrapped-1")
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(controller.predict, "slower-wrapped-1") for _ in range(3)]
        controller.arrived("slower-wrapped-1", 3)
        kill(controller, "slower-wrapped-1", VICTIMS[victims])
        with within(1):
            problems = [check_problem(answer.result()) for answer in answers]
    assert [problem["status"] for problem in problems] == [502] * 3


def test_only_the_requests_of_the_model_that_died_are_hurt(controller: Controller) -> None:
    controller.deploy("slower-1")
    bystander = controller.deploy("slow-1")
    with ThreadPoolExecutor() as pool:
        hurt = pool.submit(controller.predict, "slower-1")
        fine = pool.submit(controller.predict, "slow-1", 5)
        controller.arrived("slower-1")
        controller.arrived("slow-1")
        kill(controller, "slower-1", VICTIMS["all"])
        assert check_problem(hurt.result())["status"] == 502
        assert fine.result().json()["predictions"] == [5]
    assert controller.row("slow-1")["pid"] == bystander["pid"]


@pytest.mark.parametrize(
    ("death", "reason"),
    [("exit", "status 5"), ("sys.exit", "status 6"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")],
)
def test_a_model_that_dies_of_a_request_gets_it_once(
    controller: Controller, death: str, reason: str
) -> None:
    key = f"dies-{death}-1"
    controller.deploy(key)
    with within(1):
        problem = check_problem(controller.predict(key))
    assert problem["status"] == 502
    assert key in problem["detail"]
    until_sync(lambda: controller.row(key)["restarts"] == 1)
    controller.wait_for(key, "ready")
    assert any(reason in event["reason"] for event in controller.events(key))
    # Sent again by us, it would have killed the next launch as well.
    assert controller.row(key)["restarts"] == 1


def test_a_crash_loop_ends_in_failed_after_five_tries(controller: Controller) -> None:
    bystander = controller.deploy("stub-1")
    controller.deploy("short-lived-1", status=202, wait=0)
    failing = controller.deploy("fails-1", status=502)
    dying = controller.wait_for("short-lived-1", "failed", timeout=30)
    assert failing["name"] == "fails-1"
    assert "status 7: stub: cannot load model" in failing["reason"]
    assert "gave up after 5 tries" in failing["detail"]
    assert failing["log"][-1] == "stub: cannot load model"
    assert "status 4" in dying["reason"]
    for key in ("fails-1", "short-lived-1"):
        _five_launches_with_growing_pauses(controller.events(key))
        assert (controller.row(key)["state"], controller.row(key)["port"]) == ("failed", None)
        assert controller.processes(key) == []
        assert "gave up" in check_problem(controller.predict(key))["detail"]
    assert controller.row("stub-1")["pid"] == bystander["pid"]


def _five_launches_with_growing_pauses(events: list[Any]) -> None:
    last = max(n for n, event in enumerate(events) if event["reason"] == "deploy asked for")
    moments = [
        (event["state"], datetime.fromisoformat(event["at"]))
        for event in events[last:]
        if event["previous"] != event["state"]
    ]
    started = [at for state, at in moments if state == "starting"]
    gone = [at for state, at in moments[1:] if state == "pending"]
    pauses = [(start - end).total_seconds() for start, end in zip(started[1:], gone, strict=True)]
    assert len(started) == 5
    assert all(pause >= least for pause, least in zip(pauses, (0.5, 1, 2, 4), strict=True)), pauses


@pytest.mark.parametrize("key", ["never-ready-1", "never-ready-deaf-1"])
def test_a_model_that_never_gets_ready_is_given_up(controllers: Controllers, key: str) -> None:
    controller = controllers(START_TIMEOUT=1, TRIES=1).up()
    problem = controller.deploy(key, status=502)
    assert "not ready within 1 s" in problem["reason"]
    assert controller.leftovers() == []
    assert "not ready within 1 s" in controller.row(key)["reason"]


def test_a_start_that_fails_for_a_while_recovers(controller: Controller) -> None:
    flaky = controller.data / "work" / "flaky"
    flaky.touch()
    with ThreadPoolExecutor() as pool:
        deployed = pool.submit(controller.deploy, "flaky-1")
        until_sync(lambda: controller.row("flaky-1")["restarts"] == 1)
        flaky.unlink()
        row = deployed.result()
    assert row["state"] == "ready"
    assert 1 <= row["restarts"] <= 3
    assert any("flaky is in the way" in event["reason"] for event in controller.events("flaky-1"))
