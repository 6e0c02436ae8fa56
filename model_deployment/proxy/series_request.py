"""Between ``POST /predict_timeseries`` and a model: what the model is asked, what the caller gets. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import InvalidRequest, ModelDeploymentError, OddAnswer
from model_deployment.core.series import STEPS, Series
from model_deployment.gate import MalformedJson, ViolationKind, dumps, loads
from model_deployment.gate.check_result import Findings, describe
from model_deployment.proxy.dialect import MLFLOW, ErrorAnswer

VALUES = "input_data"


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """A checked request."""

    values: Sequence[float]
    steps: int

    def body(self, series: Series) -> bytes:
        """The request in MLflow's form."""
        if series.columns:
            data = {"columns": series.columns, "data": [self.values]}
            made: dict[str, Any] = {"dataframe_split": data}
        else:
            made = {"inputs": [self.values]}
        return dumps(made | ({"params": {STEPS: self.steps}} if series.takes_steps else {}))


def series_request(body: Any, series: Series, endpoint: EndpointName) -> SeriesRequest:
    """Check what a caller sent, as parsed JSON.

    Raises:
        InvalidRequest: ``errors`` of the problem says what is allowed.
    """
    findings = Findings()
    if type(body) is not dict:
        findings.add_form(f'an object with "{VALUES}"', describe(body))
        raise _refusal(findings, endpoint)
    findings.add_unknown(body.keys() - {VALUES, STEPS}, lambda name: "no such member", "a value")
    values = body.get(VALUES)
    if type(values) is not list or len(values) != series.window:
        expected = f"an array of {series.window} numbers, the oldest first"
        got = f"{len(values)} values" if type(values) is list else describe(values)
        findings.add(ViolationKind.SHAPE, expected, got, column=VALUES)
    else:
        for place, value in enumerate(values):
            if not _is_finite(value):
                kind = ViolationKind.NULL if value is None else ViolationKind.TYPE
                findings.add(kind, "a finite number", describe(value), column=VALUES, row=place)
    steps = body.get(STEPS, series.horizon)
    if type(steps) is not int or not 1 <= steps <= series.horizon:
        expected = f"a whole number from 1 to {series.horizon}"
        findings.add(ViolationKind.RANGE, expected, describe(steps), column=STEPS)
    if findings.count:
        raise _refusal(findings, endpoint)
    assert type(values) is list  # noqa: S101 - else there was a finding
    return SeriesRequest(values, steps)


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _refusal(findings: Findings, endpoint: EndpointName) -> InvalidRequest:
    shown = findings.first_violations
    first = shown[0]
    place = "" if first.column is None else f" {first.column!a}"
    place += "" if first.row is None else f" item {first.row}"
    more = "" if findings.count == 1 else f" (the first of {findings.count} violations)"
    return InvalidRequest(
        f"cannot predict with {endpoint}:{place or ' the body'}: expected {first.expected}, got "
        f"{first.got}{more}",
        extra={"errors": [one.as_dict() for one in shown], "error_count": findings.count},
    )


class SeriesDialect:
    """One caller's."""

    streams = False

    def __init__(self, endpoint: EndpointName, window: int, steps: int) -> None:
        self._endpoint, self._window, self._steps = endpoint, window, steps

    def problem(self, error: ModelDeploymentError) -> ErrorAnswer:
        return MLFLOW.problem(error)

    def answer(self, content: bytes) -> bytes:
        """
        Raises:
            OddAnswer: the model did not answer with the values.
        """
        values = _predicted(content)
        if values is None or len(values) < self._steps:
            raise OddAnswer(
                f"cannot pass on the answer of {self._endpoint}: it is not one row of {self._steps} "
                "finite numbers, as a model of a time series answers"
            )
        count = "1 value" if self._steps == 1 else f"{self._steps} values"
        return dumps({
            "model_name": self._endpoint.model,
            "prediction": values[: self._steps],
            "message": f"predicted {count} from the last {self._window} with {self._endpoint}",
        })  # fmt: skip

    frames = staticmethod(MLFLOW.frames)
    failure = staticmethod(MLFLOW.failure)
    end = staticmethod(MLFLOW.end)


def _predicted(content: bytes) -> list[float] | None:
    """The values of the only row of an answer, in whatever form MLflow wrote them."""
    try:
        answer = loads(content)
    except MalformedJson:
        return None
    row = answer.get("predictions") if type(answer) is dict else None
    while (parts := _parts(row)) and len(parts) == 1 and _parts(parts[0]) is not None:
        row = parts[0]
    row = _parts(row)
    if row is None:
        return None
    # A network may answer each step as an array of one output.
    values = [one[0] if type(one) is list and len(one) == 1 else one for one in row]
    return values if values and all(map(_is_finite, values)) else None


def _parts(value: Any) -> list[Any] | None:
    """The items of an array or an object."""
    return [*value.values()] if type(value) is dict else value if type(value) is list else None
