"""A model server is healthy when it answers 200, in time, whatever way its answer comes."""

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from model_deployment.control.ping import ping
from model_deployment.control.probes import _SLOTS, _aligned
from model_deployment.core.domain import Address
from model_deployment.http.unix_sockets import bind_in
from tests.support.ports import free_port
from tests.support.stubs import HOST

HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\n"


async def asked(pieces: Sequence[bytes], *, hangs: bool = False, timeout: float = 10) -> bool:
    """Whether a server that answers so is healthy."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        answering = asyncio.create_task(asyncio.to_thread(answer, listener, pieces, hangs))
        healthy = await ping(Address(HOST, port), timeout)
        request = await answering
    assert request == (
        f"GET /ping HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode()
    )
    return healthy


def answer(listener: socket.socket, pieces: Sequence[bytes], hangs: bool) -> bytes:
    """Answer one request, and return it."""
    connection, _ = listener.accept()
    with connection, suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = connection.recv(4096)
        for piece in pieces:
            connection.sendall(piece)
        if hangs:
            connection.recv(1)
    return request


@pytest.mark.parametrize(
    "pieces",
    [
        [HEALTHY],
        [b"HTTP/1.0 200 \r\n\r\n"],
        [b"HTTP/1.1 200\r\n\r\n"],
        [bytes([one]) for one in HEALTHY],
    ],
)
async def test_answer_of_200_is_healthy(pieces: Sequence[bytes]) -> None:
    assert await asked(pieces)
    assert await asked(pieces, hangs=True)  # it may keep the connection


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n"],
        [b"HTTP/1.1 503 Service Unavailable\r\n\r\n"],
        [b"HTTP/1.1 2000 OK\r\n\r\n"],
        [b"HTTP/1.1 204 No Content\r\n\r\n"],
        [b"HTTP/2 200\r\n\r\n"],
        [b"220 mail.example ESMTP\r\n\r\n"],
        [b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000 + b"\r\n"],
    ],
)
async def test_any_other_answer_is_not(pieces: Sequence[bytes]) -> None:
    assert not await asked(pieces)


async def test_answer_has_to_come_in_time() -> None:
    assert not await asked([], hangs=True, timeout=0.05)
    assert not await asked([HEALTHY[:-5]], hangs=True, timeout=0.05)


async def test_server_that_is_not_there_is_not_healthy() -> None:
    assert not await ping(Address(HOST, free_port()), 10)


async def test_server_that_takes_no_more_connections_is_not_healthy() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(3):  # its queue is full, so the kernel answers nothing
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        assert not await ping(Address(HOST, listener.getsockname()[1]), 0.05)


async def test_pauses_end_together_and_are_hardly_shorter() -> None:
    interval = 5.0
    slot = interval / _SLOTS
    now = asyncio.get_running_loop().time()
    for pause in (interval, 0.7 * interval):
        aligned = _aligned(pause, slot)
        assert pause - slot <= aligned <= pause
        place = (now + aligned) / slot
        assert place == pytest.approx(round(place), abs=0.1)


async def test_server_behind_a_unix_socket_is_asked_whatever_the_length_of_its_path(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    address = Address("model", 1, str(folder / "model.sock"))
    assert not await ping(address, 10)
    with bind_in(folder, "model.sock") as listener:
        listener.setblocking(True)
        answering = asyncio.create_task(asyncio.to_thread(answer_once, listener))
        assert await ping(address, 10)
        assert (await answering).startswith(b"GET /ping HTTP/1.1\r\nHost: model:1\r\n")
    assert not await ping(address, 10)


def answer_once(listener: socket.socket) -> bytes:
    """Answer that all is well, and return the request."""
    connection, _ = listener.accept()
    with connection:
        request = connection.recv(4096)
        connection.sendall(HEALTHY)
    return request


async def test_without_a_descriptor_nothing_is_known_of_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_left(connection: socket.socket, path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("model_deployment.control.ping.connect", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        await ping(Address("model", 1, str(tmp_path / "model.sock")), 10)
