"""Merged tensors as bytes: the model gets the same arrays as from JSON."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import Mergeable, dumps
from model_deployment.proxy.packed_rows import body_of, may_be_packed, packed
from tests.support.enforcement import enforced
from tests.support.gates import Spec, column, gate, param, split, tensor
from tests.unit.gate.test_mergeable import VALUES

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

NUMBERS = sorted({*VALUES} - {"str", "object", "datetime64[ns]"})


def rows_of(spec: Spec | list[Spec], body: Any, **more: Any) -> Mergeable:
    specs = spec if isinstance(spec, list) else [spec]
    found = gate(*specs, **more).check(body).table
    assert found is not None
    return packed(found)


def arrays_of(body: bytes, specs: list[Spec]) -> Any:
    """What the worker makes of a body."""
    import json

    from mlflow.types.schema import Schema

    from model_deployment.worker import tensor_requests

    arrays, _ = tensor_requests.read(body)
    return tensor_requests.data_of(arrays, Schema.from_json(json.dumps(specs)))


@given(data=st.data(), dtype=st.sampled_from(NUMBERS), rows=st.integers(1, 3))
def test_numbers_arrive_as_mlflow_reads_them_in_json(
    data: st.DataObject, dtype: str, rows: int
) -> None:
    spec = tensor(dtype, -1, 2)
    value = data.draw(
        st.lists(st.lists(VALUES[dtype], min_size=2, max_size=2), min_size=rows, max_size=rows)
    )
    result = gate(spec).check({"inputs": value})
    if result.table is None:  # a float that the type would lose
        return
    body = body_of([packed(result.table), packed(result.table)])
    assert body is not None
    got = arrays_of(body, [spec])
    wanted, _ = enforced(dumps({"inputs": value * 2}), [spec])
    np.testing.assert_array_equal(got, wanted)
    assert (got.dtype, got.flags.writeable) == (wanted.dtype, True)


def test_several_tensors_keep_their_names_and_types() -> None:
    specs = [tensor("float32", -1, 2, name="__metadata__"), tensor("bool", -1, name="é")]
    rows = rows_of(specs, {"inputs": {"é": [True, False], "__metadata__": [[1, 2.5], [3, 4]]}})
    body = body_of([rows.part(1, 1), rows])
    assert body is not None
    got = arrays_of(body, specs)
    assert [*got] == ["__metadata__", "é"]
    assert got["__metadata__"].tolist() == [[3, 4], [1, 2.5], [3, 4]]
    assert got["é"].tolist() == [False, True, False]


def test_params_go_with_them() -> None:
    from model_deployment.worker.tensor_requests import read

    rows = rows_of(
        tensor("float32", -1), {"inputs": [1.5], "params": {"p": 7}}, params=[param("long", 0)]
    )
    assert read(body_of([rows]) or b"")[1] == {"p": 7}


@pytest.mark.parametrize("value", [["a", "b"], ["2026-01-31"]])
def test_text_stays_json(value: list[str]) -> None:
    dtype = "str" if len(value) > 1 else "datetime64[ns]"
    rows = rows_of(tensor(dtype, -1), {"inputs": value})
    assert body_of([rows, rows]) is None


def test_one_missing_value_makes_json_of_a_call() -> None:
    specs = [tensor("float32", -1)]
    one = gate(*specs)
    table = one.check({"inputs": [1.5]}).table
    assert table is not None
    from dataclasses import replace

    gap = packed(replace(table, values=([None],)))
    assert may_be_packed(gap)
    assert body_of([packed(table), gap]) is None
    assert one.join([packed(table), gap]) == {"inputs": [1.5, None]}


def test_tables_are_not_packed() -> None:
    table = gate(column("double")).check(split(1.5)).table
    assert table is not None
    assert not may_be_packed(table)
    assert packed(table) is table
    assert body_of([table]) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"\x02" + bytes(7) + b"{}", b"\xff" * 40])
def test_bytes_of_another_kind_are_a_bad_request(body: bytes) -> None:
    from mlflow.exceptions import MlflowException

    from model_deployment.worker import tensor_requests

    with pytest.raises(MlflowException, match="not one of packed tensors"):
        tensor_requests.predict(None, body)
