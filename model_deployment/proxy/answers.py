"""What a model server answered, made fit for callers: valid JSON, the right status, no internals. Pure.

MLflow's server answers NaN as a bare ``NaN`` with status 200, which is not JSON, and an exception
inside the model with 400, as if the caller had erred, and a stack trace in the body
(``mlflow.pyfunc.scoring_server.invocations``).
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from model_deployment.errors import (
    InvalidRequest,
    ModelDeploymentError,
    ModelFailed,
    UnsupportedMediaType,
    UpstreamTimeout,
)
from model_deployment.gate import MalformedJson, loads
from model_deployment.names import ModelKey
from model_deployment.proxy.headers import JSON, Raw

#: A text, which is left alone, or what JSON has no word for. A text without an end goes to the end of
#: all: looked for again behind each of its quotes, it would take time that grows with the square.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|-?Infinity|NaN', re.DOTALL)
#: MLflow's words for an exception that is none of its own.
_INSIDE_THE_MODEL = "unexpected error while evaluating the model"
#: And for CSV or Parquet that cannot be read, which has a stack trace as well.
_UNREADABLE = "Failed to parse input as a Pandas DataFrame"
#: How MLflow begins what an ``MlflowException`` said during a prediction, and goes on after the data.
_PREDICTING, _END_OF_DATA = "Failed to predict data '", "'. \nError: "
#: What it says then if it was its own check of the input.
_CHECKS = ("Failed to enforce schema", "Failed to enforce model input schema")
_LONGEST_REASON = 300
_LONGEST_TRACE = 20_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: list[Raw]
    content: bytes

    @property
    def good(self) -> bool:
        """Whether it holds predictions."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is none: what the caller is told, and what is for the log only."""

    error: ModelDeploymentError
    trace: str = ""


def is_json(headers: list[Raw]) -> bool:
    """Whether an answer says that it is JSON, and not packed."""
    named = dict(headers)
    media_type = named.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type == JSON and b"content-encoding" not in named


def valid_json(content: bytes) -> bytes:
    """The same with ``null`` for NaN and infinities, which JSON does not have."""
    if b"NaN" not in content and b"Infinity" not in content:
        return content
    return _TOKENS.sub(
        lambda found: found[0] if found[0].startswith(b'"') else b"null",
        content,
    )


def predictions(content: bytes) -> list[Any] | None:
    """The list of predictions in an answer, one for each row, or None if it is no such list.

    Only an answer of nothing but predictions can be taken apart by rows.
    """
    try:
        found = loads(valid_json(content))
    except MalformedJson:
        return None
    if type(found) is not dict or found.keys() != {"predictions"}:
        return None
    rows = found["predictions"]
    return rows if type(rows) is list else None


def refusal(key: ModelKey, answer: Answer) -> Refusal:
    """What an answer with the status of an error means."""
    said = _said(answer.content)
    message = str(said.get("message") or "")
    trace = str(said.get("stack_trace") or "")
    if answer.status == 504:
        return Refusal(
            UpstreamTimeout(f"cannot get a prediction from {key}: it did not answer in time")
        )
    if answer.status == 415:
        return Refusal(
            UnsupportedMediaType(f"cannot send this to {key}: it does not read this Content-Type")
        )
    if answer.status in (400, 422) and _is_about_the_input(message, trace):
        return Refusal(InvalidRequest(f"cannot predict with {key}: {_reason(message)}"))
    internals = trace or message or answer.content.decode(errors="replace")
    return Refusal(
        ModelFailed(
            f"cannot get a prediction from {key}: the model failed. Its log has the reason, under "
            "the X-Request-Id of this answer"
        ),
        f"status {answer.status}: {internals[-_LONGEST_TRACE:]}",
    )


def _is_about_the_input(message: str, trace: str) -> bool:
    if trace:
        return message.startswith(_UNREADABLE)
    if message.startswith(_PREDICTING):
        # Raised by the model's own code as likely as by MLflow's check before it. Only what follows
        # the data that is repeated tells, and of the data the last end, since it is the caller's.
        return message.rpartition(_END_OF_DATA)[2].startswith(_CHECKS)
    return message != "" and _INSIDE_THE_MODEL not in message


def _said(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(message: str) -> str:
    """MLflow's reason, without the data that it repeats before it."""
    reason = message.rpartition("Error: ")[2].strip() or "the model server refused the input"
    # What is no character of any text would not be written as JSON.
    plain = reason.encode(errors="replace").decode()
    return " ".join(plain.split())[:_LONGEST_REASON]
