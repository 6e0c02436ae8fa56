"""Each model's own example passes by default, and so does the request that is shown for it."""

import itertools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model_deployment.core.options import Validation as Mode
from model_deployment.dashboard.predict_form import form
from model_deployment.gate import Validation, dumps, loads
from model_deployment.proxy.headers import JSON
from model_deployment.proxy.validate import Validated, validate
from model_deployment.registry.mlmodel import MLmodelReader
from tests.support.cases import each
from tests.support.enforcement import enforced
from tests.support.gates import column, kinds, tensor
from tests.support.logged_models import NAN, examples, saved

EXAMPLES = examples()
#: MLflow refuses its own example, or makes something else of it than was logged: text of null, bytes
#: that it does not decode; or a column of nothing is null in place of NaN.
WITHOUT = {"lists of numbers", "records with gaps", "a byte string", "one record with a gap"}


def sent(folder: Path, body: bytes) -> Validated:
    return validate(MLmodelReader().gate(folder, Validation.STRICT), JSON, body)


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[], Path]:
    """Makes folders for models."""
    numbers = itertools.count()

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    return make


@each("name, required", itertools.product(EXAMPLES, [False, True]))
def test_saved_example_passes_the_gate(
    folders: Callable[[], Path], name: str, required: bool
) -> None:
    folder = folders()
    parts = saved(folder, EXAMPLES[name], required=required)
    body = (folder / "serving_input_example.json").read_bytes()
    validated = sent(folder, body)
    assert (validated.result.refused, kinds(validated.result)) == (False, [])
    got, params = enforced(validated.content, parts["inputs"], parts["params"])
    if name in WITHOUT:
        return
    theirs, given = enforced(body, parts["inputs"], parts["params"])
    assert params == given
    if isinstance(theirs, pd.DataFrame) and "booleans" not in name:
        pd.testing.assert_frame_equal(got, theirs)


@pytest.mark.parametrize("name", ["nullable booleans", "booleans with gaps"])
def test_a_gap_among_booleans_is_one_for_the_model(tmp_path: Path, name: str) -> None:
    parts = saved(tmp_path, EXAMPLES[name])
    body = (tmp_path / "serving_input_example.json").read_bytes()
    (given,) = (enforced(sent(tmp_path, body).content, parts["inputs"])[0],)
    assert given["a"].isna().tolist() == EXAMPLES[name]["a"].isna().tolist()
    assert given["c"].isna().tolist() == EXAMPLES[name]["c"].isna().tolist()
    filled = ~given["a"].isna()
    assert given["a"][filled].tolist() == EXAMPLES[name]["a"][filled].tolist()
    # Where MLflow itself is asked, it makes something else of it.
    assert enforced(body, parts["inputs"])[0]["a"].isna().sum() == 0


@each("name, keep", itertools.product(EXAMPLES, [True, False]))
def test_the_request_that_is_shown_passes(
    folders: Callable[[], Path], name: str, keep: bool
) -> None:
    folder = folders()
    parts = saved(folder, EXAMPLES[name], keep=keep)
    _, _, shown = MLmodelReader().read(folder)
    assert shown is not None
    validated = sent(folder, dumps(shown))
    assert (validated.result.refused, kinds(validated.result)) == (False, [])
    enforced(validated.content, parts["inputs"], parts["params"])


def typed(token: Any) -> Any:
    """What the page makes of a field, as predict-body.js does."""
    if token.value == "":
        return None
    return token.value if token.widget == "text" else json.loads(token.value)


@each("name, keep", itertools.product(EXAMPLES, [True, False]))
def test_the_form_of_the_dashboard_passes_as_it_is_filled_in(
    folders: Callable[[], Path], name: str, keep: bool
) -> None:
    folder = folders()
    saved(folder, EXAMPLES[name], keep=keep)
    signature, _, shown = MLmodelReader().read(folder)
    made = form(signature, shown)
    body: Any = loads(made.body.encode())
    if made.columns is not None:
        fields = {
            one.name: typed(one)
            for one in made.columns
            if one.value != "" or (one.required and one.widget != "boolean")
        }
        fields |= {
            one.name: True
            for one in made.columns
            if one.widget == "boolean" and one.required and one.value == ""
        }
        body = {"inputs": [*fields.values()]} if made.unnamed else {"dataframe_records": [fields]}
    validated = sent(folder, dumps(body))
    assert (validated.result.refused, kinds(validated.result)) == (False, [])


def model(folder: Path, inputs: Any, example: Any = None, params: Any = None) -> Path:
    signature = {"inputs": json.dumps(inputs)} | ({"params": json.dumps(params)} if params else {})
    (folder / "MLmodel").write_text(json.dumps({"signature": signature}))
    if example is not None:
        (folder / "serving_input_example.json").write_text(json.dumps(example))
    return folder


ORDER = {
    "type": "object",
    "properties": {"n": {"type": "long"}, "at": {"type": "datetime", "required": False}},
}


@pytest.mark.parametrize(
    "inputs",
    [
        [
            column(kind, kind)
            for kind in ("long", "integer", "double", "float", "string", "boolean")
        ],
        [column("datetime"), column("binary", "b"), column("any", "c")],
        [column("string", required=False)],
        [column("double", required=False), column("boolean", "b", required=False)],
        [{"type": "string"}],
        [{"type": "binary"}],
        [{"type": "datetime"}],
        [{"type": "long"}, {"type": "string"}, {"type": "double"}],
        [{"type": "array", "items": {"type": "string"}}],
        [{"type": "object", "properties": {"a": {"type": "long"}}}],
        [column({"type": "map", "values": {"type": "boolean"}}), column("long", "b")],
        [column(ORDER)],
        [column({"type": "array", "items": {"type": "array", "items": {"type": "double"}}})],
        [{**column("double"), "name": 0}, {**column("string"), "name": 1}],
        [{**column("double"), "name": 1.5}, {**column("string", required=False), "name": "b"}],
        [tensor("str", -1, 2)],
        [tensor("str", -1, name="text"), tensor("bool", -1, 2, name="flags")],
        [tensor("bool", -1)],
        [tensor("bytes", -1)],
        [tensor("object", -1)],
        [tensor("datetime64[ns]", -1, 1)],
        [tensor("uint8", -1, 28, 28)],
        [tensor("float32", -1, 64, 64, 3)],
        [tensor("float16", 2, 3)],
        [tensor("int64", 2, 3, name="x"), tensor("float64", -1, name="y")],
        [tensor("float32")],
    ],
)
def test_a_request_is_made_for_every_signature(tmp_path: Path, inputs: Any) -> None:
    _, _, shown = MLmodelReader().read(model(tmp_path, inputs))
    validated = sent(tmp_path, dumps(shown))
    assert (validated.result.refused, kinds(validated.result)) == (False, [])
    assert len(shlex.quote(dumps(shown).decode())) < 128 * 1024
    if inputs != [tensor("float32")]:
        enforced(validated.content, inputs)


def test_a_row_that_passes_is_shown_of_an_example_that_does_not(tmp_path: Path) -> None:
    rows = {"columns": ["a"], "data": [[None], [7], [8]]}
    folder = model(tmp_path, [column("long", required=False)], {"dataframe_split": rows})
    _, own, shown = MLmodelReader().read(folder)
    assert own == {"dataframe_split": rows}
    assert shown == {"dataframe_split": {"columns": ["a"], "data": [[7]]}}


def test_an_example_that_never_passes_is_not_shown(tmp_path: Path) -> None:
    records = {"dataframe_records": [{"a": "x"}, {"b": 1}]}
    _, own, shown = MLmodelReader().read(model(tmp_path, [column("long")], records))
    assert own == records
    assert shown == {"dataframe_records": [{"a": 1}]}


def test_an_example_too_long_for_a_shell_is_shortened(tmp_path: Path) -> None:
    rows = {"inputs": [[0.5] * 1000 for _ in range(200)]}
    _, own, shown = MLmodelReader().read(model(tmp_path, [tensor("float64", -1, 1000)], rows))
    assert own == rows
    assert shown == {"inputs": [[0.5] * 1000]}


def test_a_column_with_gaps_in_the_example_says_so(tmp_path: Path) -> None:
    rows = {"columns": ["a", "b", "n"], "data": [[1.5, "x", 1], [NAN, None, 2]]}
    inputs = [column("double"), column("string", "b"), column("long", "n")]
    folder = model(tmp_path, inputs, {"dataframe_split": rows})
    signature, _, _ = MLmodelReader().read(folder)
    assert signature is not None
    assert [one.get("nullable") for one in signature["inputs"]] == [True, True, None]
    fields = form(signature, {"dataframe_records": [{}]}).columns
    assert [one.nullable for one in fields or ()] == [True, True, False]
    gate = MLmodelReader().gate(folder, Validation.STRICT)
    assert not gate.check({"a": None, "b": None, "n": 1}).refused
    assert kinds(gate.check({"a": 1.5, "b": "x", "n": None})) == ["null"]
    assert kinds(gate.check({"b": "x", "n": 1})) == ["missing"]
    assert not gate.check_csv("a,b,n\n,NA,1\nNaN,,2\n").refused


@pytest.mark.parametrize("mode", Mode)
def test_without_a_gap_in_the_example_null_is_none_of_a_required_column(
    tmp_path: Path, mode: Mode
) -> None:
    folder = model(tmp_path, [column("double")], {"dataframe_records": [{"a": 1.5}]})
    result = MLmodelReader().gate(folder, mode).check(loads(b'{"a": NaN}'))
    assert (kinds(result), result.refused) == (["null"], mode is not Mode.OBSERVE)


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ([column("double")], b'{"dataframe_split":{"columns":["a"],"data":[[1.5],[NaN]]}}'),
        ([column("string")], b'{"dataframe_records":[{"a":NaN},{"a":"x"}]}'),
        ([tensor("float32", -1, 2)], b'{"inputs":[[1.5,NaN]]}'),
    ],
)
def test_unchanged_body_keeps_its_nan(tmp_path: Path, inputs: Any, body: bytes) -> None:
    (tmp_path / "serving_input_example.json").write_bytes(body)
    model(tmp_path, inputs)
    assert sent(tmp_path, body).content is body


def test_a_gap_inside_a_list_stays_a_nan(tmp_path: Path) -> None:
    inputs = [column({"type": "array", "items": {"type": "double"}})]
    body = b'{"dataframe_records":[{"a":[1,NaN]}]}'
    (tmp_path / "serving_input_example.json").write_bytes(body)
    model(tmp_path, inputs)
    validated = sent(tmp_path, body)
    assert not validated.result.refused
    assert validated.result.table is None
    (values,) = enforced(validated.content, inputs)[0]["a"].tolist()
    assert repr([float(value) for value in values]) == "[1.0, nan]"


def test_a_nan_inside_an_object_is_the_null_that_was_checked(tmp_path: Path) -> None:
    inputs = [
        column({"type": "object", "properties": {"x": {"type": "string", "required": False}}})
    ]
    validated = sent(model(tmp_path, inputs), b'{"dataframe_records":[{"a":{"x":NaN}}]}')
    assert loads(validated.content) == {"dataframe_records": [{"a": {"x": None}}]}
    enforced(validated.content, inputs)
