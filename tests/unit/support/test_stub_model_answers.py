"""The stub model server spoils its answers to predictions as its menu says."""

import contextlib
import http.client
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.stubs import HOST, Stubs


@pytest.fixture
def stubs(tmp_path: Path) -> Iterator[Stubs]:
    with Stubs(tmp_path) as stubs:
        yield stubs


def test_hang_on_request(stubs: Stubs) -> None:
    stub = stubs.serve(hang_on_request=True)
    with pytest.raises(TimeoutError):
        stub.predict(timeout=0.1)
    assert stub.get("/ping").status == 200


def test_wedge_file(stubs: Stubs, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    stub = stubs.serve(wedge_file=str(flag))
    assert stub.get("/ping").status == 200
    flag.touch()
    for path in ("/ping", "/version"):
        with pytest.raises(TimeoutError):
            stub.get(path, timeout=0.1)
    flag.unlink()
    assert stub.get("/ping").status == 200


def test_answers_as_ordered(stubs: Stubs) -> None:
    stub = stubs.serve(
        ping_status=503,
        status=418,
        body="no tea",
        response_headers={"Content-Type": "text/x", "Set-Cookie": ["a=1", "b=2"]},
    )
    assert stub.get("/ping").status == 503
    answer = stub.predict()
    assert (answer.status, answer.body) == (418, b"no tea")
    assert answer.headers == [
        ("content-length", "6"),
        ("Content-Type", "text/x"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
    ]


def test_timeout_504(stubs: Stubs) -> None:
    answer = stubs.serve(timeout_504=True).predict()
    assert (answer.status, answer.body) == (504, b"Request processing time exceeded limit")


def test_nan(stubs: Stubs) -> None:
    assert b'"predictions": [NaN, NaN], "model": "other"' in (
        stubs.serve(nan=True, name="other").predict(inputs=[1, 2]).body
    )


def test_slow_seconds(stubs: Stubs) -> None:
    stub = stubs.serve(slow_seconds=0.15)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda n: stub.predict(inputs=[n]).json, range(8)))
    assert [answer["predictions"] for answer in answers] == [[n] for n in range(8)]
    assert 0.15 <= time.monotonic() - began < 8 * 0.15


def test_stream_chunks(stubs: Stubs) -> None:
    stub = stubs.serve(stream_chunks=2, chunk_seconds=0.6)
    connection = http.client.HTTPConnection(HOST, stub.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("POST", "/invocations", b"{}")
        response = connection.getresponse()
        first = response.read1()
        began = time.monotonic()
        rest = response.read()
    assert first == b'{"predictions": [0'
    assert json.loads(first + rest) == {"predictions": [0, 1]}
    assert time.monotonic() - began > 0.1


def test_cut_body(stubs: Stubs) -> None:
    stub = stubs.serve(cut_body=True)
    with pytest.raises(http.client.IncompleteRead):
        stub.predict()
    assert stub.process.poll() is None


def test_spam_log_bytes(stubs: Stubs) -> None:
    stub = stubs.serve(spam_log_bytes=1_000_000)
    before = stub.log.stat().st_size
    stub.predict()
    assert stub.log.stat().st_size == before + 1_000_000


@pytest.mark.parametrize(
    ("death", "code"),
    [("exit", 5), ("sys.exit", 6), ("segfault", -signal.SIGSEGV), ("kill", -signal.SIGKILL)],
)
@pytest.mark.parametrize("wrapper", [False, True])
def test_die_on_request(stubs: Stubs, death: str, code: int, wrapper: bool) -> None:
    stub = stubs.serve(die_on_request=death, wrapper=wrapper)
    assert stub.get("/ping").status == 200
    with pytest.raises(ConnectionError):
        stub.predict()
    assert stub.ended() == code
