"""Serves a model: MLflow's scoring protocol, on a socket that was inherited.

What is answered is what ``mlflow models serve`` answers (``mlflow.pyfunc.scoring_server``), by MLflow's
own code, but for the requests that :mod:`model_deployment.worker.fast_path` takes.
"""

import asyncio
import logging
import os
import signal
import socket
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import uvicorn
import uvicorn.lifespan.off
import uvicorn.loops.uvloop

from model_deployment.http.connection import Connection
from model_deployment.worker import load_failures
from model_deployment.worker.executor import PredictionExecutor
from model_deployment.worker.failure_header import (
    CHECK,
    FAULT,
    UNFIT,
    is_a_bug_of_a_check,
    unwritable,
)
from model_deployment.worker.param_defaults import copy_defaults
from model_deployment.worker.parquet_errors import PARQUET, unfit
from model_deployment.worker.tracking import log_first_dropped_trace

_log = logging.getLogger("uvicorn.error")

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    media_type: bytes
    content: bytes
    #: What MLflow's own answer does not say.
    fault: bytes = b""


_PONG = Answer(200, JSON, b"\n")
_TIMEOUT = Answer(504, JSON, b"Request processing time exceeded limit")
_BROKEN = Answer(500, TEXT, b"Internal Server Error")
#: Less came than was announced.
_CUT_OFF = Answer(
    400,
    JSON,
    b'{"error_code": "BAD_REQUEST", "message": "Less of the body came than was announced."}',
)
_NOT_FOUND = Answer(404, JSON, b'{"detail":"Not Found"}')
_NOT_ALLOWED = Answer(405, JSON, b'{"detail":"Method Not Allowed"}')


def serve(path: str, descriptor: int, timeout: float, loaded: Callable[[], None]) -> int:
    """Load a model and serve it until SIGTERM; the status to exit with."""
    try:
        app = Application(_load(path), timeout)
    except Exception as error:
        traceback.print_exc()
        raise SystemExit(load_failures.status(error, path)) from error
    # uvicorn sends itself the signals that it caught once more when it is done.
    loaded()
    signal.signal(signal.SIGTERM, lambda *_: None)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        # Idle connections of the proxy's pool must outlive its own idea of them.
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
    )
    listener = socket.socket(fileno=descriptor)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _load(path: str) -> Any:
    from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
    from mlflow.pyfunc import scoring_server

    os.environ[_MLFLOW_IS_IN_SERVING_ENVIRONMENT.name] = "true"
    log_first_dropped_trace()
    model = scoring_server.load_model_with_mlflow_config(path)
    copy_defaults(model)
    return model


class Application:
    """The four paths."""

    def __init__(self, model: Any, timeout: float) -> None:
        """Of one loaded model; a prediction may take ``timeout`` seconds."""
        from mlflow.version import VERSION

        from model_deployment.worker.fast_path import build_fast_path

        self._model = model
        self._timeout = timeout
        self._schema = model.metadata.get_input_schema()
        self._fast_path = build_fast_path(model)
        self._calls = PredictionExecutor()
        self._version = Answer(200, JSON, VERSION.encode())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive)
        headers = [
            (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(answer.content)),
        ]
        if answer.fault:
            headers.append((FAULT, answer.fault))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    async def _answer(self, scope: Message, receive: Receive) -> Answer:
        match scope["method"], scope["path"]:
            case "POST", "/invocations":
                return await self._invocations(scope, receive)
            case "GET", "/ping" | "/health":
                return _PONG
            case "GET", "/version":
                return self._version
            case _, "/invocations" | "/ping" | "/health" | "/version":
                return _NOT_ALLOWED
        return _NOT_FOUND

    async def _invocations(self, scope: Message, receive: Receive) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                body = await _body(receive)
                if body is None or len(body) != int(_header(scope, b"content-length") or len(body)):
                    return _CUT_OFF
                content_type = _header(scope, b"content-type")
                return await self._calls.run(lambda: self._predict(body, content_type))
        except TimeoutError:
            return _TIMEOUT

    def _predict(self, body: bytes, content_type: str | None) -> Answer:
        """In a thread. Every exception becomes the answer that MLflow's server gives to it."""
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc.scoring_server import invocations

        try:
            if self._fast_path is not None and content_type == "application/json":
                content = self._fast_path(body)
                if content is not None:
                    return Answer(200, JSON, content)
            found = invocations(body, content_type, self._model, self._schema)
        except MlflowException as error:
            content = error.serialize_as_json().encode()
            fault = b""
            if is_a_bug_of_a_check(error, error.message):
                _log.error("Exception in a check of the input\n%s", traceback.format_exc())
                fault = CHECK
            elif content_type == PARQUET and (why := unfit(body, self._model)):
                fault = UNFIT + why.encode("ascii", "backslashreplace")
            return Answer(error.get_http_status_code(), JSON, content, fault)
        except Exception as error:
            _log.error("Exception in a prediction\n%s", traceback.format_exc())
            return _BROKEN._replace(fault=unwritable(error))
        media_type = TEXT if found.mimetype == "text/plain" else found.mimetype.encode()
        return Answer(found.status, media_type, found.response.encode())


async def _body(receive: Receive) -> bytes | None:
    """All of it; None if the caller hung up before."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _header(scope: Message, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None
