"""Tensors: the same rows as the same columns, in whatever form."""

import json

import pandas as pd
import pytest

from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import JSON, PARQUET, parquet, taken


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b'{"inputs": [[1, 2.5], [3, 4]]}'),
        (JSON, b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [3, 4]]}}'),
        (PARQUET, parquet(pd.DataFrame({"a": [1.0, 3.0], "b": [2.5, 4.0]}))),
    ],
)
def test_a_tensor_is_a_table(media_type: str, body: bytes) -> None:
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}
    found = taken(ModelInputs([tensor]), media_type, body)
    assert found == {"f0": [1.0, 3.0], "f1": [2.5, 4.0]}
    assert {type(value) for values in found.values() for value in values} == {float}


def test_a_deep_tensor_and_named_ones() -> None:
    image = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1, 2]}}
    body = b'{"inputs": [[[1, 0.10000000149011612]], [[null, 2]]]}'
    assert taken(ModelInputs([image]), JSON, body) == {"f0": [[1.0, 0.1], [None, 2.0]]}
    named = ModelInputs([{**image, "name": "b"}, {**image, "name": "a"}])
    body = b'{"inputs": {"a": [[[1, 2]]], "b": [[[3, 4]]]}}'
    assert taken(named, JSON, body) == {"b": [[[3.0, 4.0]]], "a": [[[1.0, 2.0]]]}


def test_the_only_tensor_may_come_without_its_name() -> None:
    for shape, rows in (
        ([-1, 2], [[1.0, 2.0], [3.0, 4.0]]),
        ([-1, 1], [[1.0]]),
        ([-1], [1.0, 2.0]),
    ):
        inputs = ModelInputs([
            {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": shape}, "name": "t"}
        ])  # fmt: skip
        for body in ({"inputs": {"t": rows}}, {"inputs": rows}, {"instances": rows}):
            assert taken(inputs, JSON, json.dumps(body).encode()) == {"t": rows}
