"""Answers as ``POST /v1/chat/completions`` gives them.

Source: https://platform.openai.com/docs/api-reference/chat
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError, OddAnswer
from model_deployment.gate import dumps
from model_deployment.proxy.dialect import ErrorAnswer
from model_deployment.proxy.joined_answer import read
from model_deployment.proxy.openai.chat_parts import ToolCall, chat_usage
from model_deployment.proxy.openai.errors import error_document, error_object
from model_deployment.proxy.openai.readers import Part, Reader, completion, listed, record
from model_deployment.proxy.openai.whole_answer import parsed
from model_deployment.worker.stream_frames import DATA, DONE, END


class ChatDialect:
    """Of one request to an agent, whose answer is made of parts."""

    def __init__(
        self, model: str, request_id: str, reader: Reader, *, streams: bool, tells_usage: bool
    ) -> None:
        """
        Args:
            model: as the caller has named it.
            tells_usage: the caller wants the counts of tokens behind a stream.
        """
        self.streams = streams
        self._reader = reader
        self._tells_usage = tells_usage
        self._begun = False
        self._head = {
            "id": f"chatcmpl-{request_id}",
            "created": int(time.time()),
            "model": model,
        }

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        return error_document(error)

    def answer(self, content: bytes) -> bytes:
        parts = [*self._reader.whole(parsed(content))]
        if self.streams:
            return b"".join(self._chunks(parts)) + self.end()
        parts += self._reader.end()
        text = "".join(part for part in parts if type(part) is str)
        calls = [part.in_chat() for part in parts if isinstance(part, ToolCall)]
        message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        reason = self._reader.finish_reason or "stop"
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        said = {**self._head, "object": "chat.completion", "choices": [choice]}
        if usage := chat_usage(self._reader.usage):
            said["usage"] = usage
        return dumps(self._reader.extras | said)

    def frames(self, frames: Sequence[bytes]) -> bytes:
        parts = (part for frame in frames for part in self._reader.value(read(frame)))
        return b"".join(self._chunks(parts))

    def failure(self, error: ModelDeploymentError) -> bytes:
        return DATA + orjson.dumps({"error": error_object(error)}) + END + DONE

    def end(self) -> bytes:
        chunks = [*self._chunks(self._reader.end())]
        chunks += [] if self._begun else [self._chunk({"role": "assistant", "content": ""})]
        chunks.append(self._chunk({}, finish_reason=self._reader.finish_reason or "stop"))
        usage = chat_usage(self._reader.usage)
        if usage and self._tells_usage:
            chunks.append(self._frame(choices=[], usage=usage))
        return b"".join([*chunks, DONE])

    def _chunks(self, parts: Iterable[Part]) -> Iterator[bytes]:
        for number, part in enumerate(parts):
            if isinstance(part, ToolCall):
                delta: dict[str, Any] = {"tool_calls": [{"index": number, **part.in_chat()}]}
            else:
                delta = {"content": part}
            if not self._begun:
                self._begun = True
                delta = {"role": "assistant", **delta}
            yield self._chunk(delta)

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._frame(choices=[choice])

    def _frame(self, **more: Any) -> bytes:
        return DATA + dumps({**self._head, "object": "chat.completion.chunk", **more}) + END


class CompletionDialect:
    """Of one request to a model whose answers have this form already; what they lack is added."""

    def __init__(self, model: str, request_id: str, *, streams: bool) -> None:
        self.streams = streams
        self._finished: set[int] = set()
        self._seen: set[int] = set()
        #: Choices that call tools.
        self._calling: set[int] = set()
        self._head = {"id": f"chatcmpl-{request_id}", "created": int(time.time()), "model": model}

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        return error_document(error)

    def answer(self, content: bytes) -> bytes:
        answer = without_nulls(completion(parsed(content)))
        if self.streams:
            chunks = map(_as_chunk, listed(answer.get("choices")))
            return self._chunk({**answer, "choices": [*chunks]}) + self.end()
        return dumps(
            self._head | answer | {"object": "chat.completion", "model": self._head["model"]}
        )

    def frames(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(self._chunk(record(read(frame))) for frame in frames)

    def failure(self, error: ModelDeploymentError) -> bytes:
        return DATA + orjson.dumps({"error": error_object(error)}) + END + DONE

    def end(self) -> bytes:
        left = sorted(self._seen - self._finished) if self._seen else [0]
        choices: list[Any] = [
            {"index": place, "delta": {}, "finish_reason": self._reason(place)} for place in left
        ]
        last = [self._frame({"choices": choices})] if choices else []
        return b"".join([*last, DONE])

    def _reason(self, place: int) -> str:
        return "tool_calls" if place in self._calling else "stop"

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        for choice in listed(chunk.get("choices")):
            place = record(choice).get("index", 0)
            if type(place) is not int:
                raise OddAnswer("cannot say the answer of this model here: a choice has no number")
            self._seen.add(place)
            if choice.get("finish_reason") is not None:
                self._finished.add(place)
            if record(choice.get("delta") or {}).get("tool_calls"):
                self._calling.add(place)
            choice.setdefault("finish_reason", None)
        return self._frame(without_nulls(chunk))

    def _frame(self, chunk: dict[str, Any]) -> bytes:
        return DATA + dumps(chunk | self._head | {"object": "chat.completion.chunk"}) + END


def _as_chunk(choice: Any) -> dict[str, Any]:
    """The choice of a whole answer as that of one chunk."""
    one = {name: value for name, value in record(choice).items() if name != "message"}
    delta = dict(record(choice.get("message") or {}))
    if calls := listed(delta.get("tool_calls")):
        # Clients put the pieces of calls together by their index.
        delta["tool_calls"] = [{"index": n, **record(call)} for n, call in enumerate(calls)]
    return {"delta": delta, **one}


def without_nulls(answer: dict[str, Any]) -> dict[str, Any]:
    """What a model left empty is not said."""
    return {name: value for name, value in answer.items() if value is not None}
