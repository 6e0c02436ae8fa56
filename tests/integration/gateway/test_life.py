"""Starting, changing and ending it, and what becomes of requests meanwhile."""

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.gateway.conftest import Gateways
from tests.support.dns import Dns
from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, Gateway, basic, certificates, credentials, htpasswd
from tests.support.ports import free_port
from tests.support.stubs import HOST
from tests.support.tools import PROBLEM
from tests.support.waiting import until_sync


@pytest.fixture
def own_echo() -> Iterator[Echo]:
    it = Echo()
    it.start()
    yield it
    it.stop()


def test_passwords_change_without_a_reload(gateways: Gateways, tmp_path: Path) -> None:
    gateway = gateways(credentials=(folder := credentials(tmp_path / "credentials")))
    new = basic("new", "pw")
    assert gateway.ask("GET", "/version", new).status == 401

    def replace(role: str, text: str) -> None:
        (folder / "next").write_text(text)
        (folder / "next").rename(folder / f"{role}.htpasswd")

    replace("callers", htpasswd("new", "pw"))
    assert gateway.ask("GET", "/version", new).status == 200
    assert gateway.ask("GET", "/version", AS["caller"]).status == 401
    assert gateway.ask("POST", "/deploy/m/1", new).status == 403
    replace("operators", htpasswd("new", "pw"))
    assert gateway.ask("POST", "/deploy/m/1", new).status == 200


def test_without_its_passwords_it_lets_nobody_in(
    gateways: Gateways, tmp_path: Path, echo: Echo
) -> None:
    gateway = gateways(credentials=(folder := credentials(tmp_path / "credentials")))
    (folder / "operators.htpasswd").unlink()
    assert gateway.ask("POST", "/deploy/m/1", AS["operator"]).status in (403, 500)
    (folder / "callers.htpasswd").unlink()
    assert gateway.ask("GET", "/version", AS["operator"]).status in (403, 500)
    assert gateway.ask("GET", "/version").status in (401, 403, 500)
    assert echo.seen == []
    assert gateway.ask("GET", "/health").status == 200


def test_the_controller_goes_and_comes_back(gateways: Gateways, own_echo: Echo) -> None:
    gateway = gateways(controller=own_echo.address)
    assert gateway.ask("GET", "/version", AS["caller"]).status == 200
    own_echo.stop()
    for _ in range(3):
        answer = gateway.ask("POST", "/m-1", AS["caller"], b"x")
        headers = dict(answer.headers)
        assert (answer.status, headers["Content-Type"]) == (502, PROBLEM)
        assert json.loads(answer.body)["status"] == 502
        assert headers["Retry-After"] == "1"
    own_echo.start()
    assert gateway.ask("POST", "/m-1", AS["caller"], b"x").status == 200


def test_a_request_that_breaks_off_is_not_sent_again(gateways: Gateways, own_echo: Echo) -> None:
    gateway = gateways(controller=own_echo.address)
    with ThreadPoolExecutor(1) as pool:
        hold = {**AS["caller"], "X-Do": "hold", "Connection": "close"}
        asked = pool.submit(gateway.ask, "GET", "/version", hold)
        until_sync(lambda: own_echo.seen, what="the request on its way")
        own_echo.drop()
        assert asked.result().status == 502
    assert own_echo.paths() == ["/version"]


@pytest.mark.parametrize(
    ("who", "path", "more"),
    [
        ("operator", "/model/m-1/dataset", {}),
        ("caller", "/model/m-1/degradation_report", {}),
        ("caller", "/model/m-1/events", {"asked": "no"}),
    ],
)
def test_streams_are_passed_on_at_once(
    gateway: Gateway, echo: Echo, who: str, path: str, more: dict[str, str]
) -> None:
    connection = http.client.HTTPConnection(HOST, gateway.port, timeout=15)
    # Where the gateway does not know that it is a stream, the answer says so.
    do = "stream, X-Accel-Buffering" if more else "stream"
    with contextlib.closing(connection):
        connection.request("GET", path, headers={**AS[who], "X-Do": do})
        response = connection.getresponse()
        assert response.read1() == b"first\n"
        echo.release()
        assert json.loads(response.read())["path"] == path


def test_a_reload_loses_nothing(gateways: Gateways, echo: Echo) -> None:
    gateway = gateways()
    over = threading.Event()

    def ask_on(number: int) -> list[int]:
        got: list[int] = []
        while not over.is_set() or len(got) < 20:
            headers = {**AS["caller"], "X-Request-Id": f"{number}.{len(got)}"}
            got.append(gateway.ask("POST", "/m-1", headers, b"x").status)
        return got

    with ThreadPoolExecutor(5) as pool:
        held = pool.submit(gateway.ask, "POST", "/m-2", {**AS["caller"], "X-Do": "hold"})
        until_sync(lambda: "/m-2" in echo.paths())
        asking = [pool.submit(ask_on, number) for number in range(4)]
        for _ in range(5):
            gateway.reload()
        over.set()
        got = [status for one in asking for status in one.result()]
        assert {*got} == {200}
        echo.release()
        assert held.result().status == 200
    names = [
        name for seen in echo.seen for name in seen.header("x-request-id") if seen.path == "/m-1"
    ]
    assert len(names) == len({*names}) == len(got)


def test_it_ends_when_requests_have(gateways: Gateways, echo: Echo) -> None:
    gateway = gateways()
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(gateway.ask, "POST", "/m-1", {**AS["caller"], "X-Do": "hold"})
        until_sync(lambda: echo.seen)
        ended = pool.submit(gateway.stop, signal.SIGQUIT)
        until_sync(lambda: _refuses(gateway), what="no new connections")
        echo.release()
        assert held.result().status == 200
        assert ended.result() == 0


def _refuses(gateway: Gateway) -> bool:
    try:
        gateway.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_follows_the_controllers_name(gateways: Gateways) -> None:
    """As when its container is made anew, and gets another address."""
    first = Echo()
    first.start()
    second = Echo("127.0.0.2", first.port)
    second.start()
    dns = Dns(first.host)
    try:
        gateway = gateways(controller=f"controller.test:{first.port}", RESOLVER=dns.place)
        assert gateway.ask("POST", "/m-1", AS["caller"], b"x").status == 200
        assert len(first.seen) == 1
        first.stop()
        dns.address = second.host
        until_sync(
            lambda: gateway.ask("POST", "/deploy/m/1?wait=0", AS["operator"]).status == 200,
            what="the new address",
        )
        assert [(seen.path, seen.query) for seen in second.seen] == [("/deploy/m/1", "wait=0")]
    finally:
        dns.close()
        first.stop()
        second.stop()


def refusal(folder: Path, **environment: str) -> str:
    """What start.sh says when it refuses to start."""
    folder.mkdir(exist_ok=True)
    passwords = folder / "credentials"
    if not passwords.exists():
        credentials(passwords)
    gateway = Gateway(folder, f"{HOST}:1", credentials=passwords, certificates=None, **environment)
    assert gateway.launch().wait(10) == 1
    return gateway.errors()


def test_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    good = certificates(tmp_path / "certificates")
    for name in ("operators", "callers"):
        folder = tmp_path / name
        folder.mkdir()
        (credentials(folder / "credentials") / f"{name}.htpasswd").unlink()
        assert "model-deployment users init" in refusal(folder)
        (folder / "credentials" / f"{name}.htpasswd").touch()
        assert "is empty" in refusal(folder)
    for name, gone in (("half", "tls.key"), ("other", "tls.crt")):
        folder = certificates(tmp_path / name)
        (folder / gone).unlink()
        assert "TLS needs both" in refusal(tmp_path / f"x-{name}", CERTIFICATES=str(folder))
    (good / "tls.key").write_text("")
    assert "tls.key is empty" in refusal(tmp_path / "y", CERTIFICATES=str(good))
    (tmp_path / "file").touch()
    for number, (name, value) in enumerate(
        {
            "CONTROLLER": "controller",
            "HTTP_PORT": "80; include x",
            "HTTPS_PORT": "x",
            "CONNECTIONS_PER_ADDRESS": "0",
            "BODY_TIMEOUT": "1; include x",
            "HEADER_TIMEOUT": "1\n2",
            "RESOLVER": "127.0.0.1; include x",
            "GATEWAY_RUN": str(tmp_path / "file"),
        }.items()
    ):
        said = refusal(tmp_path / str(number), **{name: value})
        assert "cannot start the gateway: " in said
        assert name in said


def test_it_says_when_its_port_is_taken(gateway: Gateway, tmp_path: Path) -> None:
    said = refusal(tmp_path / "second", HTTP_PORT=f"{HOST}:{gateway.port}")
    assert "Address already in use" in said


def test_it_listens_on_every_address_by_default(gateways: Gateways) -> None:
    port = free_port()
    gateway = gateways(HTTP_PORT=str(port))
    assert gateway.port == port
    connection = http.client.HTTPConnection("127.0.0.3", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200


@pytest.mark.parametrize(
    ("version", "controller", "tls", "expected"),
    [
        (
            "1.22.0",
            "controller:8000",
            True,
            {"default controller:8000;", "ssl http2 default_server"},
        ),
        ("1.24.0", "[::1]:8000", False, {"server [::1]:8000 max_fails=0;", "keepalive 64;"}),
        ("1.25.5", "localhost:8000", True, {"server 127.0.0.1:8000 max_fails=0;", "http2 on;"}),
        ("1.27.3", "controller:8000", True, {"server controller:8000 resolve", "http2 on;"}),
        ("1.31.0", "controller:8000", False, {"zone controller 64k;", "resolver 127.0.0.11 valid"}),
    ],
)
def test_what_it_writes_for_other_versions(
    tmp_path: Path, version: str, controller: str, tls: bool, expected: set[str]
) -> None:
    program = tmp_path / "bin" / "nginx"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" != -v ] || echo "nginx version: nginx/{version}" >&2\n')
    program.chmod(0o755)
    gateway = Gateway(
        tmp_path,
        controller,
        credentials=credentials(tmp_path / "credentials"),
        certificates=certificates(tmp_path / "certificates") if tls else None,
        PATH=f"{program.parent}:{os.defpath}",
        RESOLVER="127.0.0.11",
    )
    assert gateway.launch().wait(10) == 0, gateway.errors()
    written = "".join(path.read_text() for path in (tmp_path / "run").glob("run-*.conf"))
    assert {text for text in expected if text not in written} == set()


def test_a_log_that_cannot_be_opened_by_name(tmp_path: Path, echo: Echo) -> None:
    """As under systemd, where standard output is a socket."""
    gateway = Gateway(
        tmp_path / "gateway", echo.address, credentials=credentials(tmp_path / "credentials")
    )
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("r") as lines:
        with theirs:
            gateway.start(stdout=theirs.fileno())
        try:
            gateway.ask("GET", "/before")
            assert json.loads(lines.readline())["path"] == "/before"
            gateway.reload()
            gateway.ask("GET", "/after")
            assert json.loads(lines.readline())["path"] == "/after"
            assert gateway.stop() == 0
            assert lines.read() == ""  # what passed it on is gone as well
        finally:
            gateway.end()


def test_an_nginx_that_is_too_old(tmp_path: Path) -> None:
    program = tmp_path / "nginx"
    program.write_text('#!/bin/sh\necho "nginx version: nginx/1.18.0 (Ubuntu)" >&2\n')
    program.chmod(0o755)
    assert "1.22 or newer" in refusal(tmp_path / "x", PATH=f"{tmp_path}:{os.defpath}")
