"""Agents of MLflow's three interfaces, which do what ``agent_scripts`` says. The import takes seconds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.pyfunc import ChatAgent, ChatModel, ResponsesAgent
from mlflow.types.agent import ChatAgentChunk, ChatAgentMessage, ChatAgentResponse
from mlflow.types.llm import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionResponse,
    ChatMessage,
    ToolCall,
)
from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent

from tests.support.agent_scripts import CALL, MODELS, TOKENS


def _words(text: str) -> Iterator[str]:
    if text == "refuse":
        raise ValueError("secret")
    if text == "fail":
        yield "word "
        raise ValueError("secret")
    if text == "use":
        text = "found it"
    if text != "call":
        yield from (f"{word} " for word in text.split())


def _usage() -> dict[str, Any]:
    asked, said = TOKENS
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


class Responses(ResponsesAgent):
    def predict(self, request: Any) -> Any:
        events = [*self._events(request)]
        items = [one["item"] for one in events if one["type"] == "response.output_item.done"]
        return ResponsesAgentResponse(output=items, usage=self._usage())

    def predict_stream(self, request: Any) -> Iterator[Any]:
        for event in self._events(request):
            yield ResponsesAgentStreamEvent(**event)
        yield ResponsesAgentStreamEvent(
            type="response.completed", response={"output": [], "usage": self._usage()}
        )

    def _events(self, request: Any) -> Iterator[dict[str, Any]]:
        content = request.model_dump()["input"][-1]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        done = "response.output_item.done"
        if text in ("call", "use"):
            function = CALL["function"]
            item = self.create_function_call_item("fc-1", str(CALL["id"]), **function)  # type: ignore[arg-type]
            yield {"type": done, "item": item}
        if text == "use":
            output = self.create_function_call_output_item(str(CALL["id"]), "1")
            yield {"type": done, "item": output}
        words = []
        for word in _words(text):
            words.append(word)
            yield self.create_text_delta(word, "m-1")
        if words:
            item = self.create_text_output_item("".join(words), "m-1")
            yield {"type": done, "item": item}

    def _usage(self) -> dict[str, Any]:
        asked, said = TOKENS
        return {
            "input_tokens": asked, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + said,
        }  # fmt: skip


class Chats(ChatAgent):
    def predict(self, messages: Any, context: Any = None, custom_inputs: Any = None) -> Any:
        made: dict[str, ChatAgentMessage] = {}
        for message in self._messages(messages):
            assert message.id is not None
            if message.id in made:
                message.content = f"{made[message.id].content}{message.content}"
            made[message.id] = message
        return ChatAgentResponse(messages=[*made.values()], usage=_usage())

    def predict_stream(
        self, messages: Any, context: Any = None, custom_inputs: Any = None
    ) -> Iterator[Any]:
        for message in self._messages(messages):
            yield ChatAgentChunk(delta=message, usage=_usage())

    def _messages(self, messages: Any) -> Iterator[ChatAgentMessage]:
        text = messages[-1].content
        if text in ("call", "use"):
            yield ChatAgentMessage(role="assistant", id="1", content="", tool_calls=[CALL])
        if text == "use":
            id = str(CALL["id"])
            yield ChatAgentMessage(role="tool", id="2", content="1", name="look", tool_call_id=id)
        for word in _words(text):
            yield ChatAgentMessage(role="assistant", id="3", content=word)


class Model(ChatModel):
    def predict(self, context: Any, messages: Any, params: Any) -> Any:
        text, calls = "".join(_words(messages[-1].content)), None
        if messages[-1].content == "call":
            text, calls = "", [ToolCall.from_dict(CALL)]
        message = ChatMessage("assistant", text, tool_calls=calls)
        choice = ChatChoice(
            index=0, message=message, finish_reason="tool_calls" if calls else "stop"
        )
        return ChatCompletionResponse(choices=[choice], model="x", usage=_usage())

    def predict_stream(self, context: Any, messages: Any, params: Any) -> Iterator[Any]:
        for word in _words(messages[-1].content):
            yield self._chunk(content=word)
        if messages[-1].content == "call":
            yield self._chunk(tool_calls=[ToolCall.from_dict(CALL)])

    def _chunk(self, **delta: Any) -> Any:
        choice = ChatChunkChoice(index=0, delta=ChatChoiceDelta(role="assistant", **delta))
        return ChatCompletionChunk(choices=[choice], usage=_usage())


def save(folder: Path) -> None:
    """Save each of them in a folder of its name."""
    import mlflow

    for name, made in zip(MODELS, (Responses, Chats, Model), strict=True):
        mlflow.pyfunc.save_model(folder / name, python_model=made(), pip_requirements=[])
