"""What a model may say against the form of its task: an error that callers can read, never a broken one."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given

from model_deployment.core.errors import ModelFailed, OddAnswer
from model_deployment.proxy.dialect import Dialect
from model_deployment.proxy.openai.chat_dialect import ChatDialect, CompletionDialect
from model_deployment.proxy.openai.readers import (
    ChatAgentReader,
    ChatReader,
    Reader,
    ResponsesReader,
)
from model_deployment.proxy.openai.responses_dialect import OwnEvents, ReadEvents, ResponsesDialect
from model_deployment.worker.stream_frames import DATA
from tests.support.odd_values import JSON

READERS: tuple[Callable[[], Reader], ...] = (ResponsesReader, ChatAgentReader, ChatReader)
TEXT = {"type": "response.output_text.delta", "item_id": "m", "delta": "a"}


def dialects(*, streams: bool) -> list[Dialect]:
    return [
        *(ChatDialect("m", "r", it(), streams=streams, tells_usage=True) for it in READERS),
        *(ResponsesDialect("m", "r", ReadEvents("r", it()), streams=streams) for it in READERS),
        ResponsesDialect("m", "r", OwnEvents(), streams=streams),
        CompletionDialect("m", "r", streams=streams),
    ]


def readable(work: Callable[[], bytes]) -> None:
    with contextlib.suppress(ModelFailed):
        work()


def a_message(odd: Any) -> list[dict[str, Any]]:
    calls = [odd, {"index": odd, "id": odd, "function": odd}]
    return [
        {"content": odd, "tool_calls": odd},
        {"tool_calls": calls},
        {"role": "tool", "tool_call_id": odd},
    ]


@given(JSON)
@example(5)
@example(True)
@example([1])
def test_odd_answers(odd: Any) -> None:
    items = [
        {"type": odd},
        {"type": "message", "id": odd, "content": odd},
        {"type": "function_call", "id": odd},
    ]
    answers = [odd, {"output": odd}, {"messages": odd}, {"choices": odd}, {"predictions": odd}]
    answers += [
        {"output": [odd]},
        {"output": items, "usage": odd},
        {"messages": [odd]},
        {"choices": [odd]},
    ]
    for one in a_message(odd):
        answers += [{"messages": [one], "usage": odd, "finish_reason": odd}]
        answers += [{"choices": [{"index": odd, "message": one}]}, {"choices": [{"message": one}]}]
    for streams in (False, True):
        for answer in answers:
            for dialect in dialects(streams=streams):
                readable(lambda: dialect.answer(json.dumps(answer).encode()))  # noqa: B023


@given(JSON)
@example(5)
@example(True)
@example([1])
def test_odd_streams(odd: Any) -> None:
    items = [
        odd,
        {"type": "message", "id": odd, "content": odd},
        {"type": "message", "id": "m", "content": odd},
    ]
    events = [{"type": "response.output_item.done", "item": item} for item in items]
    events += [{"type": odd}, {"type": "response.output_text.delta", "item_id": odd, "delta": odd}]
    events += [
        {"type": "response.output_item.added", "item": odd},
        {"type": "response.completed", "response": odd},
    ]
    events += [
        {"type": "error", "message": odd},
        {"type": "response.failed", "response": {"error": odd}},
    ]
    values = [odd, {"delta": odd}, {"choices": odd}, {"choices": [odd]}, *events]
    for one in a_message(odd):
        values += [
            {"delta": one},
            {"choices": [{"index": odd, "delta": one}]},
            {"choices": [{"delta": one}]},
        ]
    for before in ([], [TEXT]):
        for value in values:
            frames = [DATA + json.dumps(one).encode() for one in (*before, value, value)]
            for dialect in dialects(streams=True):
                readable(lambda: dialect.frames(frames) + dialect.end())  # noqa: B023


@pytest.mark.parametrize(
    ("reader", "answer"),
    [
        (ResponsesReader(), {"output": 5}),
        (ChatAgentReader(), {"messages": True}),
        (ChatReader(), {"choices": 3}),
    ],
)
def test_what_is_no_list_is_odd(reader: Reader, answer: Any) -> None:
    with pytest.raises(OddAnswer):
        [*reader.whole(answer)]


def test_a_whole_answer_as_one_chunk_is_one_that_clients_can_put_together() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [call]}}]}
    said = CompletionDialect("m", "r", streams=True).answer(json.dumps(answer).encode())
    chunk = json.loads(said.removeprefix(DATA).partition(b"\n")[0])
    (choice,) = chunk["choices"]
    assert "message" not in choice
    assert choice["delta"] == {"role": "assistant", "tool_calls": [{"index": 0, **call}]}
