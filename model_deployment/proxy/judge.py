"""What of a request's body goes to the model: the gate's verdict, carried out. Pure."""

from dataclasses import dataclass

from model_deployment.domain import ModelKey
from model_deployment.errors import InvalidRequest, ModelDeploymentError
from model_deployment.gate import Gate, Table, Verdict, dumps, loads
from model_deployment.proxy.headers import CSV, JSON

_PASSED = Verdict()


class MalformedText(ModelDeploymentError):
    """A CSV body that is no text."""

    status = 400
    title = "Malformed CSV"


@dataclass(frozen=True, slots=True)
class Judged:
    """A body that was looked at."""

    verdict: Verdict
    #: What the model is sent.
    content: bytes

    @property
    def table(self) -> Table | None:
        """Its rows, if they may go together with those of other requests."""
        return self.verdict.table


def judge(gate: Gate, media_type: bytes, body: bytes) -> Judged:
    """Look at a body.

    Raises:
        MalformedJson, MalformedText: it is not what its type says.
    """
    if media_type == JSON:
        verdict = gate.check(loads(body))
        return Judged(verdict, body if verdict.payload is None else dumps(verdict.payload))
    if media_type == CSV:
        return Judged(gate.check_csv(_first_line(body)), body)
    return Judged(_PASSED, body)


def refused(key: ModelKey, verdict: Verdict) -> InvalidRequest:
    """Tells what does not fit the model's signature."""
    more = f", the first {len(verdict.violations)} of them below" if verdict.count > 20 else ""
    found = "1 violation" if verdict.count == 1 else f"{verdict.count} violations"
    first = verdict.violations[0]
    place = "" if first.column is None else f" column {first.column!a}"
    place += "" if first.row is None else f" row {first.row}"
    return InvalidRequest(
        f"cannot predict with {key}: {found} of its signature{more};{place or ' first'}: "
        f"expected {first.expected}, got {first.got}",
        extra={
            "errors": [one.as_dict() for one in verdict.violations],
            "error_count": verdict.count,
        },
    )


def _first_line(body: bytes) -> str:
    try:
        return body.decode("utf-8").partition("\n")[0]
    except UnicodeDecodeError:
        raise MalformedText("cannot read the body as CSV: it is not UTF-8 text") from None
