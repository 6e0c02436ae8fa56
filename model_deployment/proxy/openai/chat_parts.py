"""Messages, tools and tokens in the two forms of OpenAI's APIs, and in MLflow's. Pure.

Sources: https://platform.openai.com/docs/api-reference (chat, responses), ``mlflow.types.responses``,
``mlflow.types.agent``, ``mlflow.types.llm``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_deployment.proxy.openai.errors import BadChat, unsupported

_TEXTS = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the caller is to make."""

    id: str
    name: str
    #: JSON.
    arguments: str

    def in_chat(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}

    def as_item(self, id: str) -> dict[str, Any]:
        return {
            "type": "function_call", "id": id, "call_id": self.id, "name": self.name,
            "arguments": self.arguments, "status": "completed",
        }  # fmt: skip


def a_list(value: Any, param: str) -> list[Any]:
    """The list of a member of the body; empty where the member says nothing.

    Raises:
        BadChat: it is something else.
    """
    if value is None:
        return []
    if type(value) is not list:
        raise BadChat(f"cannot read the chat: {param} is no list", param=param)
    return value


def tool_call(value: Any) -> ToolCall:
    """A call in the form of chats."""
    value = value if type(value) is dict else {}
    function = value.get("function")
    function = function if type(function) is dict else {}
    return ToolCall(
        str(value.get("id") or ""),
        str(function.get("name") or ""),
        str(function.get("arguments") or ""),
    )


def item_call(item: Mapping[str, Any]) -> ToolCall:
    """A call in the form of responses."""
    return ToolCall(
        str(item.get("call_id") or ""),
        str(item.get("name") or ""),
        str(item.get("arguments") or ""),
    )


def text_of(content: Any, param: str) -> str:
    """The text of a message's content, which may come in parts.

    Raises:
        BadChat: a part is something else.
    """
    if content is None:
        return ""
    if type(content) is str:
        return content
    if type(content) is not list:
        raise BadChat(
            "cannot read a message: its content is neither a text nor a list", param=param
        )
    texts = []
    for part in content:
        kind = part.get("type") if type(part) is dict else None
        if type(kind) is not str or kind not in _TEXTS or type(part.get("text")) is not str:
            raise unsupported(param, f"it takes texts only, and no part of the type {_shown(kind)}")
        texts.append(part["text"])
    return "".join(texts)


def chat_messages(messages: Any, *, named_tools: bool = False) -> list[dict[str, Any]]:
    """The messages of a chat, each with one text.

    Args:
        named_tools: results of tools have to name their tool, as ``ChatAgent`` has it.
    """
    if type(messages) is not list or not messages:
        raise BadChat("cannot read the chat: messages is no list of messages", param="messages")
    names: dict[str, str] = {}
    made = []
    for message in messages:
        if type(message) is not dict or type(message.get("role")) is not str:
            raise BadChat("cannot read a message: it has no role", param="messages")
        one = {name: value for name, value in message.items() if value is not None}
        if "content" in one:
            one["content"] = text_of(one["content"], "messages")
        for call in a_list(one.get("tool_calls"), "tool_calls"):
            names[tool_call(call).id] = tool_call(call).name
        if named_tools and one["role"] == "tool" and "name" not in one:
            one["name"] = names.get(str(one.get("tool_call_id")), "tool")
        made.append(one)
    return made


def items_of(messages: Any) -> list[dict[str, Any]]:
    """The messages of a chat as the input of a response."""
    items: list[dict[str, Any]] = []
    for message in chat_messages(messages):
        if message["role"] == "tool":
            told = {
                "call_id": str(message.get("tool_call_id", "")),
                "output": message.get("content"),
            }
            items.append({"type": "function_call_output", **told})
            continue
        if message.get("content") or not message.get("tool_calls"):
            items.append({"role": message["role"], "content": message.get("content", "")})
        for call in map(tool_call, a_list(message.get("tool_calls"), "tool_calls")):
            items.append(call.as_item(f"fc_{call.id}"))
    return items


def input_items(given: Any) -> list[dict[str, Any]]:
    """The input of a response as a list of items."""
    if type(given) is str:
        return [{"role": "user", "content": given}]
    if type(given) is not list or not all(type(item) is dict for item in given) or not given:
        raise BadChat("cannot read the input: it is neither a text nor a list", param="input")
    return given


def messages_of(given: Any, *, named_tools: bool = False) -> list[dict[str, Any]]:
    """The input of a response as messages of a chat."""
    messages: list[dict[str, Any]] = []
    for item in input_items(given):
        kind = item.get("type", "message")
        if kind == "message":
            content = text_of(item.get("content"), "input")
            messages.append({"role": item.get("role"), "content": content})
        elif kind == "function_call":
            last = messages[-1] if messages else {}
            if last.get("role") != "assistant":
                last = {"role": "assistant", "content": ""}
                messages.append(last)
            last.setdefault("tool_calls", []).append(item_call(item).in_chat())
        elif kind == "function_call_output":
            output = text_of(item.get("output"), "input")
            messages.append(
                {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
            )
        else:
            raise unsupported("input", f"it takes no item of the type {_shown(kind)}")
    return chat_messages(messages, named_tools=named_tools)


def flat_tools(tools: Iterable[Any]) -> list[Any]:
    """Tools of a chat in the form of responses."""
    return [
        {"type": "function", **tool["function"]}
        if type(tool) is dict and type(tool.get("function")) is dict
        else tool
        for tool in tools
    ]


def nested_tools(tools: Any) -> list[Any]:
    """The inverse of :func:`flat_tools`.

    Raises:
        BadChat: it is no list, or one is no function.
    """
    made = []
    for tool in a_list(tools, "tools"):
        if type(tool) is not dict or tool.get("type") != "function":
            raise unsupported("tools", "it takes functions only")
        function = {name: value for name, value in tool.items() if name != "type"}
        made.append({"type": "function", "function": function})
    return made


def _shown(kind: Any) -> str:
    return ascii(kind)[:100]


def chat_usage(usage: Any) -> dict[str, Any] | None:
    """Counts of tokens as chats have them."""
    if type(usage) is not dict:
        return None
    if "input_tokens" not in usage:
        return usage
    renamed = {
        "input_tokens": "prompt_tokens",
        "output_tokens": "completion_tokens",
        "input_tokens_details": "prompt_tokens_details",
        "output_tokens_details": "completion_tokens_details",
    }
    return {renamed.get(str(name), str(name)): value for name, value in usage.items()}


def response_usage(usage: Any) -> dict[str, Any] | None:
    """Counts of tokens as responses have them."""
    if type(usage) is not dict or "prompt_tokens" not in usage:
        return usage if type(usage) is dict else None
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage.get("prompt_tokens_details") or {"cached_tokens": 0},
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": usage.get("completion_tokens_details") or {"reasoning_tokens": 0},
        "total_tokens": usage.get("total_tokens", 0),
    }
