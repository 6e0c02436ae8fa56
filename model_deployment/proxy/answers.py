"""Makes the answers of model servers fit for callers: valid JSON, the right status, no internals. Pure.

MLflow's server answers NaN as a bare ``NaN`` with status 200, which is not JSON. It answers an exception
inside the model with 400, as if the caller had erred, and a traceback in the body
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
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.type_hint_errors import type_hint_error
from model_deployment.worker.failure_header import CHECK, FAULT, UNFIT, UNWRITABLE

#: A string, which is left as it is, or a number that JSON does not have. A string without an end extends to
#: the end of the body: searched again behind each quote, it would take quadratic time.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|-?Infinity|NaN', re.DOTALL)
#: MLflow's words for an exception of the model's own code.
_INSIDE_THE_MODEL = "unexpected error while evaluating the model"
#: MLflow's words for CSV or Parquet that cannot be read; the answer has a traceback as well.
_UNREADABLE = "Failed to parse input as a Pandas DataFrame"
#: What MLflow writes before the data, and after it, where a prediction raised an ``MlflowException``.
_PREDICTING, _END_OF_DATA = "Failed to predict data '", "'. \nError: "
#: How the text of that exception begins if MLflow's own check of the input raised it.
_CHECKS = (
    "Failed to enforce schema",
    "Failed to enforce model input schema",
    "Invalid parameters found: ",
    "Parameters must be a dictionary",
)
#: The body of MLflow's answer to an exception outside of the model.
_BROKEN = b"Internal Server Error"
_LONGEST_REASON = 300
_LONGEST_TRACEBACK = 20_000


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A whole answer of a model server."""

    status: int
    headers: list[RawHeader]
    content: bytes

    @property
    def successful(self) -> bool:
        """Whether it has predictions."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class AnswerError:
    """What the caller is told instead of a prediction, and what operators may see only."""

    error: ModelDeploymentError
    #: What the model server said, for the log; empty if it is the caller's fault.
    internals: str = ""
    #: The traceback of the model's exception; empty if the server told none.
    traceback: str = ""
    #: The message of the model's exception where there is no traceback.
    message: str = ""


def valid_json(content: bytes) -> bytes:
    """The same answer with ``null`` for NaN and infinities, which JSON does not have."""
    if b"NaN" not in content and b"Infinity" not in content:
        return content
    return _TOKENS.sub(
        lambda found: found[0] if found[0].startswith(b'"') else b"null",
        content,
    )


class Outputs(dict[str, Any]):
    """The predictions for a row of a model that answers with several arrays by name, one of each."""


def predictions(content: bytes) -> list[Any] | None:
    """The predictions in an answer, one for each row; None if it has no such list.

    Only an answer of nothing but predictions can be split by rows: a list, or arrays by name of equal
    lengths, as ONNX and Keras models with several outputs give them.
    """
    found = _parsed(valid_json(content))
    if type(found) is not dict or found.keys() != {"predictions"}:
        return None
    rows = found["predictions"]
    if type(rows) is dict and set(map(type, rows.values())) == {list}:
        if len(set(map(len, rows.values()))) != 1:
            return None
        return [Outputs(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    return rows if type(rows) is list else None


def answer_of(rows: list[Any]) -> bytes:
    """The inverse of :func:`predictions`: the body of an answer."""
    together: Any = rows
    if rows and type(rows[0]) is Outputs:
        together = {name: [row[name] for row in rows] for name in rows[0]}
    answer = {"predictions": together}
    try:
        return dumps(answer)
    except UnicodeEncodeError:  # a lone surrogate, which MLflow writes as it is
        return json.dumps(answer).encode()


def _parsed(content: bytes) -> Any:
    try:
        return loads(content)
    except MalformedJson:
        if b"\\ud" not in content and b"\\uD" not in content:
            return None
    try:  # a lone surrogate, which MLflow writes as it is
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def answer_error(key: ModelKey, answer: UpstreamAnswer, *, rows: int | None = None) -> AnswerError:
    """What an answer with an error status means.

    Args:
        rows: rows of the request, if they were counted.
    """
    said = _parsed_object(answer.content)
    message = str(said.get("message") or "")
    traceback = str(said.get("stack_trace") or "")
    if answer.status == 504:
        return AnswerError(
            UpstreamTimeout(f"cannot get a prediction from {key}: it did not answer in time")
        )
    if answer.status == 415:
        return AnswerError(
            UnsupportedMediaType(
                f"cannot send this to {key}: the model does not read this Content-Type"
            )
        )
    fault = dict(answer.headers).get(FAULT, b"")
    if fault != CHECK and (reason := _type_hint_reason(message, traceback)):
        return AnswerError(InvalidRequest(f"cannot predict with {key}: {reason}"))
    if answer.status in (400, 422) and _is_about_the_input(message, traceback):
        return AnswerError(InvalidRequest(f"cannot predict with {key}: {_reason(message)}"))
    internals = traceback or message or answer.content.decode(errors="replace")
    internals += f" ({fault.decode('latin-1')})" if fault else ""
    return AnswerError(
        _failure(key, answer, fault, rows),
        f"the model server answered {answer.status}: {internals[-_LONGEST_TRACEBACK:]}",
        traceback[-_LONGEST_TRACEBACK:],
        _own_message(message),
    )


def _own_message(message: str) -> str:
    """What the model's exception says, without the data that MLflow repeats before it."""
    if message.startswith(_PREDICTING):
        _, end, message = message.rpartition(_END_OF_DATA)
        message = message if end else ""
    return "" if _INSIDE_THE_MODEL in message else message[:_LONGEST_TRACEBACK]


def _failure(
    key: ModelKey, answer: UpstreamAnswer, fault: bytes, rows: int | None
) -> ModelDeploymentError:
    """What the caller is told of an exception: it is the caller's fault only if the request explains it."""
    if fault.startswith(UNFIT):
        why = _one_line(fault.removeprefix(UNFIT).decode("latin-1"))
        return InvalidRequest(
            f"cannot predict with {key}: the body does not fit its signature: {why}"
        )
    if fault.startswith(UNWRITABLE):
        why = _one_line(fault.removeprefix(UNWRITABLE).decode("latin-1"))
        return OddAnswer(
            f"cannot pass on the answer of {key}: it cannot be written as JSON, because {why}. Make "
            f"the model return numbers, texts, lists, dicts, NumPy arrays or pandas frames"
        )
    if answer.status == 500 and answer.content == _BROKEN:
        return OddAnswer(
            f"cannot pass on an answer of {key}: its server failed outside the model's own code, which "
            f"happens if the answer cannot be written as JSON (Decimal, Enum, set, generator, sparse "
            f"matrix …). The model's log has the exception"
        )
    if rows == 0:
        return InvalidRequest(
            f"cannot predict with {key}: the body has no rows, but the model needs at least one"
        )
    return ModelFailed(
        f"cannot get a prediction from {key}: the model failed. The model's log has the reason, under "
        f"the X-Request-Id of this answer"
    )


def _type_hint_reason(message: str, traceback: str) -> str | None:
    if traceback or not message.startswith(_PREDICTING):
        return None
    reason = type_hint_error(message.rpartition(_END_OF_DATA)[2])
    return None if reason is None else _one_line(reason, 2 * _LONGEST_REASON)


def _is_about_the_input(message: str, traceback: str) -> bool:
    if traceback:
        return message.startswith(_UNREADABLE)
    if message.startswith(_PREDICTING):
        # The model's own code or MLflow's check may have raised it. Only the text behind the repeated
        # data tells; the data is the caller's and may contain its own end, so the last end counts.
        return message.rpartition(_END_OF_DATA)[2].startswith(_CHECKS)
    return message != "" and _INSIDE_THE_MODEL not in message


def _parsed_object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(message: str) -> str:
    """MLflow's reason, without the data that it repeats before it."""
    reason = message.rpartition("Error: ")[2].strip() or "the model server refused the input"
    return _one_line(reason)


def _one_line(text: str, longest: int = _LONGEST_REASON) -> str:
    """The text on one line, cut to a length."""
    # Lone surrogates could not be written as JSON.
    plain = text.encode(errors="replace").decode()
    return " ".join(plain.split())[:longest]
