"""The local port, commands and the program of the device's owner, on one agent."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model_deployment_agent import cli

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice
from tests.support.waiting import until_sync

HOOK = """#!/bin/sh
echo "$1=$2" >> "$(dirname "$0")/told"
case "$1" in
    fails) echo "no lamp here" >&2; exit 3 ;;
    hangs) sleep 60 ;;
    leaves) echo "a program in the background"; sleep 5 & ;;
esac
"""


@pytest.fixture(scope="module")
def edge() -> Iterator[EdgeController]:
    with EdgeController() as controller:
        yield controller


@pytest.fixture(scope="module")
def served(edge: EdgeController, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeDevice]:
    """A device that serves release 1, with a program for commands."""
    folder = tmp_path_factory.mktemp("local")
    hook = folder / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    edge.want(edge.signer.release(1))
    device = EdgeDevice(folder / "device", edge)
    device.enrol("--attribute", "place=hall 3")
    device.start(
        "--watch", 0.2, "--on-command", hook, "--command-seconds", 1, "--capture-rate", 1,
        "--max-body", 64,
    )  # fmt: skip
    try:
        device.until_running(1)
        yield device
    finally:
        device.stop()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["b", "a", "more"], "data": [[2, 1, "x"], [4, 3, None]]}},
        {"dataframe_records": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]},
        {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
    ],
)
def test_predictions_in_all_forms(served: EdgeDevice, body: Any) -> None:
    assert served.ask("POST", "/invocations", body) == (200, {"predictions": [3.5, 7.5]})


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "detail"),
    [
        ("POST", "/invocations", b"{", {}, 400, "it is not JSON"),
        ("POST", "/invocations", {"inputs": {"a": [1]}}, {}, 400, "the columns b are missing"),
        (
            "POST",
            "/invocations",
            {"inputs": {"a": ["x"], "b": [1]}},
            {},
            400,
            "'a' has to be float32",
        ),
        ("POST", "/invocations", {"inputs": [[1, 2]]}, {}, 400, "takes named columns (a, b)"),
        ("POST", "/invocations", b"a=1", {"Content-Type": "text/plain"}, 415, "application/json"),
        ("POST", "/invocations", b" " * 70_000, {}, 413, "more than 65,536 bytes"),
        ("POST", "/invocations", b" " * 20_000_000, {}, 413, "more than 65,536 bytes"),
        ("GET", "/invocations", None, {}, 405, "cannot GET /invocations"),
        ("GET", "/other", None, {}, 404, "there are POST /invocations"),
        ("GET", "/health", None, {"Host": "attacker.example"}, 421, "call 127.0.0.1 or localhost"),
        ("GET", "/health", None, {"X-Long": "x" * 20_000}, 431, "the headers have more than"),
    ],
)
def test_errors_are_problems_in_words(
    served: EdgeDevice,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
    detail: str,
) -> None:
    found = served.ask(method, path, body, headers)
    assert found[0] == status
    assert detail in found[1]["detail"]
    assert found[1]["status"] == status


def test_a_connection_is_kept_for_many_requests(served: EdgeDevice) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/health")
        first = connection.sock
        answer = connection.getresponse()
        assert json.loads(answer.read()) == {"status": "ok", "release": 1}
        assert connection.sock is first
    connection.request("GET", "/other", headers={"Connection": "close"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.headers["Connection"] == "close"
    connection.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/3\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"\xff\xfe\x00" * 10 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_by_an_error_and_the_end(
    served: EdgeDevice, raw: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 411 "))
    assert answer.count(b"HTTP/1.1 4") == 1


def test_status_says_what_there_is(served: EdgeDevice) -> None:
    found = served.status()
    assert (found["device"], found["project"], found["agent"]) == ("camera-7", "hall", "0.1.0")
    assert found["link"]["state"] == "connected"
    assert {name: found["serving"][name] for name in ("release", "model", "version", "form")} == {
        "release": 1, "model": "wear", "version": 1, "form": "onnx",
    }  # fmt: skip
    shown = served.command("status", "--folder", served.folder, "--port", served.port)
    assert json.loads(shown)["serving"]["release"] == 1
    assert "does it run?" in served.command(
        "status", "--folder", served.folder, "--port", 1, status=1
    )


def test_commands_are_stored_and_told(edge: EdgeController, served: EdgeDevice) -> None:
    told = served.folder.parent / "told"
    values = {
        "dark": True,
        "text": '$(touch x); ü "quoted"',
        "fails": 1,
        "hangs": None,
        "list": [1, {"a": 2}],
        "leaves": 0,
    }
    for number, (name, value) in enumerate(values.items(), start=1):
        edge.command(number, name, value)
    until_sync(lambda: len(edge.messages("answer")) == len(values), timeout=60)
    answers = {one["id"]: (one["ok"], one["detail"]) for one in edge.messages("answer")}
    assert [answers[number][0] for number in range(1, 7)] == [
        True, True, False, False, True, True,
    ]  # fmt: skip
    assert answers[3][1] == "no lamp here"
    assert "did not end within 1 s" in answers[4][1]
    assert answers[6][1] == "a program in the background"
    lines = told.read_text().splitlines()
    assert lines == [f"{name}={json.dumps(value)}" for name, value in values.items()]
    assert json.loads((served.folder / "values.json").read_text()) == values
    assert served.status()["values"] == values
    assert not list(served.folder.parent.rglob("x"))
    edge.reconnect()  # they are told again, and not done again
    until_sync(lambda: served.status()["link"]["state"] == "connected")
    assert told.read_text().splitlines() == lines
    assert len(edge.messages("answer")) == len(values)


def test_captures_and_lines_come_to_the_controller(
    edge: EdgeController, served: EdgeDevice
) -> None:
    served.predict([11.0, 2.0])

    def captured() -> list[Any]:
        found = [one for data in edge.messages("captures") for one in data["captures"]]
        return [one for one in found if one["rows"] == [[11.0, 2.0]]]

    (capture,) = until_sync(captured, timeout=60)
    assert (capture["columns"], capture["predictions"]) == (["a", "b"], [13.5])
    assert (capture["release"], capture["model"], capture["version"]) == (1, "wear", 1)
    lines = [line["text"] for data in edge.messages("log") for line in data["lines"]]
    assert any("release 1 serves (wear 1, onnx)" in line for line in lines)
    assert not any(edge.token in line for line in lines)


def test_the_token_is_for_its_owner_only(edge: EdgeController, served: EdgeDevice) -> None:
    assert (served.folder / "token").stat().st_mode & 0o777 == 0o600
    assert edge.token not in served.log()
    assert edge.token not in json.dumps(served.status())


def test_one_agent_uses_a_folder(served: EdgeDevice) -> None:
    said = served.command("run", "--folder", served.folder, "--port", 1, status=1)
    assert "another agent runs there" in said


def test_enrolment_says_what_is_wrong(
    edge: EdgeController, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = edge.code()
    other = good.rpartition(".")[0] + ".0123456789abcdef"
    edge.codes.add(other)
    token = edge.token
    cases = {
        ("http://192.0.2.1", "hall", good): "use https, or say --insecure",
        ("ftp://127.0.0.1", "hall", good): "it has to be like https://",
        ("http://127.0.0.1:1", "hall", good): "cannot reach the controller at 127.0.0.1",
        (edge.url, "hall", "mdc_short"): "the code is not whole",
        (edge.url, "a/b", good): "the project name 'a/b' may have",
        (edge.url, "hall", "mdc_" + "x" * 43 + "." + edge.signer.id): "the code is not good",
        (edge.url, "hall", other): "check the address, and whether someone is between",
    }
    for arguments, reason in cases.items():
        assert cli.run(["enrol", *arguments, "--folder", str(tmp_path / "new")]) == 1
        assert reason in capsys.readouterr().err
        assert not (tmp_path / "new" / "agent.json").exists()
    assert cli.run(["run", "--folder", str(tmp_path / "new")]) == 1
    assert "the device is not enrolled" in capsys.readouterr().err
    edge.token = token
