"""One of several replicas is killed while callers keep calling, with a controller and without."""

import os
import signal
from collections import Counter
from functools import partial
from typing import Any

import pytest

from tests.support.harness import Controller, Controllers
from tests.support.marked_callers import MarkedCallers
from tests.support.waiting import until_sync

KEY = "stub-1"


@pytest.fixture(params=[0, 2], ids=["in the controller", "two proxies"])
def running(request: pytest.FixtureRequest, controllers: Controllers) -> Controller:
    """A controller with three replicas of a model."""
    controller = controllers(PROXIES=request.param).up()
    controller.deploy(KEY, replicas=3)
    replicas(controller)
    return controller


def replicas(controller: Controller) -> list[Any]:
    """The replicas, once all three of them are ready."""

    def arrived() -> list[Any]:
        launches = controller.row(KEY)["launches"]
        assert [one["state"] for one in launches] == ["ready"] * 3, launches
        return list(launches)

    return until_sync(arrived, timeout=60, what="three replicas")


def kill(controller: Controller, launch: Any) -> None:
    """Kill all processes of a launch at once."""
    for one in controller.processes(KEY):
        if one.launch_id == launch["launch_id"]:
            os.kill(one.pid, signal.SIGKILL)


def lost(callers: MarkedCallers, before: int) -> Counter[int]:
    """Statuses of what has failed since then."""
    return Counter(one.status for one in callers.failed()[before:])


def test_only_requests_at_a_killed_replica_are_lost(running: Controller) -> None:
    with MarkedCallers(running.port, KEY) as callers:
        for number in range(3):
            callers.more(50)
            before, launch = len(callers.failed()), replicas(running)[number]
            kill(running, launch)
            callers.more(150)
            found = lost(callers, before)
            assert found.keys() <= {502}
            assert found[502] <= 16
            until_sync(partial(_is_replaced, running, launch), timeout=30, what="the next launch")
    assert callers.wrong == []
    assert running.row(KEY)["state"] == "ready"


def _is_replaced(controller: Controller, launch: Any) -> bool:
    return launch["launch_id"] not in {one["launch_id"] for one in replicas(controller)}


def test_replicas_killed_while_the_controller_is_away_cost_nothing_more(
    controllers: Controllers,
) -> None:
    controller = controllers(PROXIES=2).up()
    controller.deploy(KEY, replicas=3)
    launches = replicas(controller)
    with MarkedCallers(controller.port, KEY) as callers:
        callers.more(100)
        controller.kill()
        for launch in launches[:2]:
            before = len(callers.failed())
            kill(controller, launch)
            callers.more(150)
            assert lost(callers, before).keys() <= {502}
            before = len(callers.failed())
            callers.more(250)
            assert callers.failed()[before:] == [], "a replica that is gone gets no request"
        controller.up()
        assert launches[2]["launch_id"] in {one["launch_id"] for one in replicas(controller)}
        callers.more(150)
    assert callers.wrong == []
    assert callers.statuses[503] == callers.statuses[504] == 0
