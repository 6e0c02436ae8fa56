"""What closes the door must not hit those who are in it."""

import errno
import select
import socket
from collections.abc import Iterator

import pytest

from model_deployment.core.errors import StateError
from model_deployment.http.listener import admit_no_more, listen


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with listen(request.param, 0) as made:
        yield made


def _connect(listener: socket.socket, seconds: float = 5) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], seconds)


def test_admit_no_more_serves_the_queue_and_ignores_new_callers(
    listener: socket.socket,
) -> None:
    with _connect(listener) as early:
        admit_no_more(listener)
        with pytest.raises(TimeoutError):
            _connect(listener, 0.1)
        early.sendall(b"question")
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(100) == b"question"
            accepted.sendall(b"answer")
        assert early.recv(100) == b"answer"
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_admit_no_more_ignored_caller_is_refused_after_the_close(listener: socket.socket) -> None:
    admit_no_more(listener)
    host, port = listener.getsockname()[:2]
    family = listener.family
    with socket.socket(family) as late:
        late.setblocking(False)
        assert late.connect_ex((host, port)) != 0  # in progress
        listener.close()
        assert select.select([], [late], [], 5)[1]
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_listen_names_an_address_in_use() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            StateError, match=f"cannot listen on 127.0.0.1:{port}: .*another address"
        ):
            listen("127.0.0.1", port)
