"""Devices through a real nginx: their sockets, their paths, and that their tokens open nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.core.users import Role
from tests.support.nginx_gateway import AS, Gateway, credentials
from tests.support.raw_http import HOST
from tests.support.socket_front import TOKEN, SocketFront
from tests.support.stubs import Answer
from tests.support.waiting import until

DEVICE = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer mdd_" + "B" * 43}


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[SocketFront]:
    """A proxy and a controller's API, with users."""
    async with SocketFront(tmp_path, users=credentials(tmp_path / "credentials")) as it:
        yield it


@pytest.fixture
async def gateway(front: SocketFront, tmp_path: Path) -> AsyncIterator[Gateway]:
    it = Gateway(tmp_path / "gateway", f"{HOST}:{front.port}", credentials=tmp_path / "credentials")
    it.folder.mkdir(exist_ok=True)
    await asyncio.to_thread(it.start)
    yield it
    await asyncio.to_thread(it.end)
    assert "[alert]" not in it.errors()
    assert "[emerg]" not in it.errors()


def socket_of(
    gateway: Gateway, headers: Mapping[str, str] = DEVICE, path: str = "/ws/camera-7"
) -> connect:
    """The socket of a device, to be opened."""
    return connect(
        f"ws://{HOST}:{gateway.port}{path}",
        additional_headers=headers,
        proxy=None,
        ping_interval=None,
        max_size=None,
    )


async def ask(
    gateway: Gateway, method: str, path: str, headers: Mapping[str, str] = {}, body: object = None
) -> Answer:
    return await asyncio.to_thread(gateway.ask, method, path, headers, body)


def concrete(template: str) -> str:
    """A path of a route, of the device's own project where there is one."""
    named = {
        "{project}": "halls", "{client_id}": "camera-7", "{device}": "camera-7", "{sha256}": "0" * 64,
        "{number}": "3", "{file:path}": "model/MLmodel", "{path:path}": "x.js", "{file}": "x.js",
        "{model}": "iris", "{version}": "1", "{name}": "iris-1",
    }  # fmt: skip
    for parameter, value in named.items():
        template = template.replace(parameter, value)
    return re.sub(r"\{\w+\}", "x", template)


async def test_socket_goes_through(front: SocketFront, gateway: Gateway) -> None:
    large = "x" * 1024 * 1024
    async with socket_of(gateway) as device:
        for text in ("hello", large, "end"):
            await device.send(text)
            if text != "end":
                assert await device.recv() == text
        await device.wait_closed()
        assert (device.close_code, device.close_reason) == (4400, "ended")
    [scope] = front.api.scopes
    assert scope["client"][0] == HOST
    await until(lambda: len(front.tunnels) == 0)


async def test_many_sockets_of_one_address_go_through(front: SocketFront, gateway: Gateway) -> None:
    """More than an address may have requests under way: a site has one address."""
    front.tunnels._most = 1000
    opened: list[ClientConnection] = await asyncio.gather(*(socket_of(gateway) for _ in range(300)))
    for device in opened:
        await device.send("x")
        assert await device.recv() == "x"
    await asyncio.gather(*(device.close() for device in opened))


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        (WRONG, "/ws/camera-7", 401),
        ({}, "/ws/camera-7", 401),
        (AS["operator"], "/ws/camera-7", 403),
        (AS["caller"], "/ws/camera-7", 403),
        (DEVICE, "/ws/camera-8", 403),
        ({**DEVICE, "Origin": "http://evil.example"}, "/ws/camera-7", 403),
    ],
)
async def test_socket_is_refused_with_the_status_that_says_why(
    front: SocketFront, gateway: Gateway, headers: Mapping[str, str], path: str, status: int
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with socket_of(gateway, headers, path):
            pass
    assert caught.value.response.status_code == status
    assert caught.value.response.headers["Content-Type"] == "application/problem+json"
    assert front.api.scopes == []


async def test_plain_get_of_a_socket_is_told_to_upgrade(gateway: Gateway) -> None:
    for headers in ({}, {"Upgrade": "h2c", "Connection": "Upgrade"}):
        answer = await ask(gateway, "GET", "/ws/camera-7", {**DEVICE, **headers})
        assert answer.status == 426


async def test_upgrade_elsewhere_is_not_passed_on(front: SocketFront, gateway: Gateway) -> None:
    offer = {"Upgrade": "websocket", "Connection": "Upgrade", **DEVICE}
    assert (await ask(gateway, "GET", "/halls/activeModel", offer)).status == 200
    [scope] = front.api.scopes
    assert scope["type"] == "http"
    assert b"upgrade" not in dict(scope["headers"])


async def test_token_of_a_device_opens_the_paths_of_its_project_and_nothing_else(
    front: SocketFront, gateway: Gateway
) -> None:
    for (method, template), policy in POLICIES.items():
        path = concrete(template)
        if method == SOCKET:
            continue
        front.api.scopes.clear()
        answer = await ask(gateway, method, path, DEVICE)
        case = f"{method} {path}: {answer.status}"
        if policy.role in (None, Role.DEVICE):
            assert answer.status == 200, case
        else:
            # Where the gateway checks passwords, a token is none.
            assert answer.status == (403 if policy.handler == "openai" else 401), case
            assert front.api.scopes == [], case
        if policy.role is Role.DEVICE:
            assert len(front.api.scopes) == 1, case
            other = await ask(gateway, method, path.replace("halls", "hall"), DEVICE)
            assert other.status == 403, case
            assert len(front.api.scopes) == 1, case


async def test_users_at_the_paths_of_devices(front: SocketFront, gateway: Gateway) -> None:
    for (method, template), policy in POLICIES.items():
        if policy.role is not Role.DEVICE or method == SOCKET:
            continue
        found = {
            who: (await ask(gateway, method, concrete(template), headers)).status
            for who, headers in {**AS, "wrong": WRONG, "nobody": {}}.items()
        }
        assert found == {"operator": 200, "caller": 403, "wrong": 401, "nobody": 401}, template


async def test_registration_needs_no_password_and_has_little_to_say(
    front: SocketFront, gateway: Gateway
) -> None:
    for path in ("/halls/registerDevice", "/projects/halls/registerDevice"):
        for headers in ({}, WRONG, DEVICE):
            assert (await ask(gateway, "POST", path, headers, b"{}")).status == 200
        front.api.scopes.clear()
        assert (await ask(gateway, "POST", path, {}, b"x" * 100_000)).status == 413
        assert front.api.scopes == []


async def test_registrations_of_one_address_come_slowly(gateway: Gateway) -> None:
    answers = await asyncio.gather(
        *(ask(gateway, "POST", "/halls/registerDevice", {}, b"{}") for _ in range(120))
    )
    refused = [answer for answer in answers if answer.status == 429]
    assert 30 <= len(refused) <= 80
    assert dict(refused[0].headers)["Retry-After"] == "1"


async def test_range_of_a_file_is_asked_of_the_controller(
    front: SocketFront, gateway: Gateway
) -> None:
    headers = {**DEVICE, "Range": "bytes=5-", "If-Range": '"abc"'}
    await ask(gateway, "GET", f"/halls/blobs/{'0' * 64}", headers)
    [scope] = front.api.scopes
    seen = dict(scope["headers"])
    assert (seen[b"range"], seen[b"if-range"]) == (b"bytes=5-", b'"abc"')


@pytest.mark.parametrize(
    "path",
    ["/v1/registerDevice", "/Model/registerDevice", "/ws/a/registerDevice",
     "/v1/activeModel", "/halls/activeModel/", "/halls/x/activeModel", "/ws", "/ws/", "/ws/a/b",
     "/WS/camera-7", "/halls/ws/camera-7"],
)  # fmt: skip
async def test_what_is_no_path_of_a_device_is_closed(
    front: SocketFront, gateway: Gateway, path: str
) -> None:
    for method in ("GET", "POST"):
        assert (await ask(gateway, method, path, DEVICE)).status in (401, 404)
        assert (await ask(gateway, method, path, AS["operator"])).status in (404, 405)
    assert front.api.scopes == []
