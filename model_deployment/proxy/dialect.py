"""The form in which a caller gets answers, streams and errors: MLflow's, unless the path has another."""

from collections.abc import Sequence
from typing import Protocol

import orjson

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.proxy.answers import valid_json
from model_deployment.proxy.headers import RawHeader
from model_deployment.worker.stream_frames import DATA, DONE, END

ErrorAnswer = tuple[int, list[RawHeader], bytes]


class Dialect(Protocol):
    """One caller's; it may remember what it has written of a stream."""

    #: The caller expects a stream: it gets a whole answer as one too, if the process cannot stream.
    streams: bool

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        """Status, headers and body of an error."""
        ...

    def answer(self, content: bytes) -> bytes:
        """The body of a whole answer, which is JSON.

        Raises:
            ModelDeploymentError: this dialect cannot say it.
        """
        ...

    def frames(self, frames: Sequence[bytes]) -> bytes:
        """What is written for frames of a stream: each has a value behind ``data:``, and no end."""
        ...

    def failure(self, error: ModelDeploymentError) -> bytes:
        """What ends a stream that failed."""
        ...

    def end(self) -> bytes:
        """What ends a stream that is complete."""
        ...


class MlflowDialect:
    """MLflow's forms, with the problem documents of RFC 9457 for errors."""

    streams = False

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        return document(error)

    def answer(self, content: bytes) -> bytes:
        return content

    def frames(self, frames: Sequence[bytes]) -> bytes:
        return valid_json(END.join([*frames, b""]))

    def failure(self, error: ModelDeploymentError) -> bytes:
        return DATA + orjson.dumps({"error": error.detail}) + END + DONE

    def end(self) -> bytes:
        return DONE


#: Of all callers who do not ask at a path of another dialect.
MLFLOW: Dialect = MlflowDialect()


def document(error: ModelDeploymentError) -> ErrorAnswer:
    """Status, headers and body of a problem document."""
    content = orjson.dumps(error.problem())
    return error.status, headers_of(error, b"application/problem+json", content), content


def headers_of(error: ModelDeploymentError, media_type: bytes, content: bytes) -> list[RawHeader]:
    """The headers of an answer that is an error."""
    return [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(content)),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
    ]
