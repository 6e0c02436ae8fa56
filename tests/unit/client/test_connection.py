"""How calls are sent, sent again and answered, over real connections."""

import asyncio
import json
import pickle
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from model_deployment.client import ApiError, AsyncClient, Client, Unreachable, Unsendable
from tests.support.scripted_server import DROPPED, Answer, scripted

BUSY = Answer(503, b'{"detail": "cannot now"}', {"Retry-After": "0", "X-Request-Id": "r1"})
GIVEN_UP = Answer(503, b'{"detail": "cannot now"}')
FINE = Answer(body=b'{"predictions": [1]}', headers={"X-Request-Id": "r2", "X-Model-Version": "2"})
NEVER = 0.0


def predicted(client: Client) -> Any:
    return client.predict("m-1", [1])


def read(client: Client) -> Any:
    return client.health()


def deployed(client: Client) -> Any:
    return client.deploy("m", 1)


@pytest.mark.parametrize("call", [predicted, read])
def test_what_was_refused_before_work_began_is_sent_again(call: Callable[[Client], Any]) -> None:
    with scripted(BUSY, BUSY, FINE) as server, Client(server.url) as client:
        call(client)
        assert len(server.requests) == 3
        assert server.requests[0] == server.requests[2]


@pytest.mark.parametrize(
    ("call", "answer", "error"),
    [
        (deployed, BUSY, ApiError),
        (predicted, GIVEN_UP, ApiError),
        (predicted, Answer(502, b"{}", {"Retry-After": "0"}), ApiError),
        (predicted, DROPPED, Unreachable),
        (deployed, DROPPED, Unreachable),
        (predicted, Answer(200, b"x" * 10, cut=3), Unreachable),
        (read, Answer(404, b"{}"), ApiError),
    ],
)
def test_what_a_model_may_have_worked_on_is_never_sent_again(
    call: Callable[[Client], Any], answer: Answer, error: type[Exception]
) -> None:
    with scripted(answer) as server, Client(server.url) as client:
        with pytest.raises(error):
            call(client)
        assert len(server.requests) == 1


def test_a_reading_call_survives_a_lost_connection() -> None:
    with (
        scripted(DROPPED, Answer(200, b"x" * 10, cut=3), FINE) as server,
        Client(server.url) as client,
    ):
        client.health()
        assert len(server.requests) == 3


def test_attempts_end_at_the_deadline() -> None:
    later = Answer(503, b'{"detail": "cannot now"}', {"Retry-After": "30"})
    with scripted(later) as server, Client(server.url, retry_for=20) as client:
        began = time.monotonic()
        with pytest.raises(ApiError) as raised:
            predicted(client)
        assert time.monotonic() - began < 5
        assert raised.value.retry_after == 30
    with scripted(BUSY) as server, Client(server.url, retry_for=NEVER) as client:
        with pytest.raises(ApiError):
            predicted(client)
        assert len(server.requests) == 1


def test_a_controller_that_is_about_to_listen_is_waited_for() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"

        def serve() -> None:
            held.listen()
            connection, _ = held.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        late = threading.Timer(0.2, serve)
        late.start()
        with Client(url) as client:
            assert not client.deploy("m", 1)
        late.join()


def test_where_nobody_listens_the_message_says_what_helps() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with (
            Client(url, retry_for=NEVER) as client,
            pytest.raises(
                Unreachable, match=rf"^cannot reach the controller at {url}: .* Is it running"
            ),
        ):
            client.health()


def test_a_silent_controller_is_given_up_on() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, timeout=0.1) as client,
            pytest.raises(Unreachable, match=r"did not answer in time\. The call may have"),
        ):
            client.predict("m-1", [1])


def test_a_problem_is_an_error_with_all_its_members() -> None:
    problem = {
        "type": "urn:x", "title": "Invalid request", "status": 422, "detail": "cannot: 2 violations",
        "errors": [
            {"row": 0, "column": "a", "kind": "type", "expected": "long", "got": "text"},
            {"row": None, "column": "b", "kind": "missing", "expected": "long", "got": "no such column"},
        ],
    }  # fmt: skip
    answer = Answer(422, json.dumps(problem).encode(), {"X-Request-Id": "r7"})
    with (
        scripted(answer) as server,
        Client(server.url) as client,
        pytest.raises(ApiError) as raised,
    ):
        predicted(client)
    error = raised.value
    assert (error.status, error.title, error.type) == (422, "Invalid request", "urn:x")
    assert (error.detail, error.request_id) == ("cannot: 2 violations", "r7")
    assert error.places[1] == "column 'b': expected long, got no such column"
    assert error.__notes__ == [error.places[1]]
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.problem, str(again)) == (422, error.problem, str(error))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), "is text/html, not JSON"),
        (Answer(502, b"<style>x</style><h1>Bad</h1>", {"Content-Type": "text/html"}), "502 Bad Gateway"),
        (Answer(301, b"", {"Location": "https://h/"}), "sends on to 'https://h/'"),
    ],
)  # fmt: skip
def test_another_program_is_not_taken_for_a_controller(answer: Answer, why: str) -> None:
    with (
        scripted(answer) as server,
        Client(server.url) as client,
        pytest.raises(ApiError, match=why),
    ):
        client.ready()


def test_a_list_has_all_its_pages_and_the_password_stays_here() -> None:
    where = "http://elsewhere.invalid/get_deployed_models?after=a&limit=2"
    first = Answer(200, b'[{"name": "a"}, {"name": "b"}]', {"Link": f'<{where}>; rel="next"'})
    rest = Answer(200, b'[{"name": "c"}]')
    with scripted(first, rest) as server, Client(server.url, "ann", "secret") as client:
        assert [row["name"] for row in client.deployments(limit=3)] == ["a", "b", "c"]
        assert [path for _, path, _ in server.requests] == [
            "/get_deployed_models?limit=3",
            "/get_deployed_models?after=a&limit=2",
        ]
        assert server.headers[1]["authorization"].startswith("Basic ")


def test_names_are_spelled_as_the_controller_wants_them() -> None:
    with scripted(FINE) as server, Client(server.url) as client:
        client.predict("my model@ü", [1], route_key="k", request_id="r")
        assert server.requests[0][1] == "/my%20model@%C3%BC"
        assert server.headers[0]["x-route-key"] == "k"
        assert server.headers[0]["x-request-id"] == "r"


def test_an_http_proxy_of_the_environment_is_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with scripted(FINE) as server, Client(server.url) as client:
        client.health()


def test_a_client_is_shared_by_threads_and_by_tasks() -> None:
    with scripted(FINE) as server:
        with Client(server.url) as client:
            threads = [threading.Thread(target=predicted, args=(client,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.requests) == 8

        async def all_at_once() -> None:
            async with AsyncClient(server.url) as client:
                await asyncio.gather(*(client.predict("m-1", [1]) for _ in range(8)))

        asyncio.run(all_at_once())
        assert len(server.requests) == 16


def test_a_download_that_breaks_leaves_no_file(tmp_path: Any) -> None:
    with (
        scripted(Answer(200, b"a,b\n1,2\n", cut=3)) as server,
        Client(server.url) as client,
        pytest.raises(Unreachable),
    ):
        client.save_dataset("m-1", tmp_path / "x.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.predict("m-1", [1], route_key="Müller"),
        lambda client: client.predict("m-1", [1], request_id="a\nb"),
        lambda client: client.feedback("m-1", [{"request_id": "a", "label": float("nan")}]),
    ],
)
def test_what_cannot_be_sent_is_said_before(call: Callable[[Client], Any]) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unsendable, match="cannot send"):
        call(client)
