"""What MLflow's agents and chat models say, in parts that both of OpenAI's APIs can say. Pure.

The answer of an agent may have several messages: what it said, the tools that it called itself, their
results. Its text is what all messages of the assistant say. A call of a tool with a result is the agent's
own business; one without a result is for the caller.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from model_deployment.core.errors import ModelFailed, OddAnswer
from model_deployment.proxy.openai.chat_parts import ToolCall, item_call, tool_call

#: A piece of text, or a call of a tool.
Part = str | ToolCall


class Reader(Protocol):
    """Reads one answer: whole, or value by value."""

    #: Counts of tokens, in the form of either API.
    usage: Any
    #: Why the answer ended, in the words of chats.
    finish_reason: str | None
    #: What the answer has besides, which callers get as further members.
    extras: dict[str, Any]

    def whole(self, answer: Any) -> Iterator[Part]:
        """The parts of a whole answer, but for those of :meth:`end`.

        Raises:
            ModelDeploymentError: it is no answer of this interface.
        """
        ...

    def value(self, value: Any) -> Iterator[Part]:
        """The parts of the next value of a stream. Raises as :meth:`whole`."""
        ...

    def end(self) -> Iterator[Part]:
        """The parts that are certain at the end only."""
        ...


class _PendingCalls:
    """Calls of tools that have no result yet."""

    def __init__(self) -> None:
        self.usage: Any = None
        self.finish_reason: str | None = None
        self.extras: dict[str, Any] = {}
        self._calls: dict[str, ToolCall] = {}

    def _call(self, call: ToolCall) -> None:
        self._calls[call.id] = call

    def _result(self, id: Any) -> None:
        self._calls.pop(str(id), None)

    def end(self) -> Iterator[Part]:
        yield from self._calls.values()
        if self._calls and self.finish_reason in (None, "stop"):
            self.finish_reason = "tool_calls"


class ResponsesReader(_PendingCalls):
    """Of a ``ResponsesAgent``."""

    def __init__(self) -> None:
        super().__init__()
        #: Items whose text came in pieces.
        self._begun: set[str] = set()
        self._items = 0

    def whole(self, answer: Any) -> Iterator[Part]:
        answer = record(answer)
        for item in listed(answer.get("output")):
            yield from self._item(item)
        self.usage = answer.get("usage")
        self.extras = {
            name: answer[name] for name in ("output", "custom_outputs") if name in answer
        }

    def value(self, value: Any) -> Iterator[Part]:
        event = record(value)
        match event.get("type"):
            case "response.output_text.delta":
                self._begun.add(str(event.get("item_id")))
                yield str(event.get("delta", ""))
            case "response.output_item.done":
                yield from self._item(event.get("item"))
            case "response.completed":
                response = record(event.get("response"))
                if not (self._items or self._begun):
                    yield from self.whole(response)
                self.usage = response.get("usage")
            case "error" | "response.failed":
                raise stream_error(event)

    def _item(self, item: Any) -> Iterator[Part]:
        item = record(item)
        self._items += 1
        match item.get("type"):
            case "message" if item.get("id") is None or str(item["id"]) not in self._begun:
                yield item_text(item)
            case "function_call":
                self._call(item_call(item))
            case "function_call_output":
                self._result(item.get("call_id"))


class ChatAgentReader(_PendingCalls):
    """Of a ``ChatAgent``."""

    def whole(self, answer: Any) -> Iterator[Part]:
        answer = record(answer)
        for message in listed(answer.get("messages")):
            yield from self._message(message)
        self._take_rest(answer)
        self.extras = {
            name: answer[name] for name in ("messages", "custom_outputs") if name in answer
        }

    def value(self, value: Any) -> Iterator[Part]:
        chunk = record(value)
        yield from self._message(chunk.get("delta"))
        self._take_rest(chunk)
        if "custom_outputs" in chunk:
            self.extras["custom_outputs"] = chunk["custom_outputs"]

    def _message(self, message: Any) -> Iterator[Part]:
        message = record(message)
        if message.get("role") == "tool":
            self._result(message.get("tool_call_id"))
            return
        if text := message.get("content"):
            yield str(text)
        for call in map(tool_call, listed(message.get("tool_calls"))):
            self._call(call)

    def _take_rest(self, answer: Mapping[str, Any]) -> None:
        self.finish_reason = answer.get("finish_reason") or self.finish_reason
        self.usage = answer.get("usage") or self.usage


class ChatReader(_PendingCalls):
    """Of a ``ChatModel``, and of flavors that answer chats."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[ToolCall] = []

    def whole(self, answer: Any) -> Iterator[Part]:
        answer = completion(answer)
        yield from self._choice(answer, "message")
        if "custom_outputs" in answer:
            self.extras = {"custom_outputs": answer["custom_outputs"]}

    def value(self, value: Any) -> Iterator[Part]:
        yield from self._choice(record(value), "delta")

    def end(self) -> Iterator[Part]:
        for call in self._pieces:
            self._call(call)
        return super().end()

    def _choice(self, answer: Mapping[str, Any], member: str) -> Iterator[Part]:
        self.usage = answer.get("usage") or self.usage
        choices = listed(answer.get("choices"))
        if len(choices) > 1 or any(record(choice).get("index", 0) for choice in choices):
            raise OddAnswer("cannot say the answer of this model here: it has several choices")
        for choice in choices:
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            message = record(choice.get(member) or {})
            if text := message.get("content") or message.get("refusal"):
                yield str(text)
            for call in listed(message.get("tool_calls")):
                self._add(record(call))

    def _add(self, given: Mapping[str, Any]) -> None:
        place, call = given.get("index"), tool_call(given)
        if type(place) is int and 0 <= place < len(self._pieces):
            known = self._pieces[place]
            call = ToolCall(
                known.id or call.id, known.name or call.name, known.arguments + call.arguments
            )
            self._pieces[place] = call
        else:
            self._pieces.append(call)


def record(value: Any) -> dict[str, Any]:
    """The value, which has to be a JSON object.

    Raises:
        OddAnswer: it is none.
    """
    if type(value) is not dict:
        raise _odd()
    return value


def listed(value: Any) -> list[Any]:
    """The value, which has to be a JSON array; empty where the model says nothing.

    Raises:
        OddAnswer: it is none.
    """
    if value is None:
        return []
    if type(value) is not list:
        raise _odd()
    return value


def _odd() -> OddAnswer:
    return OddAnswer("cannot say the answer of this model here: it has not the form of its task")


def completion(answer: Any) -> dict[str, Any]:
    """The answer to a chat; some flavors give a list of one.

    Raises:
        OddAnswer: it is none.
    """
    if type(answer) is dict and "choices" not in answer and "predictions" in answer:
        answer = answer["predictions"]
    if type(answer) is list and len(answer) == 1:
        answer = answer[0]
    return record(answer)


def item_text(item: Mapping[str, Any]) -> str:
    """The text of a message in the output of a response.

    Raises:
        OddAnswer: its content is neither a text nor a list.
    """
    content = item.get("content")
    if type(content) is str:
        return content
    parts = [part for part in listed(content) if type(part) is dict]
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def stream_error(event: Mapping[str, Any]) -> ModelFailed:
    """The error that a model tells in place of an event."""
    response = event.get("response")
    error = (response.get("error") if type(response) is dict else None) or event
    message = error.get("message", "") if isinstance(error, Mapping) else error
    return ModelFailed(f"cannot get an answer: the model says {str(message)[:300]!a}")
