"""Calls of chat models pass as they are, and are no way past the signature of another model."""

import pytest

from model_deployment.gate import Gate, Validation
from tests.support.gates import MAPPING, column, gate, kinds


@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
def test_calls_of_chat_models_pass_unchecked(name: str) -> None:
    body = {name: ["a"], "temperature": 1}
    for gated in (gate(column("string", name)), Gate(None, MAPPING, Validation.STRICT)):
        result = gated.check(body)
        assert (result.refused, result.payload, result.table) == (False, None, None)


@pytest.mark.parametrize("mode", ["strict", "coerce", "observe"])
@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
def test_a_record_for_a_model_of_columns_is_no_chat(name: str, mode: str) -> None:
    gated = gate(column("long"), mode=mode)
    for value in ("x", ["x"], {"x": 1}):
        result = gated.check({"a": 1, name: value})
        assert kinds(result) == ["unknown"]
        assert result.violations[0].column == name
        assert result.refused == (mode == "strict")
        if mode == "coerce":
            frame = result.payload["dataframe_split"]
            assert (frame["columns"], [[*row] for row in frame["data"]]) == (["a"], [[1]])
        # Alone it is no way past the gate either.
        assert gated.check({name: value}).refused == (mode != "observe")


def test_a_chat_with_one_column_of_the_signature_is_one() -> None:
    gated = gate(column("string", "prompt"), column("long"))
    result = gated.check({"prompt": "x", "messages": ["y"]})
    assert (result.refused, result.payload, result.count) == (False, None, 0)
    assert gated.check({"messages": ["y"]}).refused


def test_a_number_in_a_column_named_input_is_no_chat() -> None:
    result = gate(column("double", "input")).check({"input": 1.5})
    assert result.payload == {"dataframe_records": [{"input": 1.5}]}
