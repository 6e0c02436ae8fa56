"""Answers as ``POST /v1/responses`` gives them.

Source: https://platform.openai.com/docs/api-reference/responses
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.gate import dumps
from model_deployment.proxy.dialect import ErrorAnswer
from model_deployment.proxy.joined_answer import read
from model_deployment.proxy.openai.chat_parts import ToolCall, response_usage
from model_deployment.proxy.openai.errors import error_document, error_object
from model_deployment.proxy.openai.readers import Part, Reader, listed, record
from model_deployment.proxy.openai.response_events import ResponseEvents, message_item
from model_deployment.proxy.openai.whole_answer import parsed


class Source(Protocol):
    """Says what a model says as a ``ResponsesAgent`` would."""

    def whole(self, answer: Any) -> dict[str, Any]:
        """The response that a whole answer is."""
        ...

    def events(self, value: Any) -> Iterator[Any]:
        """The events that a value of a stream is."""
        ...

    def last(self) -> Iterator[Any]:
        """The events behind the last value."""
        ...


class OwnEvents:
    """Of a model that speaks of responses itself."""

    def whole(self, answer: Any) -> dict[str, Any]:
        return record(answer)

    def events(self, value: Any) -> Iterator[Any]:
        yield value

    def last(self) -> Iterator[Any]:
        yield from ()


class ReadEvents:
    """Of a model that chats."""

    def __init__(self, request_id: str, reader: Reader) -> None:
        self._reader = reader
        self._id = f"msg_{request_id}"

    def whole(self, answer: Any) -> dict[str, Any]:
        parts = [*self._reader.whole(answer), *self._reader.end()]
        text = "".join(part for part in parts if type(part) is str)
        calls = [part.as_item(f"fc_{part.id}") for part in parts if isinstance(part, ToolCall)]
        messages = [message_item(self._id, text)] if text or not calls else []
        return self._reader.extras | {"output": messages + calls, "usage": self._reader.usage}

    def events(self, value: Any) -> Iterator[Any]:
        yield from map(self._event, self._reader.value(value))

    def last(self) -> Iterator[Any]:
        yield from map(self._event, self._reader.end())
        response = {"usage": response_usage(self._reader.usage)}
        yield {"type": "response.completed", "response": response}

    def _event(self, part: Part) -> dict[str, Any]:
        if isinstance(part, ToolCall):
            return {"type": "response.output_item.done", "item": part.as_item(f"fc_{part.id}")}
        return {"type": "response.output_text.delta", "item_id": self._id, "delta": part}


class ResponsesDialect:
    """Of one request."""

    def __init__(self, model: str, request_id: str, source: Source, *, streams: bool) -> None:
        """``model``: as the caller has named it."""
        self.streams = streams
        self._source = source
        self._events = ResponseEvents({
            "id": f"resp_{request_id}", "object": "response", "created_at": int(time.time()),
            "model": model, "status": "in_progress", "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "output": [], "parallel_tool_calls": True,
            "temperature": None, "tool_choice": "auto", "tools": [], "top_p": None, "usage": None,
        })  # fmt: skip

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        return error_document(error)

    def answer(self, content: bytes) -> bytes:
        said = self._source.whole(parsed(content))
        kept = {name: value for name, value in said.items() if value is not None}
        if usage := response_usage(said.get("usage")):
            kept["usage"] = usage
        if self.streams:
            items = listed(kept.pop("output", None))
            done = [{"type": "response.output_item.done", "item": one} for one in items]
            events = [*done, {"type": "response.completed", "response": kept}]
            written = [one for event in events for one in self._events.value(event)]
            return b"".join([*written, *self._events.end()])
        ours = {name: self._events.response[name] for name in ("id", "model", "created_at")}
        return dumps({**self._events.response, "status": "completed", **kept, **ours})

    def frames(self, frames: Sequence[bytes]) -> bytes:
        events = (event for frame in frames for event in self._source.events(read(frame)))
        return b"".join(one for event in events for one in self._events.value(event))

    def failure(self, error: ModelDeploymentError) -> bytes:
        return b"".join(self._events.failed(error_object(error)))

    def end(self) -> bytes:
        last = [one for event in self._source.last() for one in self._events.value(event)]
        return b"".join([*last, *self._events.end()])
