"""Has the gate check a body, and carries out the result: what the model is sent, or an error. Pure."""

from dataclasses import dataclass, replace

from model_deployment.core.errors import InvalidRequest
from model_deployment.core.names import ModelKey
from model_deployment.gate import (
    CheckResult,
    Gate,
    MalformedText,
    ViolationKind,
    dumps,
    dumps_nan,
    has_nan,
    loads,
    loads_nan,
    skeleton,
)
from model_deployment.proxy.headers import CSV, JSON

_PASSED = CheckResult()


@dataclass(frozen=True, slots=True)
class Validated:
    """A body that the gate has checked."""

    result: CheckResult
    #: What the model is sent.
    content: bytes


def validate(gate: Gate, media_type: bytes, body: bytes) -> Validated:
    """Have the gate check a body.

    Raises:
        MalformedJson, MalformedText: the body is not what its type says.
    """
    if media_type == JSON:
        return _validate_json(gate, body)
    if media_type == CSV:
        result = gate.check_csv(_text(body))
        if result.rows == 0:
            raise MalformedText("cannot read the body as CSV: it has no rows below its header")
        return Validated(result, body)
    return Validated(_PASSED, body)


def _validate_json(gate: Gate, body: bytes) -> Validated:
    bare = skeleton(body)
    value = loads(body, bare)
    bare_nan = b"NaN" in bare and has_nan(body)
    keeps_nan = bare_nan and not gate.checked
    if keeps_nan:
        # Without a signature MLflow does not turn null into the NaN that was sent.
        value = loads_nan(body)
    result = gate.check(value, truths=b"true" in bare or b"false" in bare)
    if keeps_nan:
        result = replace(result, table=None)
    if result.payload is not None:
        write = dumps_nan if keeps_nan or gate.writes_nan else dumps
        return Validated(result, write(result.payload))
    if bare_nan and not (keeps_nan or result.count or gate.accepts_nan(value)):
        return Validated(result, dumps(value))
    return Validated(result, body)


def rejection(key: ModelKey, result: CheckResult) -> InvalidRequest:
    """The error that tells the caller what violates the model's signature."""
    more = f", the first {len(result.violations)} of them below" if result.count > 20 else ""
    found = "1 violation" if result.count == 1 else f"{result.count} violations"
    found += " of its signature" if result.checked else ""
    first = result.violations[0]
    thing = "column" if result.checked else "member"
    thing = "param" if first.kind is ViolationKind.PARAMS else thing
    place = "" if first.column is None else f" {thing} {first.column!a}"
    place += "" if first.row is None else f" row {first.row}"
    return InvalidRequest(
        f"cannot predict with {key}: {found}{more};{place or ' first'}: "
        f"expected {first.expected}, got {first.got}",
        extra={
            "errors": [one.as_dict() for one in result.violations],
            "error_count": result.count,
        },
    )


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedText("cannot read the body as CSV: it is not UTF-8 text") from None
