"""What a model server answered, made fit for callers: valid JSON, the right status, no internals. Pure.

MLflow's server answers NaN as a bare ``NaN`` with status 200, which is not JSON, and an exception
inside the model with 400, as if the caller had erred, and a stack trace in the body
(``mlflow.pyfunc.scoring_server.invocations``).
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from model_deployment.core.errors import (
    InvalidRequest,
    ModelDeploymentError,
    ModelFailed,
    OddAnswer,
    UnsupportedMediaType,
    UpstreamTimeout,
)
from model_deployment.core.names import ModelKey
from model_deployment.gate import MalformedJson, dumps, loads
from model_deployment.proxy.headers import JSON, RawHeader
from model_deployment.proxy.type_hint_errors import type_hint_error
from model_deployment.worker.failure_header import CHECK, FAULT, UNFIT, UNWRITABLE

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
_CHECKS = (
    "Failed to enforce schema",
    "Failed to enforce model input schema",
    "Invalid parameters found: ",
    "Parameters must be a dictionary",
)
#: What its server says of an exception outside the model.
_BROKEN = b"Internal Server Error"
_LONGEST_REASON = 300
_LONGEST_TRACE = 20_000


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A whole answer."""

    status: int
    headers: list[RawHeader]
    content: bytes

    @property
    def successful(self) -> bool:
        """Whether it holds predictions."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class AnswerError:
    """An answer that is none: what the caller is told, and what is for the log only."""

    error: ModelDeploymentError
    trace: str = ""


def is_json(headers: list[RawHeader]) -> bool:
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
    found = _parsed(valid_json(content))
    if type(found) is not dict or found.keys() != {"predictions"}:
        return None
    rows = found["predictions"]
    return rows if type(rows) is list else None


def answer_of(rows: list[Any]) -> bytes:
    """The inverse: an answer of nothing but predictions."""
    answer = {"predictions": rows}
    try:
        return dumps(answer)
    except UnicodeEncodeError:  # half a character in a text, which MLflow writes as it is
        return json.dumps(answer).encode()


def _parsed(content: bytes) -> Any:
    try:
        return loads(content)
    except MalformedJson:
        if b"\\ud" not in content and b"\\uD" not in content:
            return None
    try:  # half a character in a text, which MLflow writes as it is
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def answer_error(key: ModelKey, answer: UpstreamAnswer, *, rows: int | None = None) -> AnswerError:
    """What an answer with the status of an error means.

    Args:
        rows: that were asked about, if they were counted.
    """
    said = _said(answer.content)
    message = str(said.get("message") or "")
    trace = str(said.get("stack_trace") or "")
    if answer.status == 504:
        return AnswerError(
            UpstreamTimeout(f"cannot get a prediction from {key}: it did not answer in time")
        )
    if answer.status == 415:
        return AnswerError(
            UnsupportedMediaType(f"cannot send this to {key}: it does not read this Content-Type")
        )
    fault = dict(answer.headers).get(FAULT, b"")
    if fault != CHECK and (reason := _of_a_type_hint(message, trace)):
        return AnswerError(InvalidRequest(f"cannot predict with {key}: {reason}"))
    if answer.status in (400, 422) and _is_about_the_input(message, trace):
        return AnswerError(InvalidRequest(f"cannot predict with {key}: {_reason(message)}"))
    internals = trace or message or answer.content.decode(errors="replace")
    internals += f" ({fault.decode('latin-1')})" if fault else ""
    return AnswerError(
        _failure(key, answer, fault, rows), f"status {answer.status}: {internals[-_LONGEST_TRACE:]}"
    )


def _failure(
    key: ModelKey, answer: UpstreamAnswer, fault: bytes, rows: int | None
) -> ModelDeploymentError:
    """What callers are told of an exception, which is their fault only where their request explains it."""
    if fault.startswith(UNFIT):
        why = _plain(fault.removeprefix(UNFIT).decode("latin-1"))
        return InvalidRequest(
            f"cannot predict with {key}: the body does not fit its signature: {why}"
        )
    if fault.startswith(UNWRITABLE):
        why = _plain(fault.removeprefix(UNWRITABLE).decode("latin-1"))
        return OddAnswer(
            f"cannot pass on the answer of {key}: it cannot be written as JSON, since {why}. Have the "
            "model return numbers, texts, lists, dicts, NumPy arrays or pandas frames"
        )
    if answer.status == 500 and answer.content == _BROKEN:
        return OddAnswer(
            f"cannot pass on an answer of {key}: its server failed outside the model's own code, as it "
            "does where the answer is nothing that can be written as JSON (Decimal, Enum, set, "
            "generator, sparse matrix …). Its log has the exception"
        )
    if rows == 0:
        return InvalidRequest(
            f"cannot predict with {key}: the body has no rows, and the model needs some"
        )
    return ModelFailed(
        f"cannot get a prediction from {key}: the model failed. Its log has the reason, under "
        "the X-Request-Id of this answer"
    )


def _of_a_type_hint(message: str, trace: str) -> str | None:
    if trace or not message.startswith(_PREDICTING):
        return None
    reason = type_hint_error(message.rpartition(_END_OF_DATA)[2])
    return None if reason is None else _plain(reason, 2 * _LONGEST_REASON)


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
    return _plain(reason)


def _plain(text: str, longest: int = _LONGEST_REASON) -> str:
    """One line of a bearable length."""
    # What is no character of any text would not be written as JSON.
    plain = text.encode(errors="replace").decode()
    return " ".join(plain.split())[:longest]
