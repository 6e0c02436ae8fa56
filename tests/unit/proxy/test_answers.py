"""What a model server answered: valid JSON for callers, and whose fault a failure is."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.errors import (
    InvalidRequest,
    ModelDeploymentError,
    ModelFailed,
    UnsupportedMediaType,
    UpstreamTimeout,
)
from model_deployment.core.names import ModelKey
from model_deployment.proxy.answers import (
    AnswerError,
    UpstreamAnswer,
    answer_error,
    predictions,
    valid_json,
)
from model_deployment.proxy.headers import is_json

KEY = ModelKey("diabetes", 1)
#: Stands for what is nobody's business: inside the model, or in the data of the request.
CANARY = "CANARY-7f3a"

special = st.sampled_from([float("nan"), float("inf"), float("-inf")])
tricky = st.sampled_from(
    [
        "NaN",
        '"NaN"',
        "\\",
        '\\"',
        "-Infinity,",
        ":NaN",
        "[Infinity]",
        "\\u004eaN",
        "\n",
        "é\U0001f600",
    ]
)
texts = st.text(max_size=8) | st.lists(tricky, max_size=4).map("".join)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | special | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=25,
)


def with_null(value: Any) -> Any:
    """The same with None for what JSON has no word for."""
    if isinstance(value, list):
        return [with_null(one) for one in value]
    if isinstance(value, dict):
        return {key: with_null(one) for key, one in value.items()}
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def no_constant(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_valid_json_replaces_nan_and_infinities_only(
    value: Any, plain: bool, indent: int | None
) -> None:
    content = json.dumps(value, ensure_ascii=plain, indent=indent).encode(errors="replace")
    fixed = valid_json(content)
    expected = with_null(json.loads(content))
    assert json.loads(fixed, parse_constant=no_constant) == expected
    assert valid_json(fixed) == fixed
    if expected == json.loads(content):
        assert fixed == content


@pytest.mark.parametrize(
    ("content", "fixed"),
    [
        (b'{"predictions": [NaN, -Infinity, Infinity]}', b'{"predictions": [null, null, null]}'),
        (b'["NaN", "a\\"NaN", NaN]', b'["NaN", "a\\"NaN", null]'),
        (b'["\\\\", NaN, "\\\\\\"NaN"]', b'["\\\\", null, "\\\\\\"NaN"]'),
        (b'{"NaN": "Infinity"}', b'{"NaN": "Infinity"}'),
        (b'["a\nNaN", NaN]', b'["a\nNaN", null]'),
        (b"NaN", b"null"),
        (b"", b""),
    ],
)
def test_valid_json_keeps_strings(content: bytes, fixed: bytes) -> None:
    assert valid_json(content) == fixed


@pytest.mark.parametrize("odd", [b'\\"', b"\\\\", b'"\\"', b"\\", b'"'])
@pytest.mark.parametrize("end", [b"", b"\\", b'"', b"NaN"])
def test_valid_json_takes_linear_time(odd: bytes, end: bytes) -> None:
    content = b'[NaN, "' + odd * 100_000 + end
    begin = time.process_time()
    valid_json(content)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"predictions": [1, "a", null, [2], {"b": 3}]}', [1, "a", None, [2], {"b": 3}]),
        (b'{"predictions": [NaN, 1.5]}', [None, 1.5]),
        (b'{"predictions": []}', []),
        (
            b'{"predictions": {"a": [1, 2], "b": [[3], null]}}',
            [{"a": 1, "b": [3]}, {"a": 2, "b": None}],
        ),
        (b'{"predictions": {"a": [1, 2], "b": [1]}}', None),
        (b'{"predictions": {"a": [1], "b": 2}}', None),
        (b'{"predictions": {"a": 1}}', None),
        (b'{"predictions": {}}', None),
        (b'{"predictions": "ab"}', None),
        (b'{"predictions": null}', None),
        (b'{"predictions": [1], "more": 2}', None),
        (b'{"predictions": [1], "predictions": [2]}', None),
        (b'{"outputs": [1]}', None),
        (b"[1, 2]", None),
        (b"{}", None),
        (b"1", None),
        (b"", None),
        (b'{"predictions": [1]', None),
        (b'{"predictions": [\xff]}', None),
        (b'{"predictions": ' + b"[" * 5000 + b"]" * 5000 + b"}", None),
    ],
)
def test_predictions_are_read_from_a_plain_list_only(
    content: bytes, found: list[Any] | None
) -> None:
    assert predictions(content) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/jsonl", False),
        (b"text/plain", False),
    ],
)
def test_an_answer_says_that_it_is_json(value: bytes, found: bool) -> None:
    assert is_json([(b"x-a", b"application/json"), (b"content-type", value)]) is found


def test_an_answer_without_a_type_is_not_json() -> None:
    assert not is_json([])


@pytest.mark.parametrize(("status", "good"), [(199, False), (200, True), (299, True), (300, False)])
def test_predictions_are_in_answers_of_success(status: int, good: bool) -> None:
    assert UpstreamAnswer(status, [], b"").successful is good


def refused(status: int, body: dict[str, Any] | bytes) -> AnswerError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer_error(KEY, UpstreamAnswer(status, [], content))


def mlflow(code: str, message: str, **more: str) -> dict[str, Any]:
    """The body of an error of MLflow 3.17's model server."""
    return {"error_code": code, "message": message, "sqlstate": "KAM00", **more}


TRACE = f"Traceback (most recent call last):\n  File ...\nValueError: {CANARY}\n"
EVALUATING = (
    "Encountered an unexpected error while evaluating the model. Verify that the serialized input "
    "Dataframe is compatible with the model for inference."
)
SCHEMA = (
    f"Failed to predict data '        b\n0  {CANARY}'. \nError: Failed to enforce schema of data "
    f"'        b\n0  {CANARY}' with schema '['a': long (required)]'. Error: Model is missing inputs "
    "['a']. Note that there were extra inputs: ['b']."
)
INPUT_SCHEMA = (
    f"Failed to predict data '{CANARY}'. \nError: Failed to enforce model input schema: Error: "
    "Incompatible input types for column a."
)
#: The data that is repeated looks like the end of the data.
INJECTED_SCHEMA = SCHEMA.replace(f"'        b\n0  {CANARY}'. \n", f"'{CANARY}'. \nError: x'. \n", 1)
#: An MlflowException that the model itself raised: no stack trace comes with it.
RAISED = f"Failed to predict data '[[1]]'. \nError: cannot reach the table {CANARY}"
CSV = (
    "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted "
    "Pandas DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: 'Error "
    "tokenizing data. C error: Expected 2 fields in line 3, saw 3\n'"
)
PARQUET = (
    "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid Parquet Pandas "
    "DataFrame produced using the `pandas.DataFrame.to_parquet()` method. Error: 'Could not open "
    "Parquet input source '<Buffer>': Parquet file size is 6 bytes'"
)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, mlflow("INVALID_PARAMETER_VALUE", SCHEMA), "Model is missing inputs ['a']. Note "),
        (400, mlflow("INVALID_PARAMETER_VALUE", INPUT_SCHEMA), "Incompatible input types"),
        (400, mlflow("INVALID_PARAMETER_VALUE", INJECTED_SCHEMA), "Model is missing inputs ['a']."),
        (400, mlflow("BAD_REQUEST", "Invalid input. Received a list."), "Received a list."),
        (422, mlflow("BAD_REQUEST", "no"), ": no"),
        (400, mlflow("BAD_REQUEST", "Error: "), "the model server refused the input"),
        (400, mlflow("BAD_REQUEST", CSV, stack_trace=TRACE), "Expected 2 fields in line 3, saw 3"),
        (400, mlflow("BAD_REQUEST", PARQUET, stack_trace=TRACE), "Parquet file size is 6 bytes"),
    ],
)
def test_answer_error_of_a_refused_input_is_the_caller_s(
    status: int, body: dict[str, Any], reason: str
) -> None:
    found = refused(status, body)
    assert type(found.error) is InvalidRequest
    assert reason in found.error.detail
    assert CANARY not in json.dumps(found.error.problem())
    assert found.internals == ""


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, mlflow("BAD_REQUEST", EVALUATING, stack_trace=TRACE)),
        (400, mlflow("BAD_REQUEST", f"{EVALUATING} {CANARY}")),
        (400, mlflow("BAD_REQUEST", "of another release", stack_trace=TRACE)),
        (400, mlflow("INVALID_PARAMETER_VALUE", RAISED)),
        (422, mlflow("INVALID_PARAMETER_VALUE", RAISED)),
        (400, mlflow("BAD_REQUEST", RAISED.replace("cannot", "Error: Failed to enforce schema"))),
        (400, mlflow("BAD_REQUEST", f"Failed to predict data '{CANARY}'. \nError: ")),
        (400, mlflow("BAD_REQUEST", f"Failed to predict data 'Failed to enforce schema{CANARY}")),
        # The caller's data says what MLflow's check would say, and then the model fails.
        (
            400,
            mlflow("BAD_REQUEST", RAISED.replace("[[1]]", "'. \nError: Failed to enforce schema")),
        ),
        (500, mlflow("INTERNAL_ERROR", f"Failed to predict data ''. \nError: {CANARY}")),
        (500, f"Internal Server Error {CANARY}".encode()),
        (404, mlflow("RESOURCE_DOES_NOT_EXIST", CANARY)),
        (403, mlflow("PERMISSION_DENIED", CANARY)),
        (302, CANARY.encode()),
        (400, CANARY.encode()),
        (400, b"[" * 100_000 + CANARY.encode()),
        (400, json.dumps([CANARY]).encode()),
        (400, {"message": "", "detail": CANARY}),
        (400, {"message": None, "detail": CANARY}),
        (503, b"\xff" + CANARY.encode()),
    ],
)
def test_answer_error_of_a_failed_model_goes_to_the_log_only(
    status: int, body: dict[str, Any] | bytes
) -> None:
    found = refused(status, body)
    assert type(found.error) is ModelFailed
    assert found.error.status == 502
    assert CANARY not in json.dumps(found.error.problem())
    assert CANARY in found.internals
    assert len(found.internals) < 20_100


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (504, b"Request processing time exceeded limit", UpstreamTimeout),
        (415, f"This predictor only supports ... Got '{CANARY}'.".encode(), UnsupportedMediaType),
    ],
)
def test_answer_error_of_single_statuses(
    status: int, body: bytes, kind: type[ModelDeploymentError]
) -> None:
    found = refused(status, body)
    assert type(found.error) is kind
    assert CANARY not in found.error.detail
    assert found.internals == ""


@pytest.mark.parametrize("where", [SCHEMA, INPUT_SCHEMA, "Error: "])
def test_answer_error_can_always_be_written(where: str) -> None:
    content = json.dumps({"message": f"{where} \ud800 \udfff."}).encode()
    found = refused(400, content)
    assert type(found.error) is InvalidRequest
    assert found.error.detail.endswith("? ?.")
    assert json.loads(orjson.dumps(found.error.problem()))["detail"] == found.error.detail


def test_answer_error_is_one_short_line() -> None:
    found = refused(400, mlflow("BAD_REQUEST", "Error: " + "a\n\t b" * 1000))
    assert len(found.error.detail) < 400
    assert found.error.detail.isprintable()


@given(
    st.sampled_from([400, 422, 500, 502]),
    values | st.fixed_dictionaries({"message": st.text(st.characters(), max_size=20)}),
)
def test_answer_error_accepts_any_body(status: int, body: Any) -> None:
    problem = refused(status, json.dumps(body).encode()).error.problem()
    assert problem["status"] in (422, 502)
    assert orjson.dumps(problem)
