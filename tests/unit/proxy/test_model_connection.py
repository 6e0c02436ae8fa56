"""The client of model servers reads an answer the same however its bytes are cut, and refuses all else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from model_deployment.core.domain import Address
from model_deployment.proxy import model_pool
from model_deployment.proxy.model_connection import AnswerTooLarge, BrokenAnswer, ModelConnection
from model_deployment.proxy.model_pool import ModelPool, NotConnected

JSON = b"Content-Type: application/json\r\n"
CONTENT = b'{"predictions": [1, 2.5, "three"]}'
HEAD = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n"
LIMIT = 100_000


def chunked(content: bytes, size: int, end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


LENGTH = b"Content-Length: %d\r\n\r\n" % len(CONTENT)
TE = b"Transfer-Encoding: chunked\r\n\r\n"
#: Whole answers, and whether their connection can be used again.
ANSWERS = {
    "a length": (b"HTTP/1.1 200 OK\r\n" + JSON + LENGTH + CONTENT, True),
    "chunks": (b"HTTP/1.1 200 OK\r\n" + JSON + TE + chunked(CONTENT, 7), True),
    "trailers": (
        b"HTTP/1.1 200 OK\r\n" + JSON + TE + chunked(CONTENT, 9, b"0\r\nX-Late: 1\r\n\r\n"), True,
    ),
    "an interim answer": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
        + JSON + LENGTH + CONTENT, True,
    ),
    "a closing one": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + JSON + LENGTH + CONTENT, False,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + JSON + LENGTH + CONTENT, False),
    "HTTP/1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + JSON + LENGTH + CONTENT, True),
    "until its end": (b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n" + CONTENT, False),
    "until its end, HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + JSON + b"\r\n" + CONTENT, False),
}  # fmt: skip
UNTIL_END = {"until its end", "until its end, HTTP/1.0"}


class Model:
    """Sends the same bytes for each request, cut at given places."""

    def __init__(self, pieces: Callable[[], list[bytes]], *, closes: bool) -> None:
        self._pieces, self._closes = pieces, closes
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readexactly(len(HEAD) + 1):
                for piece in self._pieces():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self._closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(model: Model, read_timeout: float = 20.0) -> AsyncIterator[ModelPool]:
    server = await asyncio.start_server(model, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = ModelPool(Address("127.0.0.1", port), read_timeout=read_timeout, answer_bytes=LIMIT)
    try:
        yield pool
    finally:
        pool.close()
        server.close()


@asynccontextmanager
async def asked(pool: ModelPool, *, may_relay: bool = False) -> AsyncIterator[ModelConnection]:
    connection = await pool.take()
    try:
        await connection.ask(HEAD, b"x", may_relay=may_relay)
        yield connection
    finally:
        pool.put_back(connection)


def cut(data: bytes, random: Random) -> list[bytes]:
    places = sorted(random.sample(range(1, len(data)), random.randint(0, 12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_is_the_same_however_it_is_cut(name: str) -> None:
    data, kept = ANSWERS[name]
    random = Random(name)
    model = Model(lambda: cut(data, random), closes=name in UNTIL_END)
    async with served(model) as pool:
        for _ in range(25):
            async with asked(pool) as connection:
                assert (connection.status, connection.content()) == (200, CONTENT)
                assert dict(connection.headers)[b"content-type"] == b"application/json"
                assert b"x-late" not in dict(connection.headers)
                assert b"link" not in dict(connection.headers)
        assert model.connections == (1 if kept else 25)


@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_that_breaks_off_anywhere_is_none(name: str) -> None:
    data, _ = ANSWERS[name]
    # The last byte of what ends with its connection cannot be missed.
    end = data.index(CONTENT) if name in UNTIL_END else len(data)
    for place in range(0, end, 3):
        model = Model(lambda place=place: [data[:place]], closes=True)  # type: ignore[misc]
        async with served(model) as pool:
            with pytest.raises(BrokenAnswer):
                async with asked(pool):
                    pass


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" + b"more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" * 2,
    ],
)
async def test_connection_on_which_more_comes_than_an_answer_is_not_used_again(data: bytes) -> None:
    model = Model(lambda: [data], closes=False)
    async with served(model) as pool:
        for number in range(1, 4):
            async with asked(pool) as connection:
                assert connection.content() == b"x"
            assert model.connections == number


async def test_relayed_answer_comes_piece_by_piece_and_waits_for_its_caller() -> None:
    content = bytes(range(256)) * 20_000
    data = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n" + TE + chunked(content, 60_000)
    model = Model(lambda: [data], closes=False)
    async with served(model) as pool:
        for _ in range(3):
            async with asked(pool, may_relay=True) as connection:
                assert connection.relayed
                seen = bytearray()
                async for piece in connection.pieces():
                    assert len(piece) < len(content)
                    seen += piece
                    await asyncio.sleep(0.001)
                assert seen == content
        assert model.connections == 1


async def test_answer_over_the_limit_is_refused() -> None:
    content = bytes(LIMIT + 1)
    data = b"HTTP/1.1 200 OK\r\n" + JSON + TE + chunked(content, 10_000)
    async with served(Model(lambda: [data], closes=False)) as pool:
        with pytest.raises(AnswerTooLarge):
            async with asked(pool, may_relay=True):
                pass


async def test_head_over_the_limit_is_refused() -> None:
    data = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000
    async with served(Model(lambda: [data], closes=False)) as pool:
        with pytest.raises(BrokenAnswer, match="too large"):
            async with asked(pool):
                pass


async def test_model_that_says_nothing_is_given_up() -> None:
    async with served(Model(lambda: [], closes=False), read_timeout=0.1) as pool:
        with pytest.raises(TimeoutError):
            async with asked(pool):
                pass


async def test_no_server_is_not_connected() -> None:
    model = Model(lambda: [], closes=True)
    async with served(model) as pool:
        address = pool._address
    nobody = ModelPool(address, read_timeout=1, answer_bytes=1)
    with pytest.raises(NotConnected):
        await nobody.take()
    nobody.close()


async def test_connections_idle_for_long_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "KEEPALIVE", 0.05)
    monkeypatch.setattr(model_pool, "_LOOK", 0.02)
    data, _ = ANSWERS["a length"]
    async with served(Model(lambda: [data], closes=False)) as pool:
        async with asked(pool) as connection:
            pass
        async with asyncio.timeout(5):
            while pool._idle:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert connection.transport.is_closing()
