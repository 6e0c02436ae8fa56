"""The controller, a proxy, all of them: killed while callers keep calling."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial

import httpx
import psutil
import pytest

from tests.support.captured import until_captured
from tests.support.controller_forks import ControllerForks
from tests.support.data_plane import proxies
from tests.support.harness import Controller, Controllers
from tests.support.marked_callers import MarkedCallers, p99
from tests.support.shared_controller import Shared, use
from tests.support.waiting import until_sync

ROUNDS = int(os.environ.get("MODEL_DEPLOYMENT_TEST_ROUNDS", "2"))


@pytest.fixture(scope="module", params=[1, 2], ids=["one proxy", "two proxies"])
def shared_plane(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    registry_uri: str,
    controller_forks: ControllerForks,
) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("kills")
    it = Shared(folder, registry_uri, controller_forks, PROXIES=request.param)
    yield it
    problems = it.end()
    assert not problems, "\n".join(problems)


@pytest.fixture
def running(shared_plane: Shared) -> Iterator[Controller]:
    with use(shared_plane) as it:
        yield it


def test_no_prediction_fails_while_the_controller_is_killed(running: Controller) -> None:
    running.deploy("stub-1")
    with MarkedCallers(running.port, "stub-1") as callers:
        callers.more(200)
        before = p99(callers.answers)
        started = proxies(running)
        for _ in range(ROUNDS):
            running.kill()
            callers.more(100)
            running.up()
            callers.more(100)
        assert proxies(running) == started
    assert callers.failed() == []
    assert callers.wrong == []
    sys.stdout.write(f"p99 {before:.4f} -> {p99(callers.answers):.4f} s\n")
    until_captured(running, "stub-1", {a.request_id for a in callers.answers})
    assert served(running, "stub-1") == len(callers.answers)


def test_only_its_own_connections_notice_that_a_proxy_is_killed(running: Controller) -> None:
    running.deploy("stub-2")
    with MarkedCallers(running.port, "stub-2") as callers:
        for _ in range(ROUNDS):
            callers.more(100)
            pid = proxies(running)[0].pid
            on_it = connections_of(pid)
            failed = len(callers.failed())
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            until_sync(partial(replaced, running, pid), timeout=10, what="another proxy")
            callers.more(100)
            first = min(a.answered for a in callers.answers if a.asked > killed)
            sys.stdout.write(f"answered {first - killed:.2f} s after the kill\n")
            assert len(callers.failed()) - failed <= on_it
    assert {a.status for a in callers.failed()} <= {0}
    assert callers.wrong == []
    good = {a.request_id for a in callers.answers if a.status == 200}
    until_captured(running, "stub-2", good)
    # The counts since its last report are lost with a proxy; none is counted twice.
    assert 0 < served(running, "stub-2") <= len(callers.answers)


def served(controller: Controller, key: str) -> int:
    """Requests in the minutes that are counted."""
    return int(controller.get(f"/model/{key}/metrics")["serving"]["total"]["requests"])


def connections_of(pid: int) -> int:
    found = psutil.Process(pid).net_connections("tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED for one in found)


def replaced(controller: Controller, pid: int) -> bool:
    wanted = controller.settings["PROXIES"]
    now = [process.pid for process in proxies(controller)]
    return pid not in now and len(now) == wanted


def test_all_proxies_killed(running: Controller) -> None:
    running.deploy("other-1")
    with MarkedCallers(running.port, "other-1") as callers:
        for _ in range(ROUNDS):
            callers.more(100)
            killed = proxies(running)
            for process in killed:
                os.kill(process.pid, signal.SIGKILL)
            callers.more(100)
            assert not {*killed} & {*proxies(running)}
    # Nobody was refused: the controller holds the socket, and callers wait at it.
    assert {a.status for a in callers.failed()} <= {0}
    assert callers.wrong == []


def test_controller_and_proxies_killed_together(running: Controller) -> None:
    running.deploy("other-1")
    with MarkedCallers(running.port, "other-1") as callers:
        for _ in range(ROUNDS):
            callers.more(100)
            for pid in [running.pid, *(process.pid for process in proxies(running))]:
                os.kill(pid, signal.SIGKILL)
            running.wait()
            running.up()
            callers.more(100)
    assert {a.status for a in callers.failed()} <= {0, -1}
    assert callers.wrong == []


def test_a_controller_is_killed_while_it_starts_a_proxy(controllers: Controllers) -> None:
    """The proxy holds the address already, and cannot hand it over yet."""
    controller = controllers(PROXIES=1, programs=True).up()  # whose start takes a moment
    controller.deploy("stub-1")
    (first,) = proxies(controller)
    os.kill(first.pid, signal.SIGKILL)
    until_sync(partial(replaced, controller, first.pid), timeout=10, interval=0.001)
    (starting,) = proxies(controller)
    os.kill(starting.pid, signal.SIGSTOP)
    sockets = controller.data / "proxies"
    assert not [*sockets.glob(f"{starting.launch_id.removeprefix('proxy.')}*")]
    controller.kill()

    controller.start()
    until_sync(lambda: "waiting for a proxy" in controller.logged(), what="the wait")
    os.kill(starting.pid, signal.SIGCONT)
    controller.wait_ready()
    assert controller.predict("stub-1").status_code == 200
    assert proxies(controller) == [starting]


def test_the_address_answers_while_the_controller_is_away(running: Controller) -> None:
    running.deploy("other-1")
    assert running.call("GET", "/health").json() == {"status": "ok"}
    running.kill()
    until_sync(
        lambda: running.call("GET", "/health").json().get("controller") == "away",
        what="the proxy to notice",
    )
    away = running.call("GET", "/get_deployed_models")
    assert (away.status_code, away.headers["retry-after"]) == (503, "2")
    assert "controller is away" in away.json()["detail"]
    assert running.predict("other-1").status_code == 200
    unknown = running.call("POST", "/nothing-1", json={})
    assert unknown.status_code == 503
    running.up()
    assert running.call("GET", "/health").json() == {"status": "ok"}


def test_a_proxy_told_to_end_answers_what_it_has(controllers: Controllers) -> None:
    controller = controllers(PROXIES=1).up()
    controller.deploy("slow-1")
    with MarkedCallers(controller.port, "slow-1", callers=4) as callers:
        for _ in range(2):
            callers.more(4)
            pid = proxies(controller)[0].pid
            os.kill(pid, signal.SIGTERM)
            until_sync(partial(replaced, controller, pid), timeout=30, what="another proxy")
    assert callers.failed() == []


def test_models_are_deployed_and_undeployed_on_every_proxy(controllers: Controllers) -> None:
    """Right after the answer no proxy sees the other world."""
    controller = controllers(PROXIES=3).up()
    clients = [
        httpx.Client(base_url=controller.url, trust_env=False, verify=False) for _ in range(24)
    ]
    for _ in range(3):
        controller.deploy("stub-1")
        body = {"instances": [1]}
        assert {c.post("/stub-1", json=body).status_code for c in clients} == {200}
        controller.undeploy("stub-1")
        assert {c.post("/stub-1", json=body).status_code for c in clients} == {404}
    for client in clients:
        client.close()
