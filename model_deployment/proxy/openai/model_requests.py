"""The body that a model gets for a request at one of OpenAI's paths. Pure.

What a model would not get is refused, unless it changes no answer: a caller who asks for something and
silently does not get it would never learn why.
"""

from collections.abc import Collection, Mapping
from typing import Any

from model_deployment.core.agent import Agent, Interface
from model_deployment.proxy.openai.chat_parts import (
    chat_messages,
    flat_tools,
    input_items,
    items_of,
    messages_of,
    nested_tools,
)
from model_deployment.proxy.openai.errors import BadChat, unsupported

#: What changes no answer.
_OF_NO_EFFECT = frozenset({
    "include", "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "service_tier", "store", "stream_options", "user",
})  # fmt: skip
#: What says the same as its absence.
_DEFAULTS: Mapping[str, Any] = {
    "background": False, "frequency_penalty": 0, "logprobs": False, "modalities": ["text"], "n": 1,
    "parallel_tool_calls": True, "presence_penalty": 0, "response_format": {"type": "text"},
    "temperature": 1, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
    "top_logprobs": 0, "top_p": 1, "truncation": "disabled",
}  # fmt: skip
_RENAMED = {"max_completion_tokens": "max_tokens"}


def chat_request(body: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """What a model gets for ``POST /v1/chat/completions``.

    Raises:
        BadChat: the model cannot be asked that.
    """
    given = _given(body, agent)
    messages = given.pop("messages", None)
    for name, other in _RENAMED.items():
        if name in given:
            given.setdefault(other, given.pop(name))
    match agent.interface:
        case Interface.RESPONSES_AGENT:
            made = {"input": items_of(messages)}
            given = _for_responses(given)
        case Interface.CHAT_AGENT:
            made = {"messages": chat_messages(messages, named_tools=True)}
        case Interface.CHAT_MODEL | Interface.LLM_CHAT:
            made = {"messages": chat_messages(messages)}
            if type(given.get("stop")) is str:
                given["stop"] = [given["stop"]]
        case _:
            raise _does_not_chat()
    return made | _taken(given, agent)


def response_request(body: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """What a model gets for ``POST /v1/responses``.

    Raises:
        BadChat: the model cannot be asked that.
    """
    given = _given(body, agent)
    items = input_items(given.pop("input", None))
    if "instructions" in given:
        items = [{"role": "system", "content": given.pop("instructions")}, *items]
    match agent.interface:
        case Interface.RESPONSES_AGENT:
            made = {"input": items}
        case Interface.CHAT_AGENT:
            made = {"messages": messages_of(items, named_tools=True)}
        case Interface.CHAT_MODEL | Interface.LLM_CHAT:
            made = {"messages": messages_of(items)}
            if "max_output_tokens" in given:
                given["max_tokens"] = given.pop("max_output_tokens")
            if given.get("tools"):
                given["tools"] = nested_tools(given["tools"])
        case _:
            raise _does_not_chat()
    return made | _taken(given, agent)


def _does_not_chat() -> BadChat:
    return BadChat(
        "cannot chat with this model: it was not logged as an agent or a chat model. "
        "GET /v1/models lists the models that were",
        param="model",
        code="model_not_supported",
    )


def _given(body: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    """The members that say something, but for the name of the model."""
    given = {name: value for name, value in body.items() if value is not None and name != "model"}
    if given.get("stream") is False:
        del given["stream"]
    if "stream" in given and not agent.streams:
        raise unsupported("stream", "it cannot stream. Ask for the whole answer")
    return given


def _for_responses(given: dict[str, Any]) -> dict[str, Any]:
    """Members of a chat as a response has them."""
    made = dict(given)
    if "max_tokens" in made:
        made["max_output_tokens"] = made.pop("max_tokens")
    if type(made.get("tools")) is list:
        made["tools"] = flat_tools(made["tools"])
    choice = made.get("tool_choice")
    if type(choice) is dict and type(choice.get("function")) is dict:
        made["tool_choice"] = {"type": "function", **choice["function"]}
    if "reasoning_effort" in made:
        made["reasoning"] = {"effort": made.pop("reasoning_effort")}
    form = made.pop("response_format", None)
    if type(form) is dict and form.get("type") != "text":
        schema = form.get("json_schema")
        more = schema if type(schema) is dict else {}
        made["text"] = {"format": {"type": form.get("type"), **more}}
    return made


def _taken(given: Mapping[str, Any], agent: Agent) -> dict[str, Any]:
    members: Collection[str] | None = agent.members
    made = {}
    for name, value in given.items():
        if name == "stream" or members is None or name in members:
            made[name] = value
        elif name not in _OF_NO_EFFECT and not (name in _DEFAULTS and _DEFAULTS[name] == value):
            raise unsupported(name, "its signature has no such input")
    return made
