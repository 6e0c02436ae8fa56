"""Serves a model: MLflow's scoring protocol, on an inherited socket.

The answers are those of ``mlflow models serve``, by MLflow's own code (``mlflow.pyfunc.scoring_server``),
except for the requests that :mod:`model_deployment.worker.fast_path` takes, and for streams
(:mod:`model_deployment.worker.streaming`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import uvicorn
import uvicorn.lifespan.off
import uvicorn.loops.uvloop

from model_deployment.http.connection import Connection
from model_deployment.worker import (
    load_failures,
    mlflow_server,
    model_parts,
    packed_tensors,
    row_wise,
    tensor_requests,
)
from model_deployment.worker.executor import PredictionExecutor
from model_deployment.worker.failure_header import (
    CHECK,
    FAULT,
    UNFIT,
    is_a_bug_of_a_check,
    unwritable,
)
from model_deployment.worker.model_stream import ModelStream
from model_deployment.worker.parquet_errors import PARQUET, signature_mismatch
from model_deployment.worker.stream_frames import MEDIA_TYPE, failure_frame
from model_deployment.worker.streaming import Streaming
from model_deployment.worker.time_limit import time_limit

_log = logging.getLogger("uvicorn.error")

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ScoringAnswer(NamedTuple):
    status: int
    media_type: bytes
    content: bytes
    #: The value of ``failure_header.FAULT``.
    fault: bytes = b""


_PONG = ScoringAnswer(200, JSON, b"\n")
_TIMEOUT = ScoringAnswer(504, JSON, b"Request processing time exceeded limit")
_BROKEN = ScoringAnswer(500, TEXT, b"Internal Server Error")
_CUT_OFF = ScoringAnswer(
    400,
    JSON,
    b'{"error_code": "BAD_REQUEST", "message": "The body is shorter than its Content-Length."}',
)
_STREAM_HEAD: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", MEDIA_TYPE), (b"cache-control", b"no-cache")],
}
#: Of MLflow's server.
_PATHS = frozenset({"/invocations", "/ping", "/health", "/version"})
_NOT_FOUND = ScoringAnswer(404, JSON, b'{"detail":"Not Found"}')
_NOT_ALLOWED = ScoringAnswer(405, JSON, b'{"detail":"Method Not Allowed"}')


@dataclass(frozen=True)
class ServedModel:
    """Implements :class:`~model_deployment.worker.shared_model.Model`."""

    path: str
    #: Of the listening socket.
    descriptor: int
    #: Seconds, see :class:`Application`.
    timeout: float

    def load(self) -> Application:
        """See :class:`~model_deployment.worker.shared_model.Model`."""
        try:
            return Application(mlflow_server.load(self.path), self.timeout)
        except Exception as error:
            traceback.print_exc()
            raise SystemExit(load_failures.status(error, self.path)) from error

    def serve(self, loaded: Application) -> int:
        """See :class:`~model_deployment.worker.shared_model.Model`."""
        return _serve(loaded, self.descriptor)


def _serve(app: Application, descriptor: int) -> int:
    # uvicorn sends itself once more the signals that it caught, when it is done.
    signal.signal(signal.SIGTERM, lambda *_: None)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        # Longer than the proxy's pool keeps idle connections.
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
    )
    listener = socket.socket(fileno=descriptor)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


class Application:
    """Answers the four paths of MLflow's server, and one for the controller."""

    def __init__(self, model: Any, timeout: float) -> None:
        """
        Args:
            timeout: seconds that a prediction may take, or each value of a stream.
        """
        from mlflow.version import VERSION

        from model_deployment.worker.fast_path import build_fast_path

        self._model = model
        self._timeout = timeout
        self._mlflow = mlflow_server.Invocations(model)
        schema = model.metadata.get_input_schema()
        self._takes_tensors = schema is not None and schema.is_tensor_spec()
        self._fast_path = build_fast_path(model)
        self._streaming = Streaming(model)
        #: Calls of generators, which may outlast their answers.
        self._generators: set[asyncio.Future[None]] = set()
        self._calls = PredictionExecutor(self._mlflow.at_once)
        self._version = ScoringAnswer(200, JSON, VERSION.encode())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive, send)
        if answer is None:
            return
        headers = [
            (b"content-type", answer.media_type),
            (b"content-length", b"%d" % len(answer.content)),
        ]
        if answer.fault:
            headers.append((FAULT, answer.fault))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> ScoringAnswer | None:
        """The answer; None if it has been sent."""
        method, path = scope["method"], scope["path"]
        if path == "/invocations" and method == "POST":
            return await self._invocations(scope, receive, send)
        if path == row_wise.PATH and method == "GET":
            return await asyncio.to_thread(self._row_independence)
        if path not in _PATHS:
            return _NOT_FOUND
        if method != "GET" or path == "/invocations":
            return _NOT_ALLOWED
        return self._version if path == "/version" else _PONG

    def _row_independence(self) -> ScoringAnswer:
        """Whether the model predicts each row by itself, for the controller, which asks at a start."""
        try:
            verdict = model_parts.judge(self._model)
        except Exception as error:  # a model may have any attribute, and MLflow another inside
            verdict = row_wise.Verdict(False, f"its parts cannot be looked at: {error!r}")
        return ScoringAnswer(200, JSON, json.dumps(verdict.as_dict()).encode())

    async def _invocations(
        self, scope: Message, receive: Receive, send: Send
    ) -> ScoringAnswer | None:
        try:
            async with time_limit(self._timeout):
                body = await _body(receive)
                if body is None or len(body) != int(_header(scope, b"content-length") or len(body)):
                    return _CUT_OFF
                content_type = _header(scope, b"content-type")
                if not self._streaming.may_be_asked_by(body, content_type):
                    return await self._calls.run(lambda: self._predict(body, content_type))
        except TimeoutError:
            return _TIMEOUT
        return await self._stream(body, content_type, receive, send)

    async def _stream(
        self, body: bytes, content_type: str | None, receive: Receive, send: Send
    ) -> ScoringAnswer | None:
        """Send what the model yields, as it comes; an answer if it is none of a stream."""
        stream: ModelStream[bytes | ScoringAnswer] = ModelStream()
        call = asyncio.ensure_future(
            self._calls.run(lambda: stream.run(lambda: self._frames(body, content_type)))
        )
        self._generators.add(call)
        call.add_done_callback(self._generators.discard)
        hung_up = asyncio.ensure_future(_hung_up(receive, stream))
        begun = False
        try:
            while values := await stream.take(self._timeout):
                first = values[0]
                if not begun and isinstance(first, ScoringAnswer):
                    return first
                if not begun:
                    begun = True
                    await send(_STREAM_HEAD)
                await send(_piece(b"".join(map(_frame, values))))
            if begun:
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            if not begun:
                return _TIMEOUT
            await send(_piece(_frame(_TIMEOUT)))
            await send({"type": "http.response.body", "body": b""})
        finally:
            hung_up.cancel()
            stream.close()
        return None

    def _frames(self, body: bytes, content_type: str | None) -> Iterator[bytes | ScoringAnswer]:
        """In a thread. The frames of a stream, the last of which is the answer to an exception."""
        asked = self._streaming.asked_by(body)
        if asked is None:
            yield self._predict(body, content_type)
            return
        try:
            yield from self._streaming.frames(asked)
        except Exception as error:
            yield self._failed(error, body, content_type)

    def _predict(self, body: bytes, content_type: str | None) -> ScoringAnswer:
        """In a thread. An exception is answered as MLflow's server answers it."""
        from model_deployment.worker.fast_path import encode_answer

        try:
            if self._fast_path is not None and content_type == "application/json":
                content = self._fast_path(body)
                if content is not None:
                    return ScoringAnswer(200, JSON, content)
            if content_type == packed_tensors.MEDIA_TYPE and self._takes_tensors:
                raw = tensor_requests.predict(self._model, body)
                return ScoringAnswer(200, JSON, encode_answer(raw))
            found = self._mlflow(body, content_type)
        except Exception as error:
            return self._failed(error, body, content_type)
        media_type = TEXT if found.mimetype == "text/plain" else found.mimetype.encode()
        return ScoringAnswer(found.status, media_type, found.response.encode())

    def _failed(self, error: Exception, body: bytes, content_type: str | None) -> ScoringAnswer:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException):
            _log.error("Exception in a prediction", exc_info=error)
            return _BROKEN._replace(fault=unwritable(error))
        content = error.serialize_as_json().encode()
        fault = b""
        if is_a_bug_of_a_check(error, error.message):
            _log.error("Exception in a check of the input", exc_info=error)
            fault = CHECK
        elif content_type == PARQUET and (why := signature_mismatch(body, self._model)):
            fault = UNFIT + why.encode("ascii", "backslashreplace")
        return ScoringAnswer(error.get_http_status_code(), JSON, content, fault)


def _piece(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}


def _frame(value: bytes | ScoringAnswer) -> bytes:
    if isinstance(value, bytes):
        return value
    return failure_frame(value.status, value.content, value.fault)


async def _hung_up(receive: Receive, stream: ModelStream[Any]) -> None:
    """Close the stream when its caller leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.close()


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if the caller hung up before its end."""
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
