"""OpenAI's paths: which deployment or endpoint a request means, and how it is asked.

``model`` in the body is what comes behind ``/`` in the path of a prediction: ``<model>-<version>``,
``<model>@<alias>``, or ``<model>`` for its default endpoint. From there on it is a request for that path.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote

import orjson

from model_deployment.core.agent import Agent, Interface
from model_deployment.core.errors import MethodNotAllowed, ModelDeploymentError, NotFound
from model_deployment.gate import dumps, loads
from model_deployment.proxy import problems
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.dialect import MLFLOW, Dialect, ErrorAnswer
from model_deployment.proxy.endpoint_table import EndpointEntry
from model_deployment.proxy.offload import LARGE, run
from model_deployment.proxy.openai.chat_dialect import ChatDialect, CompletionDialect
from model_deployment.proxy.openai.errors import BadChat, NoSuchModel, error_document
from model_deployment.proxy.openai.model_requests import chat_request, response_request
from model_deployment.proxy.openai.readers import (
    ChatAgentReader,
    ChatReader,
    Reader,
    ResponsesReader,
)
from model_deployment.proxy.openai.responses_dialect import OwnEvents, ReadEvents, ResponsesDialect
from model_deployment.proxy.route_entry import RouteEntry
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.translated_bodies import TranslatedBodies

PREFIX = b"/v1/"
_CHATS, _RESPONSES, _MODELS = b"/v1/chat/completions", b"/v1/responses", b"/v1/models"


class ErrorDialect:
    """OpenAI's form of errors, for requests that are not understood yet."""

    streams = False

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        return error_document(error)

    answer = staticmethod(MLFLOW.answer)
    frames = staticmethod(MLFLOW.frames)
    failure = staticmethod(MLFLOW.failure)
    end = staticmethod(MLFLOW.end)


_ERRORS: Dialect = ErrorDialect()


class OpenAiPaths:
    """Turns requests at OpenAI's paths into requests for models."""

    def __init__(self, routes: Routes, context: ExchangeContext) -> None:
        self._routes = routes
        self._bodies = TranslatedBodies(context)

    def claims(self, request: CallerRequest) -> bool:
        """Whether the request is at one of these paths; its caller then gets errors in OpenAI's form."""
        if not request.path.startswith(PREFIX):
            return False
        request.dialect = _ERRORS
        return True

    async def prepare(self, request: CallerRequest) -> bool:
        """Make it a request for a model.

        Returns:
            False if it has been answered.
        """
        try:
            match request.method, request.path:
                case "GET" | "HEAD", path if path == _MODELS or path.startswith(_MODELS + b"/"):
                    self._answer(request, self._models(path))
                    return False
                case "POST", path if path in (_CHATS, _RESPONSES):
                    await self._translate(request)
                    return True
            raise _unknown(request)
        except ModelDeploymentError as error:
            if request.body_complete:
                problems.respond(request, error)
            else:
                await problems.refuse(request, error)
        return False

    async def _translate(self, request: CallerRequest) -> None:
        async with self._bodies.received(request) as content:
            path, made, dialect = await self._translated(request, content)
        request.redirect(path, made)
        request.dialect = dialect

    async def _translated(
        self, request: CallerRequest, content: bytes
    ) -> tuple[bytes, bytes, Dialect]:
        """The path of the model, the body for it, and the form of its answer."""
        large = len(content) > LARGE
        body = await run(large, loads, content)
        if type(body) is not dict:
            raise BadChat("cannot read the body: it is no JSON object")
        model = body.get("model")
        if type(model) is not str or not model:
            raise BadChat(
                'cannot find the model: name it in "model", as in GET /v1/models', param="model"
            )
        path = b"/" + quote(model, safe="@").encode("ascii")
        agent = self._agent(path, model)
        asks = chat_request if request.path == _CHATS else response_request
        made = await run(large, lambda: dumps(asks(body, agent)))
        return path, made, _dialect(request, model, agent, body)

    def _agent(self, path: bytes, model: str) -> Agent:
        entry = self._routes.lookup(path)
        deployment = entry.champion if isinstance(entry, EndpointEntry) else entry
        if deployment is not None:
            return deployment.kind.agent
        if entry is not None:
            assert isinstance(entry, EndpointEntry)  # noqa: S101 - the other kind is its deployment
            raise problems.no_champion(entry.route)
        raise NoSuchModel(
            f"cannot find the model {model[:200]!a}: no deployment and no endpoint has this name. "
            f"GET /v1/models lists those that chat",
            param="model",
            code="model_not_found",
        )

    def _models(self, path: bytes) -> dict[str, Any]:
        listed = [*self._listed()]
        if path == _MODELS:
            return {"object": "list", "data": listed}
        name = unquote(path.removeprefix(_MODELS + b"/").decode("ascii", "replace"))
        for one in listed:
            if one["id"] == name:
                return one
        raise NoSuchModel(
            f"cannot find the model {name[:200]!a}: nothing of this name is deployed that chats",
            param="model",
            code="model_not_found",
        )

    def _listed(self) -> Iterable[dict[str, Any]]:
        for name, entry in sorted(self._routes.names()):
            deployment = entry.champion if isinstance(entry, EndpointEntry) else entry
            if deployment is not None and deployment.kind.agent.interface is not None:
                yield {
                    "id": name, "object": "model", "created": _created(deployment),
                    "owned_by": "model-deployment", "task": str(deployment.kind.agent.interface),
                    "streams": deployment.kind.agent.streams,
                }  # fmt: skip

    def _answer(self, request: CallerRequest, value: Any) -> None:
        content = orjson.dumps(value)
        length = b"content-length", b"%d" % len(content)
        request.answer(200, [(b"content-type", b"application/json"), length], content)


def _created(entry: RouteEntry) -> int:
    """When the registry created the version, in seconds since 1970; 0 where it is not known."""
    moment = entry.route.artifact.rpartition("-")[2]
    return int(moment) // 1000 if moment.isascii() and moment.isdigit() else 0


def _unknown(request: CallerRequest) -> ModelDeploymentError:
    if request.path in (_CHATS, _RESPONSES):
        return MethodNotAllowed(f"cannot {request.method} this path: send POST", ["POST"])
    if request.path == _MODELS:
        return MethodNotAllowed(f"cannot {request.method} this path: send GET", ["GET"])
    return NotFound(
        "cannot find this path: there are /v1/chat/completions, /v1/responses and /v1/models"
    )


_READERS: dict[Interface | None, Callable[[], Reader]] = {
    Interface.RESPONSES_AGENT: ResponsesReader,
    Interface.CHAT_AGENT: ChatAgentReader,
    Interface.CHAT_MODEL: ChatReader,
    Interface.LLM_CHAT: ChatReader,
}


def _dialect(request: CallerRequest, model: str, agent: Agent, body: dict[str, Any]) -> Dialect:
    id = request.request_id.decode("ascii")
    interface, streams = agent.interface, body.get("stream") is True
    reader = _READERS[interface]()
    if request.path == _RESPONSES:
        own = interface is Interface.RESPONSES_AGENT
        source = OwnEvents() if own else ReadEvents(id, reader)
        return ResponsesDialect(model, id, source, streams=streams)
    if interface in (Interface.CHAT_MODEL, Interface.LLM_CHAT):
        return CompletionDialect(model, id, streams=streams)
    options = body.get("stream_options")
    tells_usage = type(options) is dict and options.get("include_usage") is True
    return ChatDialect(model, id, reader, streams=streams, tells_usage=tells_usage)
