"""Finds an example of a request that a gate accepts."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from model_deployment.gate import body_forms
from model_deployment.gate.request_check import Gate
from model_deployment.gate.strict_json import dumps

#: Rows of an example that are tried one by one.
_TRIED = 20


def fitting(gate: Gate, example: Any, most: int) -> Any:
    """The example, or its first row that is accepted alone; None if there is none.

    Args:
        most: bytes of JSON that the result may have.
    """
    requests = chain([example], _rows(example))
    return next((one for one in requests if _fits(gate, one, most)), None)


def _fits(gate: Gate, request: Any, most: int) -> bool:
    if request is None or len(dumps(request)) > most:
        return False
    verdict = gate.check(request)
    return not verdict.refused and verdict.rows != 0


def _rows(example: Any) -> Iterator[Any]:
    """Requests of one row each."""
    if type(example) is not dict:
        return
    for form in (body_forms.SPLIT, body_forms.RECORDS, body_forms.INPUTS, body_forms.INSTANCES):
        data: Any = example.get(form)
        split = type(data) is dict and form == body_forms.SPLIT
        rows = data.get("data") if split else data
        for row in rows[:_TRIED] if type(rows) is list else ():
            if split:
                yield {**example, form: {"columns": data.get("columns"), "data": [row]}}
            else:
                yield {**example, form: [row]}
