"""Models that give the gate no columns to check: no signature, one that it cannot read, type hints."""

from typing import Any

import pytest

from model_deployment.core.signature import Signature, from_mlmodel
from model_deployment.gate import Gate, Validation
from tests.support.gates import MAPPING, column, gate, kinds
from tests.support.people import ADA


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["x"], "data": [[1.5], [None]]}, "params": {"a": 1}},
        {"dataframe_split": "anything"},
        {"dataframe_records": [1, {}]},
        {"inputs": [[1]]},
        {"instances": "x", "more": 1},
    ],
)
def test_without_a_signature_all_forms_pass_unchecked(body: Any) -> None:
    gated = Gate(None, MAPPING, Validation.STRICT)
    assert not gated.checked
    result = gated.check(body)
    assert (result.refused, result.payload, result.count) == (False, None, 0)


def test_without_a_signature_records_are_wrapped_and_nonsense_refused() -> None:
    gated = Gate(None, MAPPING, Validation.STRICT)
    assert gated.check({"x": 1}).payload == {"dataframe_records": [{"x": 1}]}
    assert gated.check([{"x": 1}]).payload == {"dataframe_records": [{"x": 1}]}
    assert gated.check({"x": 1, "params": {"p": 1}}).payload["params"] == {"p": 1}
    for body in (5, [], [[1]], {"inputs": 1, "instances": 1}):
        assert gated.check(body).refused


@pytest.mark.parametrize(
    "inputs",
    [
        [1],
        ["age"],
        [{"name": "x"}],
        [{"name": "x", "type": []}],
        [{"name": "x", "type": "decimal"}],
        [{"name": "x", "type": "array"}],
        [{"type": "tensor"}],
        [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": ["?"]}}],
        [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [1]}}] * 2,
    ],
)
def test_a_signature_of_another_shape_checks_nothing(
    inputs: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gated = Gate(Signature(inputs, None, None), MAPPING, Validation.STRICT)
    assert not gated.checked
    assert "cannot read the signature" in caplog.text
    assert not gated.check({"inputs": [1]}).refused


def test_a_model_with_type_hints_takes_inputs_alone() -> None:
    signature = Signature([{"type": "string"}], None, None, from_type_hint=True)
    gated = Gate(signature, MAPPING, Validation.STRICT)
    assert gated.check({"inputs": [{"any": "thing"}]}).payload is None
    assert gated.check(ADA).payload == {"inputs": [ADA]}
    assert gated.check([ADA]).payload == {"inputs": [ADA]}
    assert kinds(gated.check({"dataframe_records": [ADA]})) == ["form"]


@pytest.mark.parametrize("hinted", [True, False])
def test_a_model_file_tells_whether_its_signature_is_of_type_hints(hinted: bool) -> None:
    document = {
        "signature": {"inputs": '[{"type": "string"}]'},
        "is_signature_from_type_hint": hinted,
    }
    signature = from_mlmodel(document)
    assert signature is not None
    assert signature.from_type_hint is hinted


@pytest.mark.parametrize("kind", ["array", "map", "object"])
@pytest.mark.parametrize("depth", [60, 600, 5000])
def test_a_signature_of_any_depth_stops_nothing(kind: str, depth: int) -> None:
    spec: dict[str, Any] = {"type": "long"}
    for _ in range(depth):
        inner = {
            "array": {"items": spec},
            "map": {"values": spec},
            "object": {"properties": {"k": spec}},
        }
        spec = {"type": kind, **inner[kind]}
    for mode in ("strict", "coerce", "observe"):
        one = gate(column(spec), mode=mode)
        assert one.checked == (depth == 60)
        result = one.check({"a": 1})
        assert result.refused == (depth == 60 and mode != "observe")
