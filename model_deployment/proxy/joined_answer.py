"""The values of a stream as the one answer that they amount to. Pure.

The form of the values tells which interface they are of: MLflow's events of responses, its chunks of chat
agents, OpenAI's chunks of chats; anything else is a list, or one text.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from model_deployment.gate import MalformedJson, dumps, loads
from model_deployment.proxy.answers import valid_json
from model_deployment.worker.stream_frames import DATA

_CHUNK = "chat.completion.chunk"


def joined(frames: Sequence[bytes]) -> bytes:
    """The answer as JSON.

    Args:
        frames: in their order, without their ends.
    """
    return dumps(joined_values([value for frame in frames if (value := read(frame)) is not None]))


def read(frame: bytes) -> Any:
    """The value of a frame; None if it has none."""
    if not frame.startswith(DATA):
        return None
    content = valid_json(frame[len(DATA) :])
    try:
        return orjson.loads(content)
    except ValueError:
        pass
    try:
        return loads(content)
    except MalformedJson:
        return None


def joined_values(values: Sequence[Any]) -> Any:
    """The answer that values of a stream amount to, as MLflow's server would have given it whole."""
    records = [value for value in values if type(value) is dict]
    if not values or len(records) < len(values):
        texts = bool(values) and all(type(value) is str for value in values)
        return {"predictions": "".join(values) if texts else list(values)}
    kinds = [str(value.get("type", "")) for value in records]
    if all(kind.startswith("response.") or kind == "error" for kind in kinds):
        return response_of(records)
    if all(value.get("object") == _CHUNK for value in records):
        return _completion(records)
    if all(_is_message(value.get("delta")) for value in records):
        return chat_agent_answer(records)
    return {"predictions": records}


def _is_message(delta: Any) -> bool:
    """Whether it is the delta of a chunk of a ``ChatAgent``."""
    return type(delta) is dict and "id" in delta and type(delta["id"]) not in (list, dict)


def response_of(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The response of a ``ResponsesAgent``, from its events."""
    items: list[Any] = []
    texts: dict[str, str] = {}
    for event in events:
        match event.get("type"):
            case "response.completed" if type(event.get("response")) is dict:
                response: dict[str, Any] = event["response"]
                return response
            case "response.output_item.done":
                item = event.get("item")
                items.append(item)
                texts.pop(str(item.get("id")) if type(item) is dict else "", None)
            case "response.output_text.delta":
                id, delta = str(event.get("item_id")), event.get("delta")
                texts[id] = texts.get(id, "") + (delta if type(delta) is str else "")
    for id, text in texts.items():  # begun and never done
        content = [{"type": "output_text", "text": text, "annotations": []}]
        items.append({"type": "message", "id": id, "role": "assistant", "content": content})
    return {"object": "response", "output": items}


def chat_agent_answer(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a ``ChatAgent``, from its chunks: those with an equal id are one message."""
    messages: dict[Any, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for chunk in chunks:
        delta = chunk["delta"]
        message = messages.setdefault(delta["id"], {})
        for name, value in delta.items():
            before = message.get(name)
            more = name == "content" and type(before) is str and type(value) is str
            more = more or (name == "tool_calls" and type(before) is list and type(value) is list)
            message[name] = before + value if more else value
        answer |= {name: value for name, value in chunk.items() if name != "delta"}
    return {"messages": [*messages.values()], **answer}


def _completion(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    choices: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for chunk in chunks:
        answer |= {name: value for name, value in chunk.items() if value is not None}
        given = chunk.get("choices")
        for choice in given if type(given) is list else ():
            if type(choice) is dict and type(index := choice.get("index", 0)) is int:
                _add_choice(choices.setdefault(index, {}), choice)
    ordered = [{"index": index, **choice} for index, choice in sorted(choices.items())]
    return {**answer, "object": "chat.completion", "choices": ordered}


def _add_choice(choice: dict[str, Any], chunk: dict[str, Any]) -> None:
    message = choice.setdefault("message", {})
    if chunk.get("finish_reason") is not None:
        choice["finish_reason"] = chunk["finish_reason"]
    delta = chunk.get("delta")
    for name, value in delta.items() if type(delta) is dict else ():
        if value is None:
            continue
        before = message.get(name)
        if name == "tool_calls" and type(value) is list:
            message[name] = _with_calls(before if type(before) is list else [], value)
        elif name in ("content", "refusal") and type(before) is str and type(value) is str:
            message[name] = before + value
        else:
            message[name] = value


def _with_calls(calls: list[Any], more: list[Any]) -> list[Any]:
    """Calls of tools and further pieces of them, which say which call they belong to."""
    known = [*calls]
    for piece in more:
        place = piece.get("index") if type(piece) is dict else None
        if type(place) is not int or not 0 <= place < len(known) or type(known[place]) is not dict:
            known.append(piece)
            continue
        functions = [
            one if type(one := call.get("function")) is dict else {}
            for call in (known[place], piece)
        ]
        arguments = "".join(str(one.get("arguments") or "") for one in functions)
        known[place] = known[place] | {"function": {**functions[0], "arguments": arguments}}
    return known
