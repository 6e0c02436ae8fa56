"""Answers that come as events, one by one, over real connections."""

import asyncio
import json
from typing import Any

import pytest

from model_deployment.client import AsyncClient, Client, StreamFailed, Unreachable
from tests.support.scripted_server import Answer, scripted

STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


def events(*lines: str) -> Answer:
    body = "".join(f"data: {line}\n\n" for line in lines).encode()
    return Answer(200, b": hello\n\n" + body, STREAM)


def test_events_come_one_by_one_until_the_stream_is_done() -> None:
    answer = events('{"a": 1}', '{"a": 2}', "[DONE]", '{"a": 3}')
    with scripted(answer) as server, Client(server.url) as client:
        assert list(client.stream("agent-1", {"input": []})) == [{"a": 1}, {"a": 2}]
        assert json.loads(server.requests[0][2]) == {"input": [], "stream": True}
        assert list(client.chat("agent-1", [], stream=True)) == [{"a": 1}, {"a": 2}]

        async def first() -> list[Any]:
            async with AsyncClient(server.url) as client:
                return [event async for event in client.stream("agent-1", {})]

        assert asyncio.run(first()) == [{"a": 1}, {"a": 2}]


def test_the_answer_of_a_model_that_cannot_stream_is_the_only_event() -> None:
    with scripted(Answer(body=b'{"predictions": [1]}')) as server, Client(server.url) as client:
        assert list(client.stream("m-1", {"inputs": [1]})) == [{"predictions": [1]}]


def test_openais_responses_end_without_a_mark() -> None:
    last = {"type": "response.completed", "response": {}}
    with scripted(events('{"a": 1}', json.dumps(last))) as server, Client(server.url) as client:
        assert list(client.respond("agent-1", "hi", stream=True)) == [{"a": 1}, last]


def test_a_stream_that_fails_says_so_after_its_events() -> None:
    for answer, error in (
        (events('{"a": 1}'), Unreachable),
        (events('{"a": 1}', '{"error": {"message": "too hot"}}'), StreamFailed),
        (
            Answer(200, b'data: {"a": 1}\n\n', STREAM | {"Content-Length": "99"}, cut=99),
            Unreachable,
        ),
    ):
        seen: list[Any] = []

        def read_all(url: str, seen: list[Any] = seen) -> None:
            with Client(url) as client:
                for event in client.stream("agent-1", {}):
                    seen.append(event)

        with scripted(answer) as server, pytest.raises(error):
            read_all(server.url)
        assert seen == [{"a": 1}]
