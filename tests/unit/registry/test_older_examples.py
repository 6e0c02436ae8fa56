"""Input examples as MLflow 2.9 saves them: without the scoring request, which is made of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_deployment.core.options import Validation as Mode
from model_deployment.proxy.headers import JSON
from model_deployment.proxy.validate import validate
from model_deployment.registry.mlmodel import MLmodelReader

FRAME = {"type": "dataframe", "pandas_orient": "split"}
VALUES = {"type": "dataframe", "pandas_orient": "values"}
ARRAY = {"type": "ndarray", "format": "tf-serving"}
SPLIT = {"columns": ["a", "b"], "data": [[1.0, "x"]]}
COLUMNS = [{"type": "double", "name": "a"}, {"type": "string", "name": "b"}]
TENSOR = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
NUMBERS = [{"type": "double"}, {"type": "double"}]


def save(folder: Path, inputs: Any, info: dict[str, Any], example: str) -> Path:
    params = [{"name": "t", "type": "double", "default": 1.0, "shape": None}]
    document = {
        "flavors": {},
        "mlflow_version": "2.9.2",
        "signature": {"inputs": json.dumps(inputs), "outputs": None, "params": json.dumps(params)},
        "saved_input_example_info": {"artifact_path": "input_example.json", **info},
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    (folder / "input_example.json").write_text(example)
    return folder


@pytest.mark.parametrize(
    ("inputs", "info", "example", "request_"),
    [
        (COLUMNS, FRAME, SPLIT, {"dataframe_split": SPLIT}),
        (
            COLUMNS,
            {**FRAME, "params": "true"},
            {"inputs": SPLIT, "params": {"t": 0.5}},
            {"dataframe_split": SPLIT, "params": {"t": 0.5}},
        ),
        (
            NUMBERS,
            VALUES,
            {"data": [[1.0, 2.0]]},
            {"dataframe_split": {"data": [[1.0, 2.0]]}},
        ),
        (TENSOR, ARRAY, {"inputs": [[1.0, 2.0]]}, {"inputs": [[1.0, 2.0]]}),
        (
            TENSOR,
            {**ARRAY, "params": "true"},
            {"inputs": {"inputs": [[1.0, 2.0]]}, "params": {"t": 2}},
            {"inputs": [[1.0, 2.0]], "params": {"t": 2}},
        ),
    ],
)
def test_request_is_made_of_the_example_and_passes_the_gate(
    tmp_path: Path, inputs: Any, info: dict[str, Any], example: Any, request_: Any
) -> None:
    folder = save(tmp_path, inputs, info, json.dumps(example))
    reader = MLmodelReader()
    assert reader.read(folder)[1] == request_
    assert reader.example(folder) == request_
    result = validate(reader.gate(folder, Mode.STRICT), JSON, json.dumps(request_).encode()).result
    assert (result.refused, list(result.violations)) == (False, [])


def test_request_that_was_saved_goes_first(tmp_path: Path) -> None:
    folder = save(tmp_path, COLUMNS, FRAME, json.dumps(SPLIT))
    saved = {"dataframe_split": {**SPLIT, "data": [[2.0, "y"]]}}
    (folder / "serving_input_example.json").write_text(json.dumps(saved))
    assert MLmodelReader().read(folder)[1] == saved


@pytest.mark.parametrize(
    ("info", "example"),
    [
        (
            {"type": "sparse_matrix_csr"},
            '{"data": [1.0], "indices": [0], "indptr": [0], "shape": [1]}',
        ),
        ({}, json.dumps(SPLIT)),
        (FRAME, "[1, 2]"),
        (FRAME, "no JSON"),
        (FRAME, "{}"),
        ({**FRAME, "params": "true"}, '{"params": {"t": 1}}'),
        ({**FRAME, "artifact_path": "../elsewhere.json"}, json.dumps(SPLIT)),
        ({**FRAME, "artifact_path": None}, json.dumps(SPLIT)),
    ],
)
def test_other_examples_make_no_request(tmp_path: Path, info: dict[str, Any], example: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "elsewhere.json").write_text(json.dumps(SPLIT))
    assert MLmodelReader().read(save(folder, COLUMNS, info, example))[1] is None
