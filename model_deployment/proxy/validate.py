"""What of a request's body goes to the model: the gate's verdict, carried out. Pure."""

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
)
from model_deployment.proxy.headers import CSV, JSON

_PASSED = CheckResult()


@dataclass(frozen=True, slots=True)
class Validated:
    """A body that was looked at."""

    result: CheckResult
    #: What the model is sent.
    content: bytes


def validate(gate: Gate, media_type: bytes, body: bytes) -> Validated:
    """Look at a body.

    Raises:
        MalformedJson, MalformedText: it is not what its type says.
    """
    if media_type == JSON:
        return _judge_json(gate, body)
    if media_type == CSV:
        verdict = gate.check_csv(_text(body))
        if verdict.rows == 0:
            raise MalformedText("cannot read the body as CSV: it has no rows below its header")
        return Validated(verdict, body)
    return Validated(_PASSED, body)


def _judge_json(gate: Gate, body: bytes) -> Validated:
    value = loads(body)
    bare = b"NaN" in body and has_nan(body)
    lasting = bare and not gate.checked
    if lasting:
        # Without a signature nothing turns null into the NaN that was sent.
        value = loads_nan(body)
    verdict = gate.check(value)
    if lasting:
        verdict = replace(verdict, table=None)
    if verdict.payload is not None:
        write = dumps_nan if lasting or gate.writes_nan else dumps
        return Validated(verdict, write(verdict.payload))
    if bare and not (lasting or verdict.count or gate.accepts_nan(value)):
        return Validated(verdict, dumps(value))
    return Validated(verdict, body)


def rejection(key: ModelKey, verdict: CheckResult) -> InvalidRequest:
    """Tells what does not fit the model's signature."""
    more = f", the first {len(verdict.violations)} of them below" if verdict.count > 20 else ""
    found = "1 violation" if verdict.count == 1 else f"{verdict.count} violations"
    found += " of its signature" if verdict.checked else ""
    first = verdict.violations[0]
    thing = (
        "param" if first.kind is ViolationKind.PARAMS else "column" if verdict.checked else "member"
    )
    place = "" if first.column is None else f" {thing} {first.column!a}"
    place += "" if first.row is None else f" row {first.row}"
    return InvalidRequest(
        f"cannot predict with {key}: {found}{more};{place or ' first'}: "
        f"expected {first.expected}, got {first.got}",
        extra={
            "errors": [one.as_dict() for one in verdict.violations],
            "error_count": verdict.count,
        },
    )


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedText("cannot read the body as CSV: it is not UTF-8 text") from None
