"""Names and paths that two programs could read differently: a clear 4xx, and nothing happens.

Sent as bytes over a socket, since no HTTP client writes most of them.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from model_deployment.core.names import RESERVED_NAMES
from tests.support import audit
from tests.support.filled_registry import HOSTILE_NAMES
from tests.support.harness import HOST, Controller
from tests.support.tools import PROBLEM


def corpus(name: str) -> list[str]:
    """Paths, one a line. Read as Latin-1: a character for each byte, and each is sent as it is."""
    return (Path(__file__).parents[1] / "corpus" / name).read_text(encoding="latin-1").splitlines()


VERSIONS = (
    "0", "01", "1_0", " 1", "1 ", "-1", "+1", "1.0", "1e0", "\uff11", "\u00b9", "0x1", "latest",
    "champion", "1\n", "1\x00", "1000000000", "9" * 400, "None", "true",
)  # fmt: skip

#: What leads to the same place by another way, if it is read kindly enough.
DETOURS = corpus("detours_to_deploy.txt")

#: The same for the ways to a model that is deployed.
WAYS = corpus("ways_to_a_model.txt")

#: Not HTTP, or not unmistakably so. ``{}`` is the path.
REQUESTS = (
    "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
    "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1_0\r\n\r\n",
    "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST {} HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "POST {} extra HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST\t{}\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST {} HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "POST {}\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST {}\x7f HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
HEADERS = "Host: localhost\r\nContent-Length: 0\r\nConnection: close\r\n"


@pytest.fixture
def controller(controller_with_proxies: Controller) -> Controller:
    """Callers reach proxies, and never the controller itself."""
    return controller_with_proxies


@pytest.fixture
def untouched(controller: Controller) -> Iterator[Controller]:
    """A controller on which nothing may have been started, noted down or stopped."""
    controller.deploy("stub-2")
    before = audit.read_state(controller.state_db), controller.processes()
    yield controller
    assert (audit.read_state(controller.state_db), controller.processes()) == before
    assert controller.get("/health") == {"status": "ok"}


def send(controller: Controller, data: bytes) -> tuple[int, str, bytes]:
    """Send bytes as they are; status, media type and body of the answer (0 if there is none)."""
    answer = b""
    with socket.create_connection((HOST, controller.port), timeout=10) as connection:
        connection.sendall(data)
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    status = int(lines[0].split()[1]) if answer else 0
    return status, headers.get("content-type", ""), body


def refused(controller: Controller, path: str, method: str = "POST") -> int:
    """Ask for a path; the status of the refusal, which is a proper problem."""
    # One byte for each character: what is not ASCII goes out raw.
    request = f"{method} {path} HTTP/1.1\r\n{HEADERS}\r\n"
    status, media_type, body = send(controller, request.encode("latin-1"))
    assert 400 <= status < 500, (path, status, body)
    if b"Invalid HTTP request" not in body:  # said by the server, to which this is no request
        assert media_type == PROBLEM, (path, media_type)
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["detail"].startswith("cannot "), path
        assert problem["detail"].isprintable(), path
    return status


def test_names_that_mlflow_takes_and_we_do_not(untouched: Controller) -> None:
    for name in HOSTILE_NAMES:
        segment = quote(name, safe="@")
        for path, method in (
            (f"/deploy/{segment}/1", "POST"),
            (f"/undeploy/{segment}-1", "POST"),
            (f"/model/{segment}-1", "GET"),
            (f"/get_model_version_list/{segment}", "GET"),
        ):
            status = refused(untouched, path, method)
            # A control character, even if it is encoded, is no way to write a path. A name that is
            # reserved today may have been deployed before, so it is looked for.
            meant = 404 if name.lower() in RESERVED_NAMES and segment + "-1" in path else 422
            assert status == (400 if {"\n", "\x00", "\x1b"} & set(name) else meant), path


def test_versions_that_mlflow_takes_and_we_do_not(untouched: Controller) -> None:
    for version in VERSIONS:
        refused(untouched, f"/deploy/stub/{quote(version, safe='')}")
        refused(untouched, f"/undeploy/stub-{quote(version, safe='')}")


def test_a_name_is_told_from_its_version_at_the_last_hyphen(untouched: Controller) -> None:
    # a-b version 1, and never a version b-1
    assert refused(untouched, "/deploy/stub/b-1") == 422
    assert refused(untouched, "/stub-b-2") == 404
    assert refused(untouched, "/undeploy/stub-b") == 422


def test_detours_to_deploy(untouched: Controller) -> None:
    for path in DETOURS:
        refused(untouched, path)


def test_detours_to_a_model(controller: Controller) -> None:
    controller.deploy("stub-1")
    before = controller.processes()
    for path in WAYS:
        for method in ("POST", "GET"):
            refused(controller, path, method)
    assert controller.processes() == before
    assert controller.predict("stub-1").status_code == 200


def test_requests_that_are_no_clear_http(untouched: Controller) -> None:
    for request in REQUESTS:
        data = request.format("/deploy/stub/1").encode("latin-1")
        status, _, body = send(untouched, data)
        assert status == 0 or 400 <= status < 500, (request, status, body)


@pytest.mark.parametrize("target", ["*", "stub-1", ""])
def test_targets_that_are_no_path(untouched: Controller, target: str) -> None:
    request = f"POST {target} HTTP/1.1\r\n{HEADERS}\r\n"
    status, _, body = send(untouched, request.encode())
    assert status == 0 or 400 <= status < 500, (status, body)


def test_a_request_with_two_lengths_is_not_two_requests(untouched: Controller) -> None:
    inner = f"POST /deploy/stub/1?wait=0 HTTP/1.1\r\n{HEADERS}\r\n"
    outer = (
        "GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Length: {len(inner) + 5}\r\n\r\n0\r\n\r\n{inner}"
    )
    status, _, body = send(untouched, outer.encode())
    assert (status, body.count(b"HTTP/1.1")) == (400, 0)
