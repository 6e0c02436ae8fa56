"""Errors in the form that OpenAI's clients read. Pure.

Source: https://platform.openai.com/docs/guides/error-codes and ``openai-python`` (``_exceptions.py``).
"""

from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError, Unauthenticated, problem_type
from model_deployment.proxy.dialect import ErrorAnswer, headers_of

#: Tells OpenAI's clients not to send a request again that may have reached the model.
_NO_RETRY = (b"x-should-retry", b"false")


class BadChat(ModelDeploymentError, status=400, title="Chat not understood"):
    """A request at one of OpenAI's paths that this model, or any model, cannot be asked."""

    def __init__(self, detail: str, *, param: str | None = None, code: str | None = None) -> None:
        """
        Args:
            param: the member of the body that is the reason.
            code: OpenAI's word for the reason.
        """
        super().__init__(detail)
        self.param, self.code = param, code


class NoSuchModel(BadChat, status=404, title="Model not found"):
    """Nothing of this name is deployed."""


def unsupported(param: str, why: str) -> BadChat:
    """The model has no use for a member of the body."""
    return BadChat(
        f"cannot use {param!a} with this model: {why}", param=param, code="unsupported_parameter"
    )


def error_object(error: ModelDeploymentError) -> dict[str, Any]:
    """The ``error`` of an answer, or of a stream."""
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    if isinstance(error, Unauthenticated):
        code = "invalid_api_key"
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    if error.status == 429:
        kind = "rate_limit_error"
    slug = problem_type(error.title).rpartition(":")[2].replace("-", "_")
    return {"message": error.detail, "type": kind, "param": param, "code": code or slug}


def error_document(error: ModelDeploymentError) -> ErrorAnswer:
    """Status, headers and body of an answer that is an error."""
    content = orjson.dumps({"error": error_object(error)})
    raw = headers_of(error, b"application/json", content)
    if error.status >= 500 and error.retry_after is None:
        raw.append(_NO_RETRY)
    return error.status, raw, content
