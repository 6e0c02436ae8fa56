"""The stub model server speaks MLflow's protocol, and starts and ends as its menu says."""

import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.stub_protocol import predictions
from tests.support.stubs import HOST, Stubs
from tests.support.waiting import until_sync


@pytest.fixture
def stubs(tmp_path: Path) -> Iterator[Stubs]:
    with Stubs(tmp_path) as stubs:
        yield stubs


def test_speaks_the_scoring_protocol(stubs: Stubs) -> None:
    stub = stubs.serve()
    for path in ("/ping", "/health"):
        answer = stub.get(path)
        assert (answer.status, answer.body) == (200, b"\n")
        assert ("content-type", "application/json") in answer.headers
    assert stub.get("/version").status == 200
    assert stub.predict(inputs=[1, 2]).json == {
        "predictions": [1, 2],
        "model": "diabetes-1",
        "pid": stub.pid,
        "launch": f"{stub.instance}/launch",
    }
    assert stub.get("/elsewhere").status == 404
    assert stub.get("/invocations").status == 405


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"instances": [[1], [2]]}, [[1], [2]]),
        ({"inputs": ["a"]}, ["a"]),
        ({"dataframe_records": [{"x": 5}, {"y": 6}]}, [5, 0]),
        ({"dataframe_split": {"columns": ["y", "x"], "data": [[1, 2], [3, 4]]}}, [2, 4]),
        ({"dataframe_split": {"columns": ["y"], "data": [[1], [3]]}}, [0, 0]),
        ({"inputs": {"x": [1]}}, [0]),
        ([1, 2], [0]),
    ],
)
def test_predicts_one_value_per_row(body: Any, expected: list[Any]) -> None:
    assert predictions(json.dumps(body).encode()) == expected


@pytest.mark.parametrize("body", [b"", b"x,y\n1,2\n", b"[" * 100_000])
def test_predicts_zero_for_what_it_cannot_read(body: bytes) -> None:
    assert predictions(body) == [0]


def test_reads_chunked_bodies_and_tells_what_it_got(stubs: Stubs) -> None:
    stub = stubs.serve(echo_headers=True)
    pieces = iter([b'{"inputs":', b"[7]}"])
    echo = stub.ask("POST", "/invocations?a=%20b", pieces, headers={"X-Twice": "1"}).json
    assert echo["predictions"] == [7]
    assert (echo["method"], echo["path"]) == ("POST", "/invocations?a=%20b")
    assert echo["body_length"] == 14
    assert ["X-Twice", "1"] in echo["headers"]


def test_continues_when_expected_to(stubs: Stubs) -> None:
    stub = stubs.serve()
    head = b"POST /invocations HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n"
    with stub.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(head)
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        connection.sendall(b'{"inputs":[7]}')
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"


def test_keeps_hundreds_of_connections_alive(stubs: Stubs) -> None:
    stub = stubs.serve()
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(
                contextlib.closing(http.client.HTTPConnection(HOST, stub.port, timeout=5))
            )
            for _ in range(300)
        ]
        for turn in range(2):
            for number, connection in enumerate(connections):
                connection.request("POST", "/invocations", json.dumps({"inputs": [turn, number]}))
            for number, connection in enumerate(connections):
                answer = json.loads(connection.getresponse().read())
                assert answer["predictions"] == [turn, number]
                assert connection.sock is not None, "the stub hung up"


def test_hangs_up_when_asked_to(stubs: Stubs) -> None:
    stub = stubs.serve()
    with stub.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert stream.read().endswith(b"\r\n\r\n\n")


def test_ends_on_sigterm_also_while_it_loads_or_hangs(stubs: Stubs) -> None:
    loading = stubs.launch(load_seconds=1000)
    until_sync(lambda: loading.logged("loading"), what="loading")
    hanging = stubs.serve(hang_on_request=True)
    with pytest.raises(TimeoutError):
        hanging.predict(timeout=0.05)
    for stub in (stubs.serve(), loading, hanging):
        stub.process.terminate()
        assert stub.ended() == 0


def test_refuses_a_port_in_use_and_an_unknown_fault(stubs: Stubs) -> None:
    with socket.socket() as stranger:
        stub = stubs.launch(load_seconds=0.2)
        stranger.bind((HOST, stub.port))
        stranger.listen()
        assert stub.ended() == 1
    assert stub.logged("Address already in use")
    for misspelt in ({"never_redy": True}, {"die_on_request": "quietly"}):
        stub = stubs.launch(**misspelt)
        assert stub.ended() == 1
        assert not stub.logged("loading")


def test_load_seconds(stubs: Stubs) -> None:
    began = time.monotonic()
    stubs.serve(load_seconds=0.2)
    assert time.monotonic() - began >= 0.2


def test_never_ready(stubs: Stubs) -> None:
    stub = stubs.launch(never_ready=True)
    until_sync(lambda: stub.logged("loading"), what="loading")
    with pytest.raises(AssertionError, match="waited"):
        until_sync(stub.listens, timeout=0.1)
    assert stub.process.poll() is None


def test_exit_at_start(stubs: Stubs) -> None:
    for code in (0, 17):
        stub = stubs.launch(exit_at_start=code)
        assert stub.ended() == code
        assert stub.log.read_text().splitlines()[-1] == "stub: cannot load model"


def test_flaky_start_file(stubs: Stubs, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    assert stubs.launch(flaky_start_file=str(flag)).ended() == 3
    flag.unlink()
    assert stubs.serve(flaky_start_file=str(flag)).get("/ping").status == 200


def test_exit_after_seconds(stubs: Stubs) -> None:
    stub = stubs.launch(exit_after_seconds=0.05)
    assert stub.ended() == 4
    assert stub.logged("listening")


def test_wrapper_starts_the_server_as_a_child_in_its_group(stubs: Stubs) -> None:
    stub = stubs.serve(wrapper=True)
    server = stub.predict().json["pid"]
    assert {process.pid: process.pgid for process in stub.marked()} == {
        stub.pid: stub.pid,
        server: stub.pid,
    }
    stub.process.terminate()
    assert stub.ended() == -signal.SIGTERM
    assert stub.predict().json["pid"] == server


def test_ignore_sigterm(stubs: Stubs) -> None:
    stub = stubs.serve(ignore_sigterm=True)
    stub.process.terminate()
    assert stub.get("/ping").status == 200
    stub.process.kill()
    assert stub.ended() == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["plain", "setsid", "double"])
def test_fork_grandchild(stubs: Stubs, kind: str) -> None:
    stub = stubs.serve(fork_grandchild=kind)
    (sleeper,) = [process for process in stub.marked() if process.cmdline == "sleep 1000"]
    assert sleeper.pgid == (stub.pid if kind == "plain" else sleeper.pid)
    assert (psutil.Process(sleeper.pid).ppid() == stub.pid) == (kind != "double")
    stub.process.terminate()
    stub.ended()
    assert stub.marked() == [sleeper]


def test_stop_on_start(stubs: Stubs) -> None:
    stub = stubs.serve(stop_on_start=True)
    assert stub.get("/ping").status == 200
    process = psutil.Process(stub.pid)
    until_sync(lambda: process.status() == psutil.STATUS_STOPPED, what="SIGSTOP")
    stub.process.send_signal(signal.SIGCONT)
    assert stub.get("/ping").status == 200
    assert stub.get("/ping").status == 200
