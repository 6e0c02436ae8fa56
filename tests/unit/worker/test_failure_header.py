"""Answers of models that cannot be written as JSON: what is in the way is named, and nothing else is."""

import datetime
import decimal
import enum
import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from model_deployment.core.errors import ModelFailed, OddAnswer
from model_deployment.core.names import ModelKey
from model_deployment.proxy.answers import UpstreamAnswer, answer_error, predictions
from model_deployment.worker.failure_header import FAULT, unwritable
from model_deployment.worker.fast_path import encode_answer
from tests.support.cases import each

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

KEY = ModelKey("odd", 1)


class Colour(enum.Enum):
    RED = 1


class Own:
    pass


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep() -> Any:
    found: Any = 1
    for _ in range(100_000):
        found = [found]
    return found


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "decimal": (lambda: [decimal.Decimal("1.5")], "a value of type Decimal"),
    "decimals in an array": (
        lambda: np.array([decimal.Decimal(1)], dtype=object), "a value of type Decimal"
    ),
    "sparse": (lambda: sparse.csr_matrix(np.eye(2)), "a value of type csr_matrix"),
    "enum": (lambda: [Colour.RED], "a value of type Colour"),
    "set": (lambda: {1, 2}, "a value of type set"),
    "generator": (lambda: (i for i in "ab"), "a value of type generator"),
    "own class": (lambda: [{"a": Own()}], "a value of type Own"),
    "complex": (lambda: np.array([1 + 2j]), "a value of type complex"),
    "longdouble": (lambda: np.array([1.5], dtype=np.longdouble), "nested too deeply, or has a NumPy type"),
    "timedelta": (lambda: [datetime.timedelta(1)], "a value of type timedelta"),
    "uuid": (lambda: [uuid.UUID(int=1)], "a value of type UUID"),
    "NA": (lambda: [pd.NA], "a value of type NAType"),
    "index": (lambda: pd.Index([1]), "a value of type Index"),
    "tuple as key": (lambda: [{(1, 2): 3}], "a dict with a key of type tuple"),
    "columns of two levels": (
        lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
        "a dict with a key of type tuple",
    ),
    "itself": (itself, "it contains itself"),
    "deep": (deep, "it is nested too deeply"),
}  # fmt: skip


def by_mlflow(found: Any) -> None:
    from mlflow.pyfunc.scoring_server import predictions_to_json

    predictions_to_json(found, io.StringIO())


def unwrapped(found: Any) -> None:
    from mlflow.pyfunc.scoring_server import unwrapped_predictions_to_json

    unwrapped_predictions_to_json(found, io.StringIO())


@pytest.mark.parametrize("write", [by_mlflow, unwrapped, encode_answer])
@each("name", ODD)
def test_cause_of_an_unwritable_answer_is_named(name: str, write: Callable[[Any], Any]) -> None:
    make, says = ODD[name]
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        write(make())
    fault = unwritable(raised.value)
    refused = answer_error(KEY, UpstreamAnswer(500, [(FAULT, fault)], b"Internal Server Error"))
    assert type(refused.error) is OddAnswer
    assert refused.error.status == 502
    assert says in refused.error.detail
    assert says in refused.internals


def test_answers_that_mlflow_writes_are_written() -> None:
    from mlflow.pyfunc.scoring_server import predictions_to_json

    for found in ([{"\ud800": 1.5}], ["\udfff"], [b"\xff"], [float("nan")], [{1: 2}], [2**100]):
        output = io.StringIO()
        predictions_to_json(found, output)
        assert str(json.loads(encode_answer(found))) == str(json.loads(output.getvalue()))


def test_answer_with_half_a_character_is_split() -> None:
    assert predictions(encode_answer(["a\ud800", "b"])) == ["a\ud800", "b"]
    assert predictions(b'{"predictions": ["\\ud800", 1, ]}') is None


@pytest.mark.parametrize(
    "error", [TypeError("Object of type Decimal is not JSON serializable"), KeyError("a")]
)
def test_exception_elsewhere_is_not_an_unwritable_answer(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        raise error
    assert unwritable(raised.value) == b""


def test_where_the_server_says_no_more_neither_do_we() -> None:
    found = answer_error(KEY, UpstreamAnswer(500, [], b"Internal Server Error")).error
    assert type(found) is OddAnswer
    assert "which happens if" in found.detail
    assert (
        type(answer_error(KEY, UpstreamAnswer(500, [], b"Internal Server Error!")).error)
        is ModelFailed
    )
    assert (
        type(answer_error(KEY, UpstreamAnswer(503, [], b"Internal Server Error")).error)
        is ModelFailed
    )
