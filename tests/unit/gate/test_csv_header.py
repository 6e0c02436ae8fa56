"""The header of a CSV body: which columns it names, and models that MLflow reads no CSV for."""

from typing import Any

import pytest

from model_deployment.core.signature import Signature
from model_deployment.gate import Gate, Validation
from tests.support.gates import MAPPING, Spec, column, gate, kinds, tensor
from tests.support.people import AGE, NAME, NOTE, PEOPLE


@pytest.mark.parametrize(
    ("line", "problems"),
    [
        ("age,name", []),
        ("name,age,note\r\n", []),
        ('\ufeff"age","name"\n', []),
        ("age", ["missing"]),
        ("age,name,x", ["unknown"]),
        ("age,name,age", ["form"]),
        (",age,name", ["unknown"]),
        ("", ["form"]),
        ("\n", ["form"]),
        ('"age,name', ["form"]),
        ("36,Ada", ["missing", "missing", "unknown", "unknown"]),
    ],
)
def test_the_header_of_a_csv_body_is_compared(line: str, problems: list[str]) -> None:
    result = PEOPLE.check_csv(line)
    assert kinds(result) == problems
    assert result.refused == bool(problems)
    lenient = gate(AGE, NAME, NOTE, mode="coerce").check_csv(line)
    assert lenient.refused == bool(set(problems) - {"unknown"})
    assert not gate(AGE, NAME, NOTE, mode="observe").check_csv(line).refused


def test_csv_for_a_model_that_mlflow_reads_none_for_is_refused() -> None:
    lists: Any = {"type": "array", "items": {"type": "long"}}
    for kind in ("datetime", "binary", "any", lists):
        assert kinds(gate(column(kind)).check_csv("a")) == ["form"]
    for kind in ("any", lists):
        assert kinds(gate(AGE, column(kind, required=False)).check_csv("age")) == ["form"]
    for kind in ("datetime", "binary"):
        assert not gate(AGE, column(kind, required=False)).check_csv("age").refused
    assert kinds(gate(tensor("float64", -1, 2)).check_csv("a,b")) == ["form"]


def test_csv_for_columns_without_names_is_counted() -> None:
    gated = gate({"type": "long"}, {"type": "double"})
    assert not gated.check_csv("x,y").refused
    assert kinds(gated.check_csv("x")) == ["missing"]
    assert kinds(gated.check_csv("x,y,z")) == ["unknown"]


def test_csv_for_a_model_without_a_signature_passes() -> None:
    assert not Gate(None, MAPPING, Validation.STRICT).check_csv("").refused


def test_columns_without_names_are_judged_by_their_place() -> None:
    gated = gate({"type": "integer"}, {"type": "string"})
    assert kinds(gated.check_csv("x,y\n1,z\n")) == []
    assert kinds(gated.check_csv("x,y\n2147483648,\n")) == ["range", "null"]


@pytest.mark.parametrize(
    ("inputs", "single"),
    [
        ([{"type": "string"}], True),
        ([{"type": "long"}], True),
        ([{"type": "array", "items": {"type": "double"}}], True),
        ([{"type": "object", "properties": {"a": {"type": "string"}}}], False),
        ([{"type": "map", "values": {"type": "double"}}], False),
        (None, False),
    ],
)
def test_a_list_of_values_is_one_column_since_mlflow_drops_the_others(
    inputs: list[Spec] | None, single: bool
) -> None:
    outputs = [{"type": "string"}]
    hinted = Gate(Signature(inputs, outputs, None, from_type_hint=True), MAPPING, Validation.STRICT)
    assert not hinted.check_csv("a\n1\n").refused
    result = hinted.check_csv("a,b\n1,2\n3,4\n")
    assert (result.refused, result.rows) == (single, 2)
    assert [(one.expected, one.got) for one in result.violations] == [("1 column", "2")] * single
