"""What an agent gets for a request at one of OpenAI's paths, and what is refused."""

import contextlib
from typing import Any

import pytest
from hypothesis import example, given

from model_deployment.core.agent import NO_AGENT, Agent, Interface
from model_deployment.proxy.openai.errors import BadChat
from model_deployment.proxy.openai.model_requests import chat_request, response_request
from tests.support.odd_values import JSON

RESPONSES = Agent(
    Interface.RESPONSES_AGENT, True,
    frozenset({"input", "stream", "tools", "tool_choice", "text", "max_output_tokens", "user"}),
)  # fmt: skip
CHATS = Agent(Interface.CHAT_AGENT, True, frozenset({"messages", "stream", "custom_inputs"}))
MODEL = Agent(
    Interface.CHAT_MODEL, False, frozenset({"messages", "stop", "max_tokens", "tools", "n"})
)
HI = {"role": "user", "content": "hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ITEM = {
    "type": "function_call", "id": "fc_c", "call_id": "c", "name": "f", "arguments": "{}",
    "status": "completed",
}  # fmt: skip
NESTED = {"type": "function", "function": {"name": "f", "parameters": {}}}
FLAT = {"type": "function", "name": "f", "parameters": {}}


@pytest.mark.parametrize(
    ("agent", "body", "got"),
    [
        (RESPONSES, {"messages": [HI], "stream": True}, {"input": [HI], "stream": True}),
        (
            RESPONSES,
            {
                "messages": [HI], "max_completion_tokens": 5, "tools": [NESTED], "user": "u",
                "tool_choice": {"type": "function", "function": {"name": "f"}}, "n": 1,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x"}},
            },
            {
                "input": [HI], "max_output_tokens": 5, "tools": [FLAT], "user": "u",
                "tool_choice": {"type": "function", "name": "f"},
                "text": {"format": {"type": "json_schema", "name": "x"}},
            },
        ),
        (
            RESPONSES,
            {"messages": [
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ]},
            {"input": [ITEM, {"type": "function_call_output", "call_id": "c", "output": "1"}]},
        ),
        (
            CHATS,
            {"messages": [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]},
            ], "custom_inputs": {"a": 1}, "store": True, "temperature": None},
            {"messages": [
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "1", "name": "f"},
            ], "custom_inputs": {"a": 1}},
        ),
        (
            MODEL,
            {"messages": [HI], "stop": "x", "max_completion_tokens": 5, "n": 2, "stream": False},
            {"messages": [HI], "stop": ["x"], "max_tokens": 5, "n": 2},
        ),
    ],
)  # fmt: skip
def test_a_chat(agent: Agent, body: dict[str, Any], got: dict[str, Any]) -> None:
    assert chat_request({"model": "m", **body}, agent) == got


@pytest.mark.parametrize(
    ("agent", "body", "got"),
    [
        (RESPONSES, {"input": "hi"}, {"input": [HI]}),
        (
            RESPONSES,
            {"input": [HI], "instructions": "be brief", "truncation": "disabled"},
            {"input": [{"role": "system", "content": "be brief"}, HI]},
        ),
        (
            CHATS,
            {"input": [ITEM, {"type": "function_call_output", "call_id": "c", "output": "1"}]},
            {"messages": [
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "1", "name": "f"},
            ]},
        ),
        (
            MODEL,
            {"input": "hi", "tools": [FLAT], "max_output_tokens": 5},
            {"messages": [HI], "tools": [NESTED], "max_tokens": 5},
        ),
    ],
)  # fmt: skip
def test_a_response(agent: Agent, body: dict[str, Any], got: dict[str, Any]) -> None:
    assert response_request({"model": "m", **body}, agent) == got


@pytest.mark.parametrize(
    ("agent", "body", "param"),
    [
        (CHATS, {"messages": [HI], "temperature": 0.5}, "temperature"),
        (MODEL, {"messages": [HI], "stream": True}, "stream"),
        (MODEL, {"messages": [HI], "response_format": {"type": "json_object"}}, "response_format"),
        (RESPONSES, {"messages": [HI], "seed": 1}, "seed"),
        (CHATS, {"messages": []}, "messages"),
        (CHATS, {"messages": ["x"]}, "messages"),
        (CHATS, {"messages": [{"role": "user", "content": 5}]}, "messages"),
        (NO_AGENT, {"messages": [HI]}, "model"),
        (CHATS, {"messages": [{"role": "user", "content": [{"type": []}]}]}, "messages"),
        (CHATS, {"messages": [{"role": "assistant", "tool_calls": 5}]}, "tool_calls"),
        (RESPONSES, {"messages": [{"role": "assistant", "tool_calls": True}]}, "tool_calls"),
    ],
)
def test_what_the_model_would_not_get_is_refused(agent: Agent, body: Any, param: str) -> None:
    with pytest.raises(BadChat) as refused:
        chat_request(body, agent)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools"),
        ({"input": "x", "tools": 5}, "tools"),
        ({"input": [{"type": ["reasoning"]}]}, "input"),
        ({"input": "x", "previous_response_id": "r"}, "previous_response_id"),
    ],
)
def test_a_response_too(body: Any, param: str) -> None:
    with pytest.raises(BadChat) as refused:
        response_request(body, MODEL)
    assert refused.value.param == param


@given(JSON)
@example([1])
def test_no_body_breaks_the_translation(odd: Any) -> None:
    said = {"role": "assistant", "tool_calls": [odd, {"id": odd, "function": odd}]}
    result = {"role": "tool", "tool_call_id": odd, "content": "1"}
    for agent in (RESPONSES, CHATS, MODEL):
        for more in ({}, {"tools": odd}, {"tool_choice": odd}, {"response_format": odd}):
            for messages in (odd, [odd], [{**HI, "content": odd}], [said, result]):
                with contextlib.suppress(BadChat):
                    chat_request({"messages": messages, **more}, agent)
            for items in (odd, [odd], [{**HI, "content": odd}], [{"type": odd}], [{**ITEM, "call_id": odd}],
                          [{"type": "function_call_output", "call_id": odd, "output": "1"}]):  # fmt: skip
                with contextlib.suppress(BadChat):
                    response_request({"input": items, **more}, agent)
