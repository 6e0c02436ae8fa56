"""What callers may ask a model of a time series, and what they are told otherwise."""

import json
from typing import Any

import pytest

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import InvalidRequest, OddAnswer
from model_deployment.core.series import Series, series_of
from model_deployment.proxy.series_request import SeriesDialect, series_request

ENDPOINT = EndpointName("sales", "champion")
SERIES = Series(3, 2, ("a", "b", "c"), takes_steps=True)


def asked(body: Any, series: Series = SERIES) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(series_request(body, series, ENDPOINT).body(series))
    return made


def test_a_request_takes_the_form_of_the_models_signature() -> None:
    assert asked({"input_data": [1, 2.5, 3], "prediction_step": 1}) == {
        "dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2.5, 3]]},
        "params": {"prediction_step": 1},
    }
    assert asked({"input_data": [1, 2, 3]})["params"] == {"prediction_step": 2}
    assert asked({"input_data": [1, 2, 3]}, Series(3, 2)) == {"inputs": [[1, 2, 3]]}


@pytest.mark.parametrize(
    ("body", "where", "expected"),
    [
        ([1, 2, 3], (None, None), 'an object with "input_data"'),
        ({}, ("input_data", None), "an array of 3 numbers, the oldest first"),
        ({"input_data": [1, 2]}, ("input_data", None), "an array of 3 numbers, the oldest first"),
        ({"input_data": "123"}, ("input_data", None), "an array of 3 numbers, the oldest first"),
        ({"input_data": [1, None, 3]}, ("input_data", 1), "a finite number"),
        ({"input_data": [1, 2, True]}, ("input_data", 2), "a finite number"),
        ({"input_data": [10**400, 2, 3]}, ("input_data", 0), "a finite number"),
        ({"input_data": [[1], 2, 3]}, ("input_data", 0), "a finite number"),
        *(
            ({"input_data": [1, 2, 3], "prediction_step": steps},
             ("prediction_step", None), "a whole number from 1 to 2")
            for steps in (0, 3, -1, 1.0, True, "1", None, [1])
        ),
        ({"input_data": [1, 2, 3], "steps": 1}, ("steps", None), "no such member"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_allowed(
    body: Any, where: tuple[str | None, int | None], expected: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        series_request(body, SERIES, ENDPOINT)
    (error,) = caught.value.extra["errors"]
    assert (error["column"], error["row"], error["expected"]) == (*where, expected)
    assert expected in caught.value.detail


def test_all_violations_are_told_at_once() -> None:
    with pytest.raises(InvalidRequest, match="the first of 4 violations") as caught:
        series_request(
            {"input_data": [None, 1, "x"], "prediction_step": 9, "y": 1}, SERIES, ENDPOINT
        )
    assert caught.value.extra["error_count"] == 4


@pytest.mark.parametrize(
    "predictions",
    [
        [[7.0, 8]],  # an array of rows
        [7.0, 8],  # one row, flat
        [{"step_1": 7.0, "step_2": 8}],  # records
        [{"forecast": [7.0, 8]}],  # a column of arrays
        {"forecast": [[7.0, 8]]},  # a named output
        [[[7.0], [8]]],  # each step an array
        [[7.0, 8, 9]],  # more than asked
    ],
)
def test_answers_of_any_form_are_one_list(predictions: Any) -> None:
    dialect = SeriesDialect(ENDPOINT, 3, 2)
    answer = json.loads(dialect.answer(json.dumps({"predictions": predictions}).encode()))
    assert answer == {
        "model_name": "sales",
        "prediction": [7, 8],
        "message": "predicted 2 values from the last 3 with sales@champion",
    }


@pytest.mark.parametrize("predictions", [[[7.0]], [7.0], [{"step_1": 7.0}], {"forecast": [7.0]}])
def test_one_step_is_a_list_too(predictions: Any) -> None:
    answer = SeriesDialect(ENDPOINT, 3, 1).answer(json.dumps({"predictions": predictions}).encode())
    assert json.loads(answer)["prediction"] == [7]


@pytest.mark.parametrize(
    "predictions", [None, [], [[7.0]], [[None, 7.0]], [["a", "b"]], [[1.0, 2.0], [1.0, 2.0]], 5]
)
def test_an_answer_without_the_values_is_the_models_fault(predictions: Any) -> None:
    with pytest.raises(OddAnswer):
        SeriesDialect(ENDPOINT, 3, 2).answer(json.dumps({"predictions": predictions}).encode())


def test_a_model_says_what_it_takes() -> None:
    inputs = [{"name": name, "type": "double"} for name in "abc"]
    params = [{"name": "prediction_step", "type": "long", "default": 2}]
    said = {"metadata": {"timeseries": {"window": 3, "horizon": 2}}}
    assert series_of(said, inputs, params) == SERIES
    assert series_of(said, [{"type": "tensor"}]) == Series(3, 2)
    odd: Any
    for odd in (
        None, [], {}, {"metadata": None}, {"metadata": {"timeseries": True}},
        {"metadata": {"timeseries": {"window": 3}}},
        {"metadata": {"timeseries": {"window": 0, "horizon": 1}}},
        {"metadata": {"timeseries": {"window": True, "horizon": 1}}},
        {"metadata": {"timeseries": {"window": 3, "horizon": 10**9}}},
    ):  # fmt: skip
        assert series_of(odd) is None
