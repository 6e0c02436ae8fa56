"""Proxies under load: tables that come while they start, processes that are stopped, users that change."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd
from model_deployment.http.unix_sockets import bind_in
from tests.support.data_plane import proxies
from tests.support.harness import CALLER, OPERATOR, Controller, Controllers
from tests.support.marked_callers import MarkedCallers
from tests.support.waiting import until_sync

BODY = {"instances": [1]}


def pids(controller: Controller) -> set[int]:
    return {process.pid for process in proxies(controller)}


def statuses(controller: Controller, key: str, number: int = 8) -> set[int]:
    """Of requests on new connections."""
    found = set()
    for _ in range(number):
        with httpx.Client(
            base_url=controller.url, timeout=30, trust_env=False, verify=False
        ) as client:
            found.add(retried(client, key))
    return found


def retried(client: httpx.Client, key: str) -> int:
    """The status of a request; one whose proxy is killed meanwhile is asked again."""
    while True:
        try:
            return client.post(f"/{key}", json=BODY).status_code
        except httpx.TransportError:
            continue


def test_tables_that_come_while_proxies_start(controller_with_proxies: Controller) -> None:
    controller = controller_with_proxies
    controller.deploy("stub-1")
    with MarkedCallers(controller.port, "stub-1") as callers:
        for number in range(2):
            before = pids(controller)
            os.kill(sorted(before)[number % 2], signal.SIGKILL)
            retried_post(controller, "/deploy/other/1?wait=60")
            assert statuses(controller, "other-1") == {200}
            retried_post(controller, "/undeploy/other-1?wait=60")
            assert statuses(controller, "other-1") == {404}
            until_sync(
                partial(whole, controller, 2), timeout=10, what="as many proxies as are wanted"
            )
    assert {one.status for one in callers.failed()} <= {0}
    assert callers.wrong == []


def retried_post(controller: Controller, path: str) -> None:
    """A wish is repeatable, and its connection may be one of the proxy that is killed."""

    def answered() -> bool:
        answer = controller.call("POST", path)
        assert answer.status_code in (200, 404), answer.text
        return True

    until_sync(answered, timeout=60, what=path)


def whole(controller: Controller, wanted: int) -> bool:
    return len(proxies(controller)) == wanted


def test_only_the_connections_of_a_stopped_proxy_wait(controller_with_proxies: Controller) -> None:
    controller = controller_with_proxies
    controller.deploy("stub-1")
    with MarkedCallers(controller.port, "stub-1") as callers:
        stopped = proxies(controller)[0].pid
        connections = psutil.Process(stopped).net_connections("tcp")
        on_it = sum(one.status == psutil.CONN_ESTABLISHED for one in connections)
        began = time.monotonic()
        os.kill(stopped, signal.SIGSTOP)
        until_sync(lambda: stopped not in pids(controller), timeout=15, what="its end")
        until_sync(partial(whole, controller, 2), timeout=15, what="another proxy")
        assert time.monotonic() - began < 10
        callers.more(100)
    late = {one.caller for one in callers.answers if one.seconds > 3}
    assert len(late) <= on_it
    assert {one.status for one in callers.failed()} <= {0}
    assert len(callers.failed()) <= on_it
    assert callers.wrong == []


def test_a_controller_that_is_stopped_for_a_while(controller_with_proxies: Controller) -> None:
    controller = controller_with_proxies
    controller.deploy("stub-1")
    before = pids(controller)
    with MarkedCallers(controller.port, "stub-1") as callers:
        os.kill(controller.pid, signal.SIGSTOP)
        over = time.monotonic() + 8
        until_sync(lambda: time.monotonic() > over, timeout=12, what="8 seconds")
        os.kill(controller.pid, signal.SIGCONT)
        callers.more(200)
        assert controller.get("/health") == {"status": "ok"}
        assert controller.deploy("other-1")["state"] == "ready"
        callers.more(200)
    assert pids(controller) == before
    assert callers.failed() == []
    assert callers.wrong == []


def test_a_path_that_is_longer_than_the_address_of_a_socket(
    controllers: Controllers, tmp_path: Path
) -> None:
    controller = controllers(PROXIES=1)
    controller.data = tmp_path / ("long" * 30) / "data"
    controller.up()
    assert controller.deploy("stub-1")["state"] == "ready"
    assert controller.predict("stub-1").status_code == 200
    before = pids(controller)
    controller.kill()
    controller.up()
    assert pids(controller) == before
    assert controller.row("stub-1")["state"] == "ready"


def test_a_second_controller_disturbs_nothing(
    controllers: Controllers, controller_with_proxies: Controller
) -> None:
    controller = controller_with_proxies
    controller.deploy("stub-1")
    second = controllers(PROXIES=1)
    second.data = controller.data
    before = pids(controller)
    with MarkedCallers(controller.port, "stub-1") as callers:
        for port in (controller.port, second.port):
            second.port = port
            assert second.start().wait() == 1
        callers.more(100)
        assert controller.get("/ready")
        assert controller.deploy("other-1")["state"] == "ready"
    assert second.logged().count("another controller") == 2
    assert pids(controller) == before
    assert callers.failed() == []


def test_the_socket_of_a_proxy_that_is_dead(controllers: Controllers) -> None:
    controller = controllers(PROXIES=1).up()
    controller.deploy("stub-1")
    controller.kill()
    for process in proxies(controller):
        os.kill(process.pid, signal.SIGKILL)
    bind_in(controller.data / "proxies", "9-dead.sock").close()
    (controller.data / "proxies" / "8-file.sock").touch()
    controller.up()
    assert controller.predict("stub-1").status_code == 200
    assert len([*(controller.data / "proxies").glob("*.sock")]) == 2


@pytest.fixture
def users(controllers: Controllers) -> Controller:
    controller = controllers(PROXIES=2).with_users().up()
    controller.deploy("stub-1")
    return controller


def test_passwords_that_change_while_the_controller_is_away(users: Controller) -> None:
    folder = users.data / "credentials"
    clients = [
        httpx.Client(base_url=users.url, timeout=30, trust_env=False, verify=False)
        for _ in range(8)
    ]

    def seen(who: tuple[str, str] | None) -> set[int]:
        auth = httpx.BasicAuth(*who) if who else httpx.Auth()
        return {one.post("/stub-1", json=BODY, auth=auth).status_code for one in clients}

    assert seen(CALLER) == {200}
    users.kill()
    htpasswd.set_user(folder, CALLER[0], "n" * 16, Role.CALLER)
    until_sync(lambda: seen(CALLER) == {401}, what="the old password to be of no use")
    assert seen((CALLER[0], "n" * 16)) == {200}
    assert seen(None) == {401}
    kept = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for path in kept:
        path.unlink()
    until_sync(lambda: seen(OPERATOR) == {401}, what="nobody to get in")
    assert seen(None) == {401}
    for path, content in kept.items():
        path.write_bytes(content)
    until_sync(lambda: seen(OPERATOR) == {200}, what="the operator to get in again")
    users.up()
    assert seen(OPERATOR) == {200}
    for client in clients:
        client.close()
