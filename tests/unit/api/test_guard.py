"""What gets in: paths in their one spelling, bodies within the limit, and not too many bodies at once."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.api.guard import Guard
from model_deployment.core.errors import Forbidden, Misdirected, NotFound, Unauthenticated
from tests.support.waiting import until

LIMIT = 100


class Exchange:
    """One request through the guard, to an application that reads all there is."""

    def __init__(self, *messages: dict[str, Any], path: str = "/a", limit: int = LIMIT) -> None:
        self.sent: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] | None = None
        self._left = iter(messages)
        scope = {
            "type": "http",
            "method": "POST",
            "path": unquote(path),
            "raw_path": path.encode(),
            "headers": [],
        }
        asyncio.run(
            Guard(self._app, max_body_bytes=limit, authorise=lambda _: None)(
                scope, self._receive, self._send
            )
        )

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen = []
        while not self.seen or self.seen[-1]["type"] != "http.disconnect":
            self.seen.append(await receive())

    async def _receive(self) -> dict[str, Any]:
        return next(self._left)

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        """What the application was given."""
        assert self.seen is not None
        assert not any(message.get("more_body") for message in self.seen)
        return b"".join(message.get("body", b"") for message in self.seen)

    @property
    def problem(self) -> dict[str, Any]:
        """The answer of the guard itself."""
        assert self.seen is None
        start, body = self.sent
        headers = dict(start["headers"])
        assert headers[b"content-type"] == b"application/problem+json"
        # The rest of the request was not read, so nothing can follow it.
        assert headers[b"connection"] == b"close"
        problem: dict[str, Any] = json.loads(body["body"])
        assert problem["status"] == start["status"]
        return problem


LEFT = {"type": "http.disconnect"}


def pieces(parts: Iterable[bytes]) -> list[dict[str, Any]]:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    return [*messages[:-1], messages[-1] | {"more_body": False}]


@pytest.mark.parametrize("parts", [[b""], [b"x" * LIMIT], [b"x"] * LIMIT, [b"", b"ab", b"", b"c"]])
def test_body_within_the_limit_passes_unchanged(parts: list[bytes]) -> None:
    exchange = Exchange(*pieces(parts), LEFT)
    assert exchange.body == b"".join(parts)
    assert exchange.sent == []


def test_body_missing_in_a_message_is_empty() -> None:
    assert Exchange({"type": "http.request"}, LEFT).body == b""


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=8))
def test_body_limit_counts_all_parts(parts: list[bytes]) -> None:
    exchange = Exchange(*pieces(parts), LEFT)
    body = b"".join(parts)
    if len(body) <= LIMIT:
        assert exchange.body == body
    else:
        assert exchange.problem["status"] == 413


@pytest.mark.parametrize("parts", [[b"x" * (LIMIT + 1)], [b"x"] * (LIMIT + 1)])
def test_body_over_the_limit_is_refused(parts: list[bytes]) -> None:
    problem = Exchange(*pieces(parts)).problem
    assert problem["status"] == 413
    assert problem["detail"] == (
        f"cannot accept the body: it is larger than {LIMIT} bytes (MODEL_DEPLOYMENT_MAX_BODY_BYTES)"
    )


def test_body_is_not_read_beyond_the_limit() -> None:
    # A third message would raise StopIteration.
    first = {"type": "http.request", "body": b"x" * LIMIT, "more_body": True}
    assert Exchange(first, first).problem["status"] == 413


@pytest.mark.parametrize("before", [0, 1, 3])
def test_disconnected_caller_is_not_answered(before: int) -> None:
    part = {"type": "http.request", "body": b"x", "more_body": True}
    exchange = Exchange(*[part] * before, LEFT)
    assert exchange.seen is None
    assert exchange.sent == []


def test_path_is_checked_before_the_body_is_read() -> None:
    problem = Exchange(path="/a/../b").problem
    assert problem["status"] == 400
    assert problem["title"] == "Path not canonical"


SOCKET = {"type": "websocket", "path": "/ws/a", "raw_path": b"/ws/a", "headers": []}


async def handshake(scope: dict[str, Any], error: Exception | None = None) -> list[Any]:
    """What a guard sends to a handshake; it is "passed" if the application gets it."""
    sent: list[Any] = []

    async def app(*call: Any) -> None:
        sent.append("passed")

    async def send(message: Any) -> None:
        sent.append(message)

    def authorise(scope: Any) -> None:
        if error is not None:
            raise error

    guard = Guard(app, max_body_bytes=0, authorise=authorise)
    await guard({**SOCKET, **scope}, object(), send)
    return sent


async def test_handshake_that_is_allowed_passes() -> None:
    assert await handshake({}) == ["passed"]


@pytest.mark.parametrize(
    ("scope", "error", "status"),
    [
        ({}, Unauthenticated("cannot"), 401),
        ({}, Forbidden("cannot"), 403),
        ({}, NotFound("cannot"), 404),
        ({}, Misdirected("cannot"), 421),
        ({"raw_path": b"/ws/%61"}, None, 400),
        ({"raw_path": b"/ws//a", "path": "/ws//a"}, None, 400),
    ],
)
async def test_handshake_is_refused_before_it_is_accepted(
    scope: dict[str, Any], error: Exception | None, status: int
) -> None:
    start, body = await handshake(scope, error)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert body["type"] == "websocket.http.response.body"
    assert json.loads(body["body"])["status"] == status
    headers = dict(start["headers"])
    assert headers[b"connection"] == b"close"
    assert headers[b"cache-control"] == b"no-store"


async def test_lifespan_passes_unchanged() -> None:
    passed: list[Any] = []

    async def app(*call: Any) -> None:
        passed.extend(call)

    call = ({"type": "lifespan"}, object(), object())
    await Guard(app, max_body_bytes=0, authorise=lambda _: None)(*call)
    assert passed == [*call]


class Body:
    """A caller of a guard, who sends pieces when told to."""

    def __init__(self, guard: Guard, declared: int | None = None) -> None:
        self.pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        headers = [] if declared is None else [(b"content-length", b"%d" % declared)]
        scope = {"type": "http", "method": "POST", "path": "/a", "raw_path": b"/a"}
        self.task = asyncio.create_task(
            guard({**scope, "headers": headers}, self.pieces.get, self._send)
        )

    async def send(self, size: int, *, more: bool = True) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": bytes(size), "more_body": more})
        await asyncio.sleep(0)  # the guard takes it
        await asyncio.sleep(0)

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def status(self) -> int:
        await asyncio.wait_for(self.task, 10)
        return int(self.sent[0]["status"])


async def answers(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_bodies_together_may_have_so_many_bytes() -> None:
    guard = Guard(answers, max_body_bytes=10**6, max_held_bytes=10**6, authorise=lambda _: None)
    first, second, declared = Body(guard), Body(guard), Body(guard, declared=500_000)
    await first.send(500_000)
    await second.send(500_000)
    await second.send(500_000, more=False)  # is read and thrown away: else its answer might be lost
    await declared.send(500_000, more=False)
    for refused in (second, declared):
        assert await refused.status() == 429
        headers = dict(refused.sent[0]["headers"])
        assert (headers[b"retry-after"], headers[b"connection"]) == (b"2", b"close")
        assert json.loads(refused.sent[1]["body"])["title"] == "Too many bodies"
        assert refused.sent[-1].get("more_body", False) is False
    assert guard.held.held == 500_000
    await first.send(100_000, more=False)
    assert await first.status() == 200
    assert guard.held.held == 0


@pytest.mark.parametrize(("patience", "whole"), [(0.05, 60.0), (60.0, 0.05)])
async def test_a_body_that_does_not_come_to_an_end_is_given_up(
    patience: float, whole: float
) -> None:
    guard = Guard(
        answers,
        max_body_bytes=10**6,
        patience=patience,
        body_timeout=whole,
        authorise=lambda _: None,
    )
    body = Body(guard)
    await body.send(10)

    async def given_up() -> bool:
        if whole < patience:
            await body.send(1)
        return bool(body.sent)

    await until(given_up)
    await body.send(0, more=False)
    assert await body.status() == 408
