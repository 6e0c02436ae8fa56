"""Deployments with several replicas: changes in place, and a number that follows the requests."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.control.test_changes import Callers, change
from tests.integration.runtime.conftest import parents
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync

KEY = "stub-1"
#: Answers after half a second.
SLOW = "slow-1"


@pytest.fixture
def forking(controllers: Controllers) -> Iterator[Callable[..., Controller]]:
    """Makes a controller whose models are forks; its warm parent ends with the test."""
    made: list[Controller] = []

    def make(**settings: Any) -> Controller:
        made.append(controllers(START_METHOD="forkserver", ports=16, **settings))
        return made[-1].up()

    yield make
    for controller in made:
        controller.destroy()
        for pid in parents(controller.data):
            os.kill(pid, signal.SIGKILL)
        until_sync(partial(_no_parents, controller.data))


def _no_parents(data: Path) -> bool:
    return not parents(data)


def ready(controller: Controller, key: str, number: int, timeout: float = 60) -> Any:
    """The deployment, once so many replicas are ready and no other launch is left."""

    def arrived() -> Any:
        row = controller.row(key)
        states = [one["state"] for one in row["launches"]]
        assert states == ["ready"] * number, row["launches"]
        return row

    return until_sync(arrived, timeout=timeout, what=f"{number} replicas of {key}")


@contextmanager
def asking(controller: Controller, key: str, number: int) -> Iterator[Callers]:
    over = threading.Event()

    def ask() -> int:
        over.wait(0.05)  # callers that leave no pause would leave none for the changes
        return controller.predict(key, timeout=60).status_code

    with Callers(ask, number) as callers:
        yield callers
        over.set()


@pytest.mark.parametrize(("replicas", "proxies", "changes"), [(1, 2, 6), (3, 1, 2), (2, 0, 2)])
def test_no_request_is_lost_in_changes_of_replicas(
    forking: Callable[..., Controller], replicas: int, proxies: int, changes: int
) -> None:
    controller = forking(PROXIES=proxies)
    controller.deploy(KEY, workers=1, replicas=replicas)
    before = {one["launch_id"] for one in ready(controller, KEY, replicas)["launches"]}
    with asking(controller, KEY, 8) as callers:
        for number in range(changes):
            row = change(controller, KEY, workers=2 - number % 2)
            assert row["options"]["workers"] == 2 - number % 2, row
            launches = {one["launch_id"] for one in row["launches"] if one["role"] == "serving"}
            assert not launches & before, "each replica has another launch"
            before = launches
    assert callers.failed == []
    assert callers.answered > changes
    row = ready(controller, KEY, replicas)
    assert row["restarts"] == 0
    assert row["replicas"] == {"wanted": replicas, "ready": replicas}


def test_number_of_replicas_changes_at_once_and_without_a_lost_request(
    forking: Callable[..., Controller],
) -> None:
    controller = forking(PROXIES=1)
    controller.deploy(KEY, replicas=2)
    kept = ready(controller, KEY, 2)["launches"][0]["launch_id"]
    with asking(controller, KEY, 8) as callers:
        for number in (4, 1, 3, 2, 1):
            change(controller, KEY, replicas=number)
            row = ready(controller, KEY, number)
            assert row["launches"][0]["launch_id"] == kept, "no replica that goes on is replaced"
    assert callers.failed == []
    assert row["restarts"] == 0


def test_replicas_follow_the_requests(forking: Callable[..., Controller]) -> None:
    controller = forking(PROXIES=1, SCALE_DOWN_AFTER=4)
    controller.deploy(SLOW, replicas="1-3", batch_max_rows=0)
    assert ready(controller, SLOW, 1)["replicas"] == {"wanted": 1, "ready": 1}
    with asking(controller, SLOW, 12) as callers:
        ready(controller, SLOW, 3)
    assert callers.failed == []
    ready(controller, SLOW, 1)
    said = [event["reason"] for event in controller.events(SLOW)]
    assert any("requests wait for" in reason for reason in said), said
    assert any("replicas would have been enough" in reason for reason in said), said


def test_containers_are_refused_without_an_engine(controllers: Controllers) -> None:
    controller = controllers().up()
    problem = controller.deploy(KEY, status=503, start_method="container")
    assert problem["detail"].startswith(f"cannot deploy {KEY} with start_method=container: ")
    assert "choose start_method=auto" in problem["detail"]
    controller.deploy(KEY)
    assert change(controller, KEY, 503, start_method="container")["type"].endswith(
        "cannot-be-started"
    )
    row = change(controller, KEY, replicas={"min": 1, "max": 2})
    assert row["options"]["replicas"] == {"min": 1, "max": 2}


def test_estimate_counts_all_replicas(controller: Controller) -> None:
    path = "/deploy/stub/2"
    one = controller.get(path, workers=2)
    three = controller.get(path, workers=2, replicas=3)
    assert three["memory_needed"] == 3 * one["memory_needed"]
    assert (one["options"]["replicas"], three["options"]["replicas"]) == (1, 3)
    controller.get(path, 422, replicas=65)
