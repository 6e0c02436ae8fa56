"""What the corpus of flavors takes for equal, and what it sends."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.flavors.compare import Answer, as_mlflow, same
from tests.flavors.flavor import EXACT, SINGLE
from tests.flavors.forms import CSV, PARQUET, Request, requests


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "equal"),
    [
        ([1, 2], [1, 2], EXACT, True),
        ([1, 2], [2, 1], EXACT, False),
        (2**53, 2**53 + 1, SINGLE, False),
        (1.0, 1, EXACT, True),
        (0.1 + 0.2, 0.3, EXACT, True),
        (1.0, 1.000_001, EXACT, False),
        (1.0, 1.000_001, SINGLE, True),
        (1.0, 1.001, SINGLE, False),
        (0.0, 1e-9, SINGLE, True),
        (True, 1, EXACT, False),
        (None, 0.0, EXACT, False),
        ("a", "b", EXACT, False),
        ([[1.0], [2.0]], [[1.0]], EXACT, False),
        ({"a": [1.0]}, {"a": [1.0]}, EXACT, True),
        ({"a": 1}, {"a": 1, "b": 2}, EXACT, False),
        ([1], {"0": 1}, EXACT, False),
    ],
)
def test_values_are_the_same(one: Any, other: Any, tolerance: float, equal: bool) -> None:
    assert same(one, other, tolerance) is equal
    assert same(other, one, tolerance) is equal


def test_an_answer_is_read_with_its_nan_and_without_its_wrapping() -> None:
    assert Answer.read(200, '{"predictions": [NaN, 1]}').predictions == [None, 1]
    assert Answer.read(200, '{"choices": []}').predictions == {"choices": []}
    assert Answer.read(500, "no JSON").body == "no JSON"


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [
        (Answer(200, {"predictions": [1]}), Answer(200, {"predictions": [1]}), True),
        (Answer(200, {"predictions": [1]}), Answer(200, {"predictions": [2]}), False),
        (Answer(422, {}), Answer(400, {}), True),
        (Answer(422, {}), Answer(200, {"predictions": [1]}), False),
        (Answer(200, {"predictions": [1]}), Answer(400, {}), False),
    ],
)
def test_an_answer_is_as_that_of_mlflow(ours: Answer, theirs: Answer, alike: bool) -> None:
    assert as_mlflow(ours, theirs, EXACT) is alike


def test_a_table_is_sent_in_every_form() -> None:
    at = pd.to_datetime(["2026-01-31T12:30:00", "1999-12-31T23:59:59"])
    example = pd.DataFrame({"at": at, "value": [0.1, 2.5], "name": ["ü", "b"]})
    sent = {one.form: one for one in requests(example, {"factor": 2})}
    assert [*sent] == [
        "dataframe_split", "dataframe_records", "instances", "inputs", "params", "CSV", "Parquet",
    ]  # fmt: skip
    first = {"at": "2026-01-31T12:30:00", "value": 0.1, "name": "ü"}
    assert json.loads(sent["dataframe_records"].body)["dataframe_records"][0] == first
    assert json.loads(sent["instances"].body)["instances"][0] == first
    assert json.loads(sent["inputs"].body)["inputs"]["value"] == [0.1, 2.5]
    assert json.loads(sent["params"].body)["params"] == {"factor": 2}
    assert (sent["CSV"].media_type, sent["Parquet"].media_type) == (CSV, PARQUET)
    assert pd.read_parquet(io.BytesIO(sent["Parquet"].body)).equals(example)
    assert Request.from_json(sent["Parquet"].as_json()) == sent["Parquet"]


@pytest.mark.parametrize(
    ("example", "bodies"),
    [
        (np.array([[1.5, 2]]), [{"instances": [[1.5, 2]]}, {"inputs": [[1.5, 2]]}]),
        (
            {"x": np.array([1, 2]), "y": np.array([3, 4])},
            [{"instances": [{"x": 1, "y": 3}, {"x": 2, "y": 4}]}, {"inputs": {"x": [1, 2], "y": [3, 4]}}],
        ),
        ("text", [{"inputs": "text"}, {"instances": ["text"]}]),
        ({"messages": []}, [{"inputs": {"messages": []}}]),
    ],
)  # fmt: skip
def test_other_examples_have_forms_of_their_own(example: Any, bodies: list[Any]) -> None:
    assert [json.loads(one.body) for one in requests(example, {})] == bodies
