"""An agent without a network: it says the caller's words back, one after the other.

As a file it is a model as code: ``register.py`` logs it, and MLflow runs it where the model is loaded.
"""

from collections.abc import Iterator

from mlflow.models import set_model
from mlflow.pyfunc import ResponsesAgent
from mlflow.types.responses import (
    ResponsesAgentRequest,
    ResponsesAgentResponse,
    ResponsesAgentStreamEvent,
)


class Words(ResponsesAgent):
    """Says each word of the last message."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        words = _words(request)
        item = self.create_text_output_item("".join(words), "message-1")
        return ResponsesAgentResponse(output=[item], usage=_usage(words))

    def predict_stream(self, request: ResponsesAgentRequest) -> Iterator[ResponsesAgentStreamEvent]:
        words = _words(request)
        for word in words:
            yield ResponsesAgentStreamEvent(**self.create_text_delta(word, "message-1"))
        item = self.create_text_output_item("".join(words), "message-1")
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)
        response = ResponsesAgentResponse(output=[item], usage=_usage(words))
        yield ResponsesAgentStreamEvent(type="response.completed", response=response.model_dump())


def _words(request: ResponsesAgentRequest) -> list[str]:
    content = request.model_dump()["input"][-1].get("content") or ""
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content)
    return [f"{word} " for word in content.split()]


def _usage(words: list[str]) -> dict[str, object]:
    """Counts of tokens, as OpenAI has them: here a word is one."""
    return {
        "input_tokens": len(words),
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(words),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2 * len(words),
    }


set_model(Words())
