"""What a model says of itself: signatures, samples made from them, and files that say nonsense."""

import json
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from model_deployment.core.signature import Signature, from_mlmodel, sample
from model_deployment.registry.mlmodel import MLmodelReader

EXAMPLES = {"long": 1, "double": 0.5, "string": "text", "boolean": True, "any": None}

NO_SIGNATURE = {"inputs": [[0]]}


def columns(*inputs: dict[str, Any]) -> Signature:
    return Signature([*inputs], None, None)


def mlmodel(**parts: Any) -> dict[str, Any]:
    """As MLflow writes it: JSON texts inside YAML."""
    return {"signature": {name: json.dumps(part) for name, part in parts.items()}}


AGE = {"type": "double", "name": "age", "required": True}


def test_reads_the_json_texts_of_a_signature() -> None:
    signature = from_mlmodel(mlmodel(inputs=[AGE], outputs=[{"type": "long"}], params=None))
    assert signature == Signature([AGE], [{"type": "long"}], None)
    assert signature.as_dict() == {"inputs": [AGE], "outputs": [{"type": "long"}], "params": None}


def test_parameters_alone_are_a_signature() -> None:
    parameter = {"name": "t", "type": "double", "default": 0.5, "shape": None}
    assert from_mlmodel(mlmodel(params=[parameter])) == Signature(None, None, [parameter])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"signature": None},
        {"signature": {}},
        {"signature": "text"},
        {"signature": []},
        mlmodel(inputs=None),
        mlmodel(inputs=[]),
    ],
)
def test_without_columns_or_parameters_there_is_no_signature(document: dict[str, Any]) -> None:
    assert from_mlmodel(document) is None


@pytest.mark.parametrize("part", ["inputs", "outputs", "params"])
@pytest.mark.parametrize(
    "text", ["[{", "[1]", '["age"]', "[[]]", '[{"type": "long"}, 1]', '[{"type": []}]', [None]]
)
def test_a_list_that_is_not_one_of_columns_is_an_error(part: str, text: object) -> None:
    with pytest.raises(ValueError, match=r"Expecting|no list of columns"):
        from_mlmodel({"signature": {part: text}})


@pytest.mark.parametrize("hinted", [True, False, None, "true"])
def test_knows_whether_it_was_made_from_type_hints(hinted: object) -> None:
    document = mlmodel(inputs=[AGE]) | {"is_signature_from_type_hint": hinted}
    signature = from_mlmodel(document)
    assert signature is not None
    assert signature.from_type_hint is (hinted is True)
    assert signature.as_dict().keys() == {"inputs", "outputs", "params"}


@pytest.mark.parametrize(
    ("inputs", "request_body"),
    [
        ([AGE], {"dataframe_records": [{"age": 0.5}]}),
        (
            [AGE, {"type": "string", "name": "sex", "required": False}],
            {"dataframe_records": [{"age": 0.5}]},
        ),
        # Written by a release that knew no optional columns.
        ([{"type": "string", "name": "sex"}], {"dataframe_records": [{"sex": "text"}]}),
        ([{"type": "new", "name": "x"}], {"dataframe_records": [{"x": None}]}),
        (
            [{"type": "array", "items": {"type": "long"}, "name": "x"}],
            {"dataframe_records": [{"x": [1]}]},
        ),
        (
            [
                {
                    "type": "object",
                    "name": "x",
                    "properties": {
                        "a": {"type": "long"},
                        "b": {"type": "map", "values": {"type": "boolean"}},
                    },
                }
            ],
            {"dataframe_records": [{"x": {"a": 1, "b": {"key": True}}}]},
        ),
        (
            [{"type": "tensor", "tensor-spec": {"dtype": "f8", "shape": [-1, 2, 3]}}],
            {"inputs": [[[0, 0, 0], [0, 0, 0]]]},
        ),
        (
            [{"type": "tensor", "name": "x", "tensor-spec": {"dtype": "f8", "shape": [-1, -1, 2]}}],
            {"dataframe_records": [{"x": [[0, 0]]}]},
        ),
        ([{"type": "tensor"}], {"inputs": [0]}),
        ([{"type": "double"}, {"type": "double"}], {"inputs": [[0.5, 0.5]]}),
        ([{"type": "string"}], {"inputs": ["text"]}),
        (
            [{"type": "string", "name": "sex", "required": False}],
            {"dataframe_records": [{"sex": "text"}]},
        ),
        (
            [{"type": "double", "name": 0}, {"type": "string", "name": "sex"}],
            {"dataframe_split": {"columns": [0, "sex"], "data": [[0.5, "text"]]}},
        ),
        ([AGE, {"type": "double"}], NO_SIGNATURE),
    ],
)
def test_makes_a_request_that_fits(
    inputs: list[dict[str, Any]], request_body: dict[str, Any]
) -> None:
    assert sample(columns(*inputs), EXAMPLES) == request_body


@pytest.mark.parametrize("signature", [None, Signature(None, None, None), columns()])
def test_makes_a_request_without_a_signature(signature: Signature | None) -> None:
    assert sample(signature, EXAMPLES) == NO_SIGNATURE


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ([-1, 1000], [0] * 1000),
        ([-1, 1001], [0]),
        ([-1, 11, 91], [[0]]),
        ([-1, 5_000, 5_000], [[0]]),
    ],
)
def test_of_a_huge_tensor_the_sample_shows_how_it_is_nested(
    shape: list[int], shown: list[Any]
) -> None:
    spec = {"type": "tensor", "tensor-spec": {"dtype": "f8", "shape": shape}}
    assert sample(columns(spec), EXAMPLES) == {"inputs": [shown]}
    named = sample(columns(spec | {"name": "image"}), EXAMPLES)
    assert named == {"dataframe_records": [{"image": shown}]}


def describe(folder: Path, text: str | bytes | None) -> tuple[Any, Any, Any]:
    if text is not None:
        (folder / "MLmodel").write_bytes(text if isinstance(text, bytes) else text.encode())
    return MLmodelReader().read(folder)


def test_describes_a_model(tmp_path: Path) -> None:
    (tmp_path / "serving_input_example.json").write_text('{"inputs": [[0.1]]}')
    signature, example, request_body = describe(tmp_path, json.dumps(mlmodel(inputs=[AGE])))
    assert signature == {"inputs": [AGE], "outputs": None, "params": None}
    assert example == {"inputs": [[0.1]]}
    assert request_body == {"dataframe_records": [{"age": 0.5}]}


@pytest.mark.parametrize(
    "kind", ["integer", "long", "float", "double", "string", "boolean", "datetime", "binary"]
)
def test_knows_an_example_of_each_type(tmp_path: Path, kind: str) -> None:
    text = json.dumps(mlmodel(inputs=[{"type": kind, "name": "x"}]))
    *_, request_body = describe(tmp_path, text)
    assert request_body["dataframe_records"][0]["x"] is not None


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        (None, False),
        ("{}", False),
        ("flavors: {}", False),
        ("signature:", False),
        ("a: [", True),
        ("a: 'b", True),
        ("\tx: 1", True),
        (b"a: \xff", True),
        ("a: \x07", True),
        ("signature: {inputs: '[{'}", True),
        ("signature: !!python/object/apply:os.getcwd []", True),
    ],
)
def test_a_model_that_says_nothing_usable_may_still_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | bytes | None, logged: bool
) -> None:
    caplog.set_level(logging.WARNING)
    assert describe(tmp_path, text) == (None, None, NO_SIGNATURE)
    assert ("cannot read the signature" in caplog.text) is logged


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "[]",
        "1",
        "saved_input_example_info: text",
        "signature: {inputs: '[1]'}",
        "signature: {inputs: '1'}",
        "signature: {inputs: '{}'}",
    ],
)
def test_yaml_of_another_shape_is_nothing_usable_either(tmp_path: Path, text: str) -> None:
    assert describe(tmp_path, text) == (None, None, NO_SIGNATURE)


@pytest.mark.parametrize(
    "column",
    [
        {"type": "long", "name": []},
        {"type": "long", "name": None},
        {"type": "array", "name": "x", "items": "long"},
        {"type": "array", "name": "x", "items": {"type": []}},
        {"type": "object", "name": "x", "properties": []},
        {"type": "map", "name": "x", "values": None},
        {"type": "tensor", "tensor-spec": None},
        {"type": "tensor", "tensor-spec": {"shape": None}},
        {"type": "tensor", "tensor-spec": {"shape": ["x", "y"]}},
    ],
)
def test_a_column_of_another_shape_is_no_end_of_the_description(
    tmp_path: Path, column: dict[str, Any]
) -> None:
    *_, request_body = describe(tmp_path, json.dumps(mlmodel(inputs=[column])))
    assert orjson.dumps(request_body)


@pytest.mark.parametrize("text", ["[" * 5_000, "signature: {inputs: '" + "[" * 5_000 + "'}"])
def test_a_model_that_nests_too_deeply_says_nothing_usable(tmp_path: Path, text: str) -> None:
    assert describe(tmp_path, text) == (None, None, NO_SIGNATURE)


@pytest.mark.parametrize("name", ["serving_input_example.json", "other.json"])
def test_reads_the_example_that_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[1]")
    info = {"saved_input_example_info": {"serving_input_path": name}}
    assert describe(tmp_path, json.dumps(info))[1] == [1]


@pytest.mark.parametrize(
    "path",
    [
        "../secret.json",
        "../../secret.json",
        "model/../../secret.json",
        "{outside}/secret.json",
        "..",
        ".",
        "",
        "/",
        "sub",
        "secret.json\0",
        "x" * 5000,
        None,
        1,
        ["../secret.json"],
    ],
)
def test_reads_no_example_outside_the_model(tmp_path: Path, path: Any) -> None:
    (tmp_path / "secret.json").write_text('"secret"')
    model = tmp_path / "folder" / "model"
    (model / "sub").mkdir(parents=True)
    (model.parent / "secret.json").write_text('"secret"')
    if isinstance(path, str):
        path = path.replace("{outside}", str(tmp_path))
    info = {"saved_input_example_info": {"serving_input_path": path}}
    assert describe(model, json.dumps(info))[1] is None


@pytest.mark.parametrize("content", ["", "{", "NaN", "[1] 2", b"\xff"])
def test_an_example_that_is_no_json_is_none(tmp_path: Path, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "serving_input_example.json").write_bytes(data)
    assert describe(tmp_path, "{}")[1] is None
