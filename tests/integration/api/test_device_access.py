"""Devices of a real controller behind real proxies: what a token opens, its socket, and kills."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.core.users import Role
from tests.integration.api.test_access_calls import concrete
from tests.support.controller_forks import ControllerForks
from tests.support.data_plane import proxies
from tests.support.harness import CALLER, TROUBLE, Controller, Controllers
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

PROJECT, OTHER = "halls", "rooms"


class Device:
    """A device that has registered."""

    def __init__(self, controller: Controller, name: str, project: str = PROJECT) -> None:
        self._controller = controller
        self.name = name
        code = controller.post(f"/{project}/enrolments", 201)["code"]
        answer = controller.call(
            "POST", f"/{project}/registerDevice", json={"code": code, "device": name}, auth=None
        )
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, **more: Any) -> Any:
        # Without the password of a user, which would take the place of the token.
        return self._controller.call(
            method, path, auth=_no_password, headers=self.headers | more.pop("headers", {}), **more
        )

    def connect(self, name: str = "") -> ClientConnection:
        opening = connect(
            f"ws://127.0.0.1:{self._controller.port}/ws/{name or self.name}",
            additional_headers=self.headers,
            proxy=None,
            open_timeout=10,
            close_timeout=5,
        )
        return opening.__enter__()

    def hello(self) -> ClientConnection:
        """A connection that was welcomed."""
        socket = self.connect()
        socket.send(
            json.dumps(
                {"type": "hello", "protocol": 1, "agent": "1.0.0", "stream": "s", "running": None}
            )
        )
        welcome = json.loads(socket.recv(10))
        assert welcome["type"] == "welcome", welcome
        assert welcome["device"] == self.name
        return socket

    def hello_again(self) -> ClientConnection:
        """A connection, once there is one to be had."""

        def again() -> ClientConnection:
            try:
                return self.hello()
            except (InvalidStatus, ConnectionClosed, EOFError) as error:
                raise ConnectionError(str(error)) from error

        return until_sync(again, timeout=30, what="a socket")


def _no_password(request: Any) -> Any:
    return request


def closed(socket: ClientConnection) -> int | None:
    """The code with which a connection was ended; None if it was cut."""
    with suppress(ConnectionClosed):
        while True:
            socket.recv(20)
    return socket.close_code if socket.close_code != 1006 else None


@pytest.fixture(scope="module")
def behind_proxies(
    tmp_path_factory: pytest.TempPathFactory, registry_uri: str, controller_forks: ControllerForks
) -> Iterator[Controller]:
    """A controller with users behind two proxies, with two projects, for all tests that leave it whole."""
    folder = tmp_path_factory.mktemp("behind_proxies")
    it = Controller(folder, registry_uri, forks=controller_forks, PROXIES=2).with_users().up()
    try:
        for project in (PROJECT, OTHER):
            it.post("/projects", 201, {"name": project, "models": ["stub"]})
        yield it
        assert it.terminate() == 0
        assert not [sign for sign in TROUBLE if sign in it.logged() + it.logged_by_proxies()]
    finally:
        it.destroy()


def test_token_opens_its_own_project_and_nothing_else(behind_proxies: Controller) -> None:
    controller = behind_proxies
    controller.deploy("stub-1")
    device = Device(controller, "camera-1")
    for (method, template), policy in POLICIES.items():
        if method == SOCKET:
            continue
        path = concrete(template)
        answer = device.call(method, path)
        case = f"{method} {path}: {answer.status_code}"
        if policy.role is Role.DEVICE:
            assert answer.status_code not in (401, 403), case
            other = device.call(method, path.replace(PROJECT, OTHER))
            assert check_problem(other)["status"] == 403, case
        elif policy.role is not None:
            assert answer.status_code == 403, case
            detail = answer.json().get("detail") or answer.json()["error"]["message"]
            assert detail.startswith("cannot "), case
    for path in ("/stub-1", "/stub-1/invocations", "/stub", "/v1/chat/completions"):
        assert device.call("POST", path, json={"instances": [1]}).status_code == 403, path
    assert controller.predict("stub-1").status_code == 200
    controller.undeploy("stub-1")


def test_users_at_the_paths_of_devices(behind_proxies: Controller) -> None:
    for (method, template), policy in POLICIES.items():
        if policy.role is not Role.DEVICE or method == SOCKET:
            continue
        path = concrete(template)
        assert behind_proxies.call(method, path).status_code not in (401, 403), path
        assert behind_proxies.call(method, path, auth=CALLER).status_code == 403, path
        assert behind_proxies.call(method, path, auth=None).status_code == 401, path


def test_token_that_is_revoked_or_replaced_is_out_at_once(behind_proxies: Controller) -> None:
    controller = behind_proxies
    for action in ("revoke", "rotate"):
        device = Device(controller, f"camera-to-{action}")
        with device.hello() as socket:
            assert device.call("GET", f"/{PROJECT}/activeModel").status_code == 200
            controller.post(f"/{PROJECT}/devices/{device.name}/{action}")
            assert closed(socket) == 4401
        assert device.call("GET", f"/{PROJECT}/activeModel").status_code == 401
        with pytest.raises(InvalidStatus, match="401"):
            device.connect()


def test_socket_is_for_the_device_of_its_token(behind_proxies: Controller) -> None:
    device, other = Device(behind_proxies, "camera-7"), Device(behind_proxies, "camera-8")
    for name, status in (("camera-8", 403), ("camera-9", 403), ("camera-7/x", 404)):
        with pytest.raises(InvalidStatus, match=str(status)):
            device.connect(name)
    # Whoever guesses tokens fills no log with errors.
    assert "handshake" not in behind_proxies.logged()
    with device.hello(), other.hello():
        answer = device.call("GET", "/ws/camera-7")
        assert check_problem(answer)["status"] == 426
        assert answer.headers["upgrade"] == "websocket"


def test_device_is_a_device_where_nobody_needs_a_password(controllers: Controllers) -> None:
    controller = controllers().up()
    for project in (PROJECT, OTHER):
        controller.post("/projects", 201, {"name": project, "models": ["stub"]})
    device = Device(controller, "camera-7")
    assert controller.get(f"/{PROJECT}/devices")
    assert device.call("GET", f"/{PROJECT}/devices").status_code == 403
    assert device.call("GET", f"/{OTHER}/activeModel").status_code == 403
    assert device.call("GET", f"/{PROJECT}/activeModel").status_code == 200
    assert device.call("POST", "/stub-1", json={}).status_code == 403
    device.token = "mdd_" + "x" * 43
    assert device.call("GET", "/ready").status_code == 401
    with device.__class__(controller, "camera-8").hello():
        pass


def test_devices_come_back_after_each_proxy_was_killed(behind_proxies: Controller) -> None:
    devices = [Device(behind_proxies, f"camera-2{number}") for number in range(6)]
    sockets = [device.hello() for device in devices]
    killed = proxies(behind_proxies)
    assert len(killed) == 2
    for process in killed:
        os.kill(process.pid, signal.SIGKILL)
    assert [closed(socket) for socket in sockets] == [None] * 6
    for device in devices:
        device.hello_again().close()


def test_devices_come_back_after_the_controller_was_killed(controllers: Controllers) -> None:
    controller = controllers(PROXIES=1, KEEP_MODELS="true").with_users().up()
    controller.post("/projects", 201, {"name": PROJECT, "models": ["stub"]})
    device = Device(controller, "camera-7")
    socket = device.hello()
    controller.kill()
    assert closed(socket) is None
    answer = device.call("GET", f"/{PROJECT}/activeModel")
    assert check_problem(answer)["status"] == 503
    with pytest.raises(InvalidStatus) as caught:
        device.connect()
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"]
    controller.up()
    device.hello_again().close()
    controller.settings["KEEP_MODELS"] = "false"
    controller.terminate()
    controller.up()


def test_devices_are_told_that_the_controller_ends(controllers: Controllers) -> None:
    controller = controllers(PROXIES=1).with_users().up()
    controller.post("/projects", 201, {"name": PROJECT, "models": ["stub"]})
    socket = Device(controller, "camera-7").hello()
    assert controller.terminate() == 0
    assert closed(socket) == 1012
