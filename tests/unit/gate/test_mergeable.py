"""Which requests of tensors can be merged, with which others, and what the model gets of them together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import Gate, MergeableTensors, dumps
from tests.support.enforcement import enforced
from tests.support.gates import gate, param, tensor

PAIR = (tensor("float32", -1, 2, name="x"), tensor("int64", -1, name="y"))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float16": st.floats(-60000, 60000, width=16),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "str": st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=4),
    "object": st.none() | st.text(max_size=3) | st.integers(0, 9) | st.booleans(),
    "datetime64[ns]": st.sampled_from(["2026-01-31", "2026-01-31T12:00:00.5"]),
    **{
        f"{sign}int{bits}": st.integers(
            0 if sign else -(1 << bits - 1), (1 << bits - (not sign)) - 1
        )
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


def rows_of(one: Gate, body: Any) -> MergeableTensors | None:
    result = one.check(body)
    assert not result.refused, result.violations
    assert result.table is None or isinstance(result.table, MergeableTensors)
    return result.table


def mergeable(one: Gate, body: Any) -> MergeableTensors:
    found = rows_of(one, body)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "forms",
    [
        [{"inputs": {"x": [[1.5, 2]], "y": [3]}}],
        [{"instances": {"x": [[1.5, 2]], "y": [3]}}, {"instances": [{"x": [1.5, 2], "y": 3}]}],
        [{"dataframe_records": [{"x": [1.5, 2], "y": 3}]}, {"x": [1.5, 2], "y": 3}],
        [{"dataframe_split": {"columns": ["y", "x"], "data": [[3, [1.5, 2]]]}}],
    ],
)
def test_tensors_with_names_merge_with_those_of_the_same_form(forms: list[Any]) -> None:
    one = gate(*PAIR)
    found = [mergeable(one, body) for body in forms]
    assert {rows.key for rows in found} == {found[0].key}
    assert one.join(found * 2) == {
        "inputs": {"x": [[1.5, 2]] * 2 * len(found), "y": [3] * 2 * len(found)}
    }


def test_forms_do_not_merge_with_each_other() -> None:
    one = gate(tensor("float32", -1, 2))
    bodies = (
        {"inputs": [[1, 2]]},
        {"instances": [[1, 2]]},
        {"dataframe_split": {"data": [[1, 2]]}},
    )
    assert len({mergeable(one, body).key for body in bodies}) == 3


def test_rows_of_other_shapes_and_params_do_not_merge() -> None:
    one = gate(tensor("float32", -1, -1), params=[param("long", 0)])
    short, long = {"inputs": [[1, 2]]}, {"inputs": [[1, 2, 3]] * 2}
    keys = {mergeable(one, body).key for body in (short, long, {**short, "params": {"p": 1}})}
    assert len(keys) == 3
    assert mergeable(one, {"inputs": [[5, 6]] * 4}).key in keys


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        ((tensor("float32", 1, 3),), "the first axis of its input has the fixed size 1"),
        ((tensor("float32"),), "its input has no axes"),
        ((tensor("complex64", -1),), "values of the type complex64"),
        ((tensor("datetime64", -1),), "values of the type datetime64"),
        ((PAIR[0], tensor("int64", 4, name="z")), "the first axis of its input 'z'"),
    ],
)
def test_signatures_without_rows_are_never_merged(specs: Any, why: str) -> None:
    assert gate(*specs).unmergeable.startswith(why)


def test_a_fixed_first_axis_keeps_a_request_alone() -> None:
    assert rows_of(gate(tensor("float32", 1, 2)), {"inputs": [[1, 2]]}) is None
    assert gate(tensor("float32", -1, 2)).unmergeable == ""


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (tensor("object", -1), [[1], [2, 3]]),
        (tensor("object", -1), [[1], [2]]),
        (tensor("object", -1), ["a", {"b": 1}]),
        (tensor("float32", -1, -1), [[], []]),
    ],
)
def test_rows_that_numpy_may_lay_out_otherwise_beside_others_stay_alone(
    spec: Any, value: Any
) -> None:
    assert rows_of(gate(spec), {"inputs": value}) is None


def test_inputs_of_unequally_many_rows_stay_alone() -> None:
    assert rows_of(gate(*PAIR), {"inputs": {"x": [[1, 2]] * 2, "y": [3]}}) is None


def test_values_that_violate_the_signature_stay_alone() -> None:
    one = gate(tensor("float32", -1), mode="observe")
    assert one.check({"inputs": [1, "a"]}).table is None


def test_repaired_values_are_merged_repaired() -> None:
    one = gate(tensor("int64", -1), mode="coerce")
    found = mergeable(one, {"inputs": ["3", 4]})
    assert one.join([found, found]) == {"inputs": [3, 4, 3, 4]}


def test_a_part_of_the_rows_is_those_rows() -> None:
    found = mergeable(gate(*PAIR), {"inputs": {"x": [[1, 2], [3, 4], [5, 6]], "y": [7, 8, 9]}})
    part = found.part(1, 2)
    assert (part.rows, part.cells, part.key) == (2, 6, found.key)
    assert gate(*PAIR).join([part]) == {"inputs": {"x": [[3, 4], [5, 6]], "y": [8, 9]}}


@pytest.mark.filterwarnings("ignore")
@given(
    data=st.data(), dtype=st.sampled_from([*VALUES]), inner=st.sampled_from([(), (2,), (2, 1, 2)])
)
def test_the_model_gets_the_rows_of_all_as_it_gets_them_apart(
    data: st.DataObject, dtype: str, inner: tuple[int, ...]
) -> None:
    spec = tensor(dtype, -1, *inner)
    one = gate(spec)
    count = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    bodies = [{"inputs": [_row(data, dtype, inner) for _ in range(rows)]} for rows in count]
    results = [one.check(body) for body in bodies]
    if any(result.refused for result in results):  # a float that the type would lose
        return
    merged = one.join([result.table for result in results if result.table is not None])
    apart = [enforced(dumps(body), [spec])[0] for body in bodies]
    together, _ = enforced(dumps(merged), [spec])
    np.testing.assert_array_equal(together, np.concatenate(apart))


def _row(data: st.DataObject, dtype: str, inner: tuple[int, ...]) -> Any:
    if not inner:
        return data.draw(VALUES[dtype])
    return [_row(data, dtype, inner[1:]) for _ in range(inner[0])]
