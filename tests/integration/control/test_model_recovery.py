"""Models that something ends or stops from outside while callers call; and loads that fail for ever."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.runtime.conftest import parents
from tests.support.harness import Controller, Controllers
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

METHODS = ["serve", "forkserver"]


@pytest.fixture(params=METHODS)
def controller(request: pytest.FixtureRequest, controllers: Controllers) -> Iterator[Controller]:
    """One whose models are started in this way, and that has few tries to waste."""
    made = controllers(START_METHOD=request.param, TRIES=2, PROBE_INTERVAL=5).up()
    yield made
    made.destroy()
    for pid in parents(made.data):
        os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not parents(made.data))


@contextmanager
def callers(controller: Controller, key: str, number: int = 4) -> Iterator[Counter[int]]:
    """So many ask again and again; the statuses of their answers."""
    seen: Counter[int] = Counter()
    over = threading.Event()

    def call() -> None:
        while not over.wait(0.03):
            seen[controller.predict(key).status_code] += 1

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        until_sync(lambda: seen[200] >= number, what="answers")
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def answered_again(seen: Counter[int]) -> None:
    """Wait for answers that began after this."""
    before = seen[200]
    until_sync(lambda: seen[200] > before + 8, timeout=30, what="answers after the end")


def test_callers_of_a_killed_model_wait_for_the_next_launch(controller: Controller) -> None:
    pid = controller.deploy("stub-1")["pid"]
    with callers(controller, "stub-1") as seen:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            before, pid = pid, controller.row("stub-1")["pid"]
            assert pid != before or not seen[502]
            os.kill(pid, number)
            until_sync(lambda: controller.row("stub-1")["pid"] not in (None, pid))  # noqa: B023
            controller.wait_for("stub-1", "ready")
            answered_again(seen)
    # More ends than it has tries. Who was in the middle of it is told; nobody else notices.
    assert {*seen} <= {200, 502}
    assert seen[502] <= 4 * 4
    row = controller.row("stub-1")
    assert (row["state"], row["restarts"]) == ("ready", 4)


def test_a_model_that_is_stopped_is_replaced_soon(controller: Controller) -> None:
    pid = controller.deploy("stub-1")["pid"]
    with callers(controller, "stub-1") as seen:
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        until_sync(lambda: controller.row("stub-1")["pid"] not in (None, pid), timeout=20)
        controller.wait_for("stub-1", "ready")
        assert time.monotonic() - began < 10
        answered_again(seen)
    assert {*seen} <= {200, 502}
    reasons = [event["reason"] for event in controller.events("stub-1")]
    assert "its process is stopped (SIGSTOP)" in reasons


def test_nobody_waits_for_ever_and_nobody_holds_up_the_end(controllers: Controllers) -> None:
    controller = controllers(RECOVERY_TIMEOUT=1, TRIES=4).up()
    flaky = controller.data / "work" / "flaky"
    pid = controller.deploy("flaky-1")["pid"]
    flaky.touch()
    os.kill(pid, signal.SIGKILL)
    until_sync(lambda: controller.row("flaky-1")["state"] != "ready")
    began = time.monotonic()
    answer = controller.predict("flaky-1")
    assert check_problem(answer)["status"] == 503
    assert answer.headers["retry-after"]
    assert 0.9 < time.monotonic() - began < 5
    controller.wait_for("flaky-1", "failed", timeout=30)
    problem = check_problem(controller.predict("flaky-1"))
    assert "is in the way" in problem["detail"]


def test_a_load_that_fails_for_ever_is_tried_once(controller: Controller) -> None:
    problem = controller.deploy("no-library-1", status=502)
    reason = "ModuleNotFoundError: No module named 'no_such_library'"
    assert problem["reason"].startswith(reason)
    assert "not installed where it runs" in problem["advice"]
    assert problem["advice"] in problem["detail"]
    row = controller.row("no-library-1")
    assert (row["state"], row["restarts"]) == ("failed", 0)
    assert (row["reason"], row["advice"]) == (problem["reason"], problem["advice"])
    last = controller.events("no-library-1")[-1]
    assert (last["state"], last["advice"]) == ("failed", problem["advice"])
    assert problem["advice"] in check_problem(controller.predict("no-library-1"))["detail"]
    # It may be there by now: who deploys it again has it tried again.
    controller.deploy("no-library-1", status=502)
    launches = [e for e in controller.events("no-library-1") if e["state"] == "starting"]
    assert len(launches) == 2
