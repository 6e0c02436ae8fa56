"""The events of a response: those that a model yields, and those that OpenAI's clients expect around them.

A ``ResponsesAgent`` yields pieces of text and finished items (``mlflow.types.responses``). OpenAI's stream
also says where each item begins and ends, and numbers everything:
https://platform.openai.com/docs/api-reference/responses-streaming
"""

import re
from collections.abc import Iterator
from typing import Any

from model_deployment.core.errors import OddAnswer
from model_deployment.gate import dumps
from model_deployment.proxy.openai.readers import item_text, record, stream_error
from model_deployment.worker.stream_frames import END

#: Said by us at the beginning and at the end, whatever the model says of it.
_OURS = frozenset({"response.created", "response.in_progress", "response.queued"})
_KIND = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


class ResponseEvents:
    """Writes the events of one response."""

    def __init__(self, head: dict[str, Any]) -> None:
        """``head``: the response, as far as it is known at the beginning."""
        self.response = head
        self._number = 0
        #: Items that were begun, in their order, and what came of their text.
        self._texts: dict[str, str] = {}
        #: Items whose beginning and end the model says itself.
        self._own: set[str] = set()
        self._done: dict[str, Any] = {}
        self._begun = False
        self._last = "response.completed"

    def value(self, value: Any) -> Iterator[bytes]:
        """The events for the next value that the model yields.

        Raises:
            OddAnswer, ModelFailed: it is no event, or says that the model failed.
        """
        event = record(value)
        yield from self.begin()
        kind = str(event.get("type", ""))
        match kind:
            case "response.completed" | "response.incomplete":
                self._take(record(event.get("response")))
                self._last = kind
            case "error" | "response.failed":
                raise stream_error(event)
            case "response.output_text.delta":
                yield from self._text(str(event.get("item_id")), event)
            case "response.output_item.added":
                item = record(event.get("item"))
                self._own.add(self._id(item))
                self._place(item)
                yield self._event(event)
            case "response.output_item.done":
                yield from self._item(record(event.get("item")), event)
            case _ if kind not in _OURS:
                yield self._event(event)

    def begin(self) -> Iterator[bytes]:
        """The first events, once."""
        if not self._begun:
            self._begun = True
            begun = {**self.response, "status": "in_progress", "output": []}
            for kind in ("response.created", "response.in_progress"):
                yield self._event({"type": kind, "response": begun})

    def end(self) -> Iterator[bytes]:
        """The last events."""
        yield from self.begin()
        for id, text in [*self._texts.items()]:
            if id not in self._done:
                yield from self._item(message_item(id, text), {})
        output = [self._done[id] for id in self._texts if id in self._done]
        status = self._last.partition(".")[2]
        self.response |= {"status": status, "output": output or self.response["output"]}
        yield self._event({"type": self._last, "response": self.response})

    def failed(self, error: dict[str, Any]) -> Iterator[bytes]:
        """What ends a response that failed; ``error`` as answers have it."""
        yield from self.begin()
        told = {name: error[name] for name in ("code", "message", "param")}
        yield self._event({"type": "error", **told})
        reason = {"code": "server_error", "message": error["message"]}
        failed = {**self.response, "status": "failed", "error": reason}
        yield self._event({"type": "response.failed", "response": failed})

    def _take(self, response: dict[str, Any]) -> None:
        """What the model says of the whole response, but for what is ours to say."""
        kept = {name: value for name, value in response.items() if value is not None}
        self.response |= {name: kept[name] for name in kept.keys() - {"id", "model", "created_at"}}

    def _text(self, id: str, event: dict[str, Any]) -> Iterator[bytes]:
        if id not in self._texts and id not in self._own:
            self._texts[id] = ""
            place = self._index(id)
            item = message_item(id, None) | {"status": "in_progress"}
            yield self._event(
                {"type": "response.output_item.added", "output_index": place, "item": item}
            )
            yield self._part("response.content_part.added", id, part=_part(""))
        delta = str(event.get("delta", ""))
        self._texts[id] = self._texts.get(id, "") + delta
        yield self._event({"content_index": 0, "logprobs": [], **_said(event),
                           "output_index": self._index(id)})  # fmt: skip

    def _item(self, item: dict[str, Any], event: dict[str, Any]) -> Iterator[bytes]:
        id = self._id(item)
        item = {"id": id, "status": "completed", **item}
        if id not in self._own:
            begun = id in self._texts
            place = self._place(item)
            if begun and item.get("type") == "message":
                text = item_text(item)
                yield self._part("response.output_text.done", id, text=text, logprobs=[])
                content = item.get("content")
                part = content[0] if type(content) is list and content else _part(text)
                yield self._part("response.content_part.done", id, part=part)
            elif not begun:
                yield self._event(
                    {"type": "response.output_item.added", "output_index": place, "item": item}
                )
        self._done[id] = item
        yield self._event({
            **_said(event), "type": "response.output_item.done",
            "output_index": self._place(item), "item": item,
        })  # fmt: skip

    def _id(self, item: dict[str, Any]) -> str:
        """The id of an item; items without one get their place for it."""
        return str(item.get("id") or item.get("call_id") or f"item_{len(self._texts)}")

    def _place(self, item: dict[str, Any]) -> Any:
        id = self._id(item)
        self._texts.setdefault(id, "")
        return self._index(id)

    def _index(self, id: str) -> int:
        return [*self._texts].index(id)

    def _part(self, kind: str, id: str, **more: Any) -> bytes:
        place = {"item_id": id, "output_index": self._index(id), "content_index": 0}
        return self._event({"type": kind, **place, **more})

    def _event(self, event: dict[str, Any]) -> bytes:
        event = {**event, "sequence_number": self._number}
        self._number += 1
        kind = str(event.get("type", ""))
        if not _KIND.fullmatch(kind):
            raise OddAnswer("cannot say the answer of this model here: an event has an odd type")
        return b"event: %b\ndata: %b" % (kind.encode(), dumps(event)) + END


def message_item(id: str, text: str | None) -> dict[str, Any]:
    """A message of the assistant; without content where there is no text yet."""
    content = [] if text is None else [_part(text)]
    return {"id": id, "type": "message", "role": "assistant", "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _said(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if value is not None}
