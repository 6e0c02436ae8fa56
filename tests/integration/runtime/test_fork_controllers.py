"""A whole controller whose models are forks: each kind of process is killed while callers call.

``MODEL_DEPLOYMENT_TEST_ROUNDS`` says how often each is.
"""

import contextlib
import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial

import psutil
import pytest

from tests.integration.runtime.conftest import parents
from tests.support.harness import HOST, Controller, Controllers
from tests.support.waiting import until_sync

ROUNDS = int(os.environ.get("MODEL_DEPLOYMENT_TEST_ROUNDS", "1"))
CALLERS = 4
KEY = "stub-1"
BODY = json.dumps({"instances": [1]})


@pytest.fixture
def controller(controllers: Controllers) -> Iterator[Controller]:
    """Its warm parent ends with the test."""
    made = controllers(START_METHOD="forkserver", TRIES=50)
    yield made
    made.destroy()
    for pid in parents(made.data):
        os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not parents(made.data))


class Callers:
    """Threads that ask for predictions, on a new connection each time."""

    def __init__(self, controller: Controller) -> None:
        self._port = controller.port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        self.seen: Counter[str] = Counter()

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        while not self._over.wait(0.005):
            self.seen[self._ask()] += 1

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=60)
        with contextlib.closing(connection):
            try:
                connection.request("POST", f"/{KEY}", BODY, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                return f"{answer.status} {answer.read()[:300]!r}"[
                    : None if answer.status > 299 else 3
                ]
            except (OSError, http.client.HTTPException):
                return "no controller"

    def go_on(self) -> None:
        """Wait until some more were answered."""
        wanted = self.seen["200"] + 5 * CALLERS

        def enough() -> bool:
            assert self.seen["200"] >= wanted, self.seen
            return True

        until_sync(enough, timeout=60, what="answers")

    def others(self) -> Counter[str]:
        """All but the predictions."""
        return Counter({what: number for what, number in self.seen.items() if what != "200"})


def parent_of(controller: Controller) -> int:
    """Its pid; 0 while there is none, or more than one."""
    found = parents(controller.data)
    return found[0] if len(found) == 1 else 0


def another_parent(controller: Controller, gone: int) -> bool:
    """Whether exactly one warm parent is there, and it is not the one that is gone."""
    return parent_of(controller) not in (0, gone)


def held(controller: Controller) -> bool:
    """Whether the warm parent listens on the port of the model."""
    port = controller.row(KEY)["port"]
    with contextlib.suppress(psutil.Error, ValueError):
        found = psutil.Process(parent_of(controller)).net_connections("tcp")
        return any(one.laddr.port == port for one in found)
    return False


def kill_model(controller: Controller, callers: Callers) -> None:
    """Only what was in flight is lost, and nobody is refused."""
    before = controller.row(KEY)
    lost = callers.others()
    os.kill(before["pid"], signal.SIGKILL)
    until_sync(lambda: controller.row(KEY)["pid"] not in (None, before["pid"]), timeout=60)
    controller.wait_for(KEY, "ready", timeout=60)
    callers.go_on()
    assert controller.row(KEY)["port"] == before["port"]
    new = callers.others() - lost
    assert all(answer.startswith("502") for answer in new), new
    assert new.total() <= CALLERS


def test_killed_model_costs_what_is_in_flight(controller: Controller) -> None:
    controller.up().deploy(KEY)
    with Callers(controller) as callers:
        for _ in range(ROUNDS):
            kill_model(controller, callers)


def test_killed_parent_costs_nothing(controller: Controller) -> None:
    controller.up().deploy(KEY)
    pid = controller.row(KEY)["pid"]
    with Callers(controller) as callers:
        for _ in range(ROUNDS):
            before = parent_of(controller)
            os.kill(before, signal.SIGKILL)
            until_sync(partial(another_parent, controller, before), timeout=60)
            until_sync(lambda: held(controller), timeout=20, what="the port to be held")
            callers.go_on()
        assert not callers.others()
        assert controller.row(KEY)["pid"] == pid
        kill_model(controller, callers)


@pytest.mark.parametrize("both", [False, True])
def test_killed_controller_adopts_and_the_ports_are_held(
    controller: Controller, both: bool
) -> None:
    controller.up().deploy(KEY)
    for _ in range(ROUNDS):
        before = controller.row(KEY)
        if both:
            os.kill(parent_of(controller), signal.SIGKILL)
        controller.kill()
        controller.up()
        with Callers(controller) as callers:
            until_sync(lambda: held(controller), timeout=20, what="the port to be held")
            assert controller.row(KEY)["pid"] == before["pid"]
            assert not callers.others()
            kill_model(controller, callers)


def test_parked_model_wakes_also_after_its_parent_died(
    controller: Controller,
) -> None:
    controller.up().deploy(KEY, idle_timeout=0.3)
    for _ in range(ROUNDS):
        controller.wait_for(KEY, "parked")
        before = parent_of(controller)
        os.kill(before, signal.SIGKILL)
        until_sync(partial(another_parent, controller, before), timeout=60)
        assert controller.predict(KEY).status_code == 200
        assert controller.row(KEY)["restarts"] == 0 or controller.row(KEY)["state"] == "ready"
        assert "warm parent cannot be used" not in str(controller.events(KEY))
