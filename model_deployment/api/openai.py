"""The calls of OpenAI's clients, which the proxies in front answer; the routes describe them in OpenAPI."""

from typing import Any

from fastapi import APIRouter

from model_deployment.core.errors import Unavailable

_MODEL = {
    "id": "words@champion",
    "object": "model",
    "created": 1764460800,
    "owned_by": "model-deployment",
    "task": "agent/v1/responses",
    "streams": True,
}
_CHAT = {
    "model": "words@champion",
    "messages": [{"role": "user", "content": "hello there"}],
    "stream": False,
}
_COMPLETION = {
    "id": "chatcmpl-4f0c",
    "object": "chat.completion",
    "created": 1764460800,
    "model": "words@champion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello there "},
            "finish_reason": "stop",
        }
    ],
}
_RESPONSE = {
    "id": "resp_4f0c",
    "object": "response",
    "created_at": 1764460800,
    "model": "words@champion",
    "status": "completed",
    "output": [
        {
            "id": "message-1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hello there ", "annotations": []}],
        }
    ],
}
_ERROR = {
    "error": {
        "message": "cannot find the model 'word': no deployment and no endpoint has this name",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
}
_ERRORS = {
    400: "The body is not understood, or asks what this model cannot be asked; `param` says where",
    401: "No valid password",
    404: "Nothing of this name is deployed",
    429: "Too many requests wait for the model",
    502: "The model raised an exception, or its process ended",
    503: "Deployed but not ready",
    504: "The model did not answer in time",
}


def router() -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["predictions"])

    @routes.post(
        "/chat/completions",
        summary="Chat with an agent (OpenAI's chat completions)",
        **_described(_CHAT, _COMPLETION, streams=True),
    )
    async def chat_completions() -> dict[str, Any]:
        """OpenAI's API for chats, for models that were logged as an agent or a chat model.

        `model` is the name of a deployment or of an endpoint, as in the path of a prediction. With
        `"stream": true` the answer is a stream of `chat.completion.chunk`. Errors have OpenAI's form.
        """
        raise _not_here()

    @routes.post(
        "/responses",
        summary="Ask an agent for a response (OpenAI's responses)",
        **_described({"model": "words@champion", "input": "hello there"}, _RESPONSE, streams=True),
    )
    async def responses() -> dict[str, Any]:
        """OpenAI's API for responses; as `POST /v1/chat/completions` in all else.

        With `"stream": true` the answer is a stream of events.
        """
        raise _not_here()

    @routes.get(
        "/models",
        summary="List the models that chat, in OpenAI's form",
        **_described(None, {"object": "list", "data": [_MODEL]}),
    )
    async def openai_models() -> dict[str, Any]:
        """Deployments and endpoints whose model was logged as an agent or a chat model."""
        raise _not_here()

    @routes.get(
        "/models/{name}",
        summary="Describe a model that chats, in OpenAI's form",
        **_described(None, _MODEL),
    )
    async def openai_model(name: str) -> dict[str, Any]:
        """One of `GET /v1/models`."""
        raise _not_here()

    return routes


def _not_here() -> Unavailable:
    return Unavailable("cannot answer this here: the proxies answer it", retry_after=1)


def _described(body: Any, answer: Any, *, streams: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"example": answer}}
    if streams:
        events = 'data: {"object": "chat.completion.chunk", …}\n\ndata: [DONE]\n\n'
        content["text/event-stream"] = {"schema": {"type": "string"}, "example": events}
    answers: dict[int | str, Any] = {200: {"description": "The answer", "content": content}}
    for status, description in _ERRORS.items():
        error = {"schema": {"type": "object"}, "example": _ERROR}
        answers[status] = {"description": description, "content": {"application/json": error}}
    described: dict[str, Any] = {"responses": answers}
    if body is not None:
        json = {"schema": {"type": "object"}, "example": body}
        described["openapi_extra"] = {
            "requestBody": {"required": True, "content": {"application/json": json}}
        }
    return described
