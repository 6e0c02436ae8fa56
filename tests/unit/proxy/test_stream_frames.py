"""Frames of streams: taken apart as they come, and joined to one answer."""

import itertools
import json
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.joined_answer import joined, joined_values
from model_deployment.proxy.stream_relay import FrameReader, StreamRelay
from model_deployment.worker.stream_frames import (
    DATA,
    DONE,
    END,
    failure_frame,
    read_failure,
)
from tests.support.odd_values import JSON

CHUNK = "chat.completion.chunk"


def frame(value: Any) -> bytes:
    return DATA + json.dumps(value).encode()


@given(st.lists(st.text()), st.lists(st.integers(0, 400)))
def test_frames_are_the_same_however_they_are_cut(texts: list[str], cuts: list[int]) -> None:
    frames = [frame(text) for text in texts]
    stream = b"".join(one + END for one in frames)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader()
    found = [
        one for first, last in itertools.pairwise(places) for one in reader.feed(stream[first:last])
    ]
    assert found == frames
    assert reader.held == 0
    assert json.loads(joined(frames)) == {"predictions": "".join(texts) if texts else []}


@given(st.text(), st.text(alphabet=st.characters(max_codepoint=255)))
def test_a_failure_is_told_from_all_that_a_model_yields(text: str, fault: str) -> None:
    content = text.encode(errors="replace")
    told = failure_frame(502, content, fault.encode("latin-1"))
    assert told.count(END) == 1
    assert read_failure(told.removesuffix(END)) == (502, content, fault.encode("latin-1"))
    assert read_failure(frame(f"event: failure\ndata: {text}")) is None
    assert read_failure(DONE) is None


def delta(text: str | None = None, **more: Any) -> dict[str, Any]:
    return {"object": CHUNK, "choices": [{"index": 0, "delta": {"content": text}, **more}]}


CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
REST = {"index": 0, "function": {"arguments": "}"}}


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([{"a": 1}, {"b": 2}], {"predictions": [{"a": 1}, {"b": 2}]}),
        (
            [
                {"type": "response.output_text.delta", "item_id": "m", "delta": "a"},
                {"type": "response.output_text.delta", "item_id": "m", "delta": "b"},
            ],
            {
                "object": "response",
                "output": [{
                    "type": "message", "id": "m", "role": "assistant",
                    "content": [{"type": "output_text", "text": "ab", "annotations": []}],
                }],
            },
        ),
        (
            [
                {"type": "response.output_text.delta", "item_id": "m", "delta": "a"},
                {"type": "response.output_item.done", "item": {"id": "m", "type": "message"}},
            ],
            {"object": "response", "output": [{"id": "m", "type": "message"}]},
        ),
        (
            [
                {"delta": {"id": "1", "role": "assistant", "content": "a"}},
                {"delta": {"id": "1", "role": "assistant", "content": "b"}},
                {"delta": {"id": "2", "role": "assistant", "content": "c"}, "usage": {"x": 1}},
            ],
            {
                "messages": [
                    {"id": "1", "role": "assistant", "content": "ab"},
                    {"id": "2", "role": "assistant", "content": "c"},
                ],
                "usage": {"x": 1},
            },
        ),
        (
            [
                delta("a"),
                delta("b"),
                {"object": CHUNK, "choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]},
                {"object": CHUNK, "choices": [{"index": 0, "delta": {"tool_calls": [REST]}}]},
                delta(finish_reason="tool_calls"),
            ],
            {
                "object": "chat.completion",
                "choices": [{
                    "index": 0,
                    "message": {
                        "content": "ab",
                        "tool_calls": [CALL | {"function": {"name": "f", "arguments": "{}"}}],
                    },
                    "finish_reason": "tool_calls",
                }],
            },
        ),
    ],
)  # fmt: skip
def test_values_of_each_interface_are_joined_to_its_answer(values: Any, whole: Any) -> None:
    assert joined_values(values) == whole


@given(JSON)
@example([1])
def test_any_values_are_joined(odd: Any) -> None:
    call = {"index": 0, "function": odd}
    for values in (
        [odd],
        [{"delta": {"id": odd, "content": odd, "tool_calls": odd}}] * 2,
        [{"object": CHUNK, "choices": odd}, {"object": CHUNK, "choices": [{"index": odd}, odd]}],
        [delta(), {"object": CHUNK, "choices": [{"delta": {"tool_calls": odd}}]}],
        [{"object": CHUNK, "choices": [{"delta": {"tool_calls": [odd, call]}}]}] * 2,
        [{"object": CHUNK, "choices": [{"delta": {"tool_calls": [CALL, REST, call]}}]}] * 2,
        [{"type": "response.output_text.delta", "item_id": odd, "delta": odd}],
        [{"type": "response.output_item.done", "item": odd}],
        [{"type": "response.completed", "response": odd}],
    ):
        json.loads(joined([frame(value) for value in values]))


def test_a_long_stream_is_not_kept() -> None:
    relay = StreamRelay(cast(CallerRequest, None), timeout=1, kept_bytes=20)
    relay._keep([frame("a")])
    assert (relay.unkept, relay.joined()) == (0, b'{"predictions":"a"}')
    relay._keep([frame("b" * 9)])
    relay._keep([frame("c")])
    assert (relay.unkept, relay.joined(), relay._kept) == (9 + 17 + 9, b"", [])
