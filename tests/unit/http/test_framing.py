"""What the headers of a request say of its body, and that none is taken for less."""

import asyncio
import json
from typing import Any

import pytest

from model_deployment.api.guard import Guard
from model_deployment.core.errors import IncompleteBody
from model_deployment.core.names import ModelKey
from model_deployment.http.framing import announces_body, content_length, ensure_whole
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.forward import Proxy
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.upstream import UpstreamLimits
from tests.support.routes import ready_route


def raw(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("0", 0),
        ("10485760", 10485760),
        ("0010", 10),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1_0", None),
        (" 1", None),
        ("1, 1", None),
        ("0x10", None),
        ("\xb2", None),  # superscript two
        ("9" * 19, 10**19 - 1),
        ("9" * 5000, None),  # too long for int() to read
    ],
)
def test_content_length_is_a_plain_number_or_none(value: str, length: int | None) -> None:
    assert content_length(dict(raw(("x-a", "5"), ("content-length", value)))) == length


def test_content_length_missing_is_none() -> None:
    assert content_length({}) is None
    assert content_length({b"transfer-encoding": b"chunked"}) is None


@pytest.mark.parametrize(
    ("headers", "announced"),
    [
        ({}, False),
        ({b"content-length": b"0"}, False),
        ({b"content-length": b"1"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)
def test_headers_announce_a_body(headers: dict[bytes, bytes], announced: bool) -> None:
    assert announces_body(headers) is announced


@pytest.mark.parametrize(("declared", "size"), [(1, 0), (5, 4), (5, 6), (0, 1)])
def test_ensure_whole_refuses_another_number_of_bytes(declared: int, size: int) -> None:
    with pytest.raises(
        IncompleteBody, match=f"announce {declared} bytes, but {size} bytes arrived"
    ):
        ensure_whole(declared, size)
    ensure_whole(size, size)


class Lossy:
    """A server that loses a body, or a part of it."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces) or [b""]
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if not self._pieces:
            await asyncio.Event().wait()
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    def scope(self, path: str, declared: bytes) -> dict[str, Any]:
        return {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "http_version": "1.1",
            "headers": [(b"host", b"x"), (b"content-length", declared),
                        (b"content-type", b"application/json")],
        }  # fmt: skip

    def problem(self) -> Any:
        assert self.sent[0]["status"] == 400
        problem = json.loads(self.sent[1]["body"])
        assert problem["title"] == "Incomplete body"
        return problem


async def reached(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the application got a request without its body")


@pytest.mark.parametrize("pieces", [(), (b"",), (b"{", b'"a"'), (b"{}" * 9,)])
async def test_api_call_needs_its_whole_body(pieces: tuple[bytes, ...]) -> None:
    server = Lossy(*pieces)
    guard = Guard(reached, max_body_bytes=1000, authorise=lambda scope: None)
    await guard(server.scope("/deploy/m/1", b"10"), server.receive, server.send)
    assert "announce 10 bytes" in server.problem()["detail"]


class Silent:
    """A line to a caller that takes what is written."""

    backed_up = closing = False

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_body(self, request: CallerRequest) -> None:
        pass

    resume_body = answered = pause_body

    def discard(self, request: CallerRequest, size: int | None) -> None:
        raise AssertionError("the body has ended")

    async def accepted(self) -> None:
        raise AssertionError

    async def pass_on(self, request: CallerRequest, app: Any) -> None:
        raise AssertionError("the application got a prediction")

    def hand_over(self, request: CallerRequest) -> Any:
        raise AssertionError


@pytest.mark.parametrize("pieces", [(), (b"{", b'"a"')])
async def test_prediction_needs_its_whole_body(pieces: tuple[bytes, ...]) -> None:
    """If the server ever lost a piece of it."""
    routes = Routes(UpstreamLimits())
    key = ModelKey("m", 1)
    routes.publish([ready_route(key, "launch", 9)])
    line, scope = Silent(), Lossy().scope("/m-1", b"10")
    request = CallerRequest(line, scope, dict(scope["headers"]), keep_alive=True)
    for piece in pieces:
        request.feed(piece)
    request.end_body()
    try:
        await Proxy(reached_not, routes, ExchangeContext(1000)).answer(request)
    finally:
        await routes.close()
    assert line.written.startswith(b"HTTP/1.1 400 ")
    assert b"announce 10 bytes" in line.written


async def reached_not(request: CallerRequest) -> None:
    raise AssertionError("the application got a prediction")
