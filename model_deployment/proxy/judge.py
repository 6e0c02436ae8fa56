"""What of a request's body goes to the model: the gate's verdict, carried out. Pure."""

import csv
import io
from dataclasses import dataclass
from itertools import islice

from model_deployment.errors import InvalidRequest, ModelDeploymentError
from model_deployment.gate import Gate, Table, Verdict, dumps, loads
from model_deployment.names import ModelKey
from model_deployment.proxy.headers import CSV, JSON

_PASSED = Verdict()
#: Lines of a CSV body that are looked at: all would take as long as the model does.
_ROWS_CHECKED = 200
# One value may be as long as the body: Python's own limit, 128 KiB, is none of pandas'.
csv.field_size_limit(2**31 - 1)


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
        text = _text(body)
        _check_rows(text)
        return Judged(gate.check_csv(text.partition("\n")[0]), body)
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


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedText("cannot read the body as CSV: it is not UTF-8 text") from None


def _check_rows(text: str) -> None:
    """The first rows must be as wide as the header: of one more value pandas makes an index."""
    text = text.removeprefix("\ufeff")
    try:
        lines = list(islice(csv.reader(io.StringIO(text, newline=""), strict=True), _ROWS_CHECKED))
    except csv.Error as error:
        raise MalformedText(f"cannot read the body as CSV: {error}") from None
    filled = [(place, line) for place, line in enumerate(lines, 1) if line]
    if len(filled) < 2:
        raise MalformedText("cannot read the body as CSV: it has no rows below its header")
    width = len(filled[0][1])
    for place, line in filled:
        blank = len(line) == 1 and not line[0].strip()  # which pandas skips
        if len(line) != width and not blank:
            raise MalformedText(
                f"cannot read the body as CSV: line {place} has {len(line)} values, its header {width}"
            )
