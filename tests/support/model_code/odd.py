"""Answers in every way a model may, by the number it is given."""

import datetime
import time
import uuid
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


def _raise(error: Exception) -> Any:
    raise error


def _sleep(x: Any) -> Any:
    time.sleep(30)
    return x


ANSWERS = (
    lambda x: x,
    lambda x: x.to_numpy(),
    lambda x: x["x"],
    lambda x: np.array([1.5, np.nan, np.inf, -np.inf]),
    lambda x: np.array([0.1, 1e300, 5e-324, -0.0, 1e16, 123456789.123456789], dtype=np.float64),
    lambda x: np.array([0.1, 3.4e38], dtype=np.float32),
    lambda x: np.array([2**62, -(2**63)], dtype=np.int64),
    lambda x: np.array([2**64 - 1], dtype=np.uint64),
    lambda x: np.array([True, False]),
    lambda x: np.array(["a", "Grüße 🙂", "\ud800"]),
    lambda x: np.array([None, 1, "x", np.float64(1.5)], dtype=object),
    lambda x: np.array(1.5),
    lambda x: np.array([[[1, 2], [3, 4]]]),
    lambda x: np.array(["2026-01-31T12:00:00"], dtype="datetime64[ns]"),
    lambda x: pd.DataFrame({"a": [1.5, 2.5], "b": ["x", None], 3: [1, 2]}),
    lambda x: pd.DataFrame({"a": [1.5, 2.5], "b": [1.0, np.nan]}),
    lambda x: pd.DataFrame({"a": [1.5, 2.5], "b": [1.0, 0.25]}),
    lambda x: pd.DataFrame({"at": pd.to_datetime(["2026-01-31", None])}),
    lambda x: pd.Series([1.5, 2.5], name="named"),
    lambda x: [1.5, 2.5],
    lambda x: [1.5, float("nan")],
    lambda x: [1, "a", None, True, 2**70, -(2**70)],
    lambda x: {"a": [1, 2], "b": {"c": None}},
    lambda x: {"a": np.array([1.5]), "b": np.float32(0.1)},
    lambda x: "text",
    lambda x: None,
    lambda x: 1.5,
    lambda x: b"bytes",
    lambda x: [datetime.date(2026, 1, 31), datetime.datetime(2026, 1, 31, 12)],
    lambda x: {uuid.UUID(int=1): 1},
    lambda x: uuid.UUID(int=1),
    lambda x: {1: 2, False: 3, None: 4},
    lambda x: (1.5, 2.5),
    lambda x: {1, 2},
    lambda x: (value for value in [1, 2]),
    lambda x: object(),
    lambda x: [[1.5, 2], [3]],
    lambda x: 1 + 2j,
    lambda x: _raise(ValueError("the model's own failure")),
    lambda x: _raise(MlflowException("the model's own refusal")),
    lambda x: _raise(MlflowException("not here", error_code=5000)),
    lambda x: _raise(KeyError("x")),
    lambda x: _raise(RecursionError("deep")),
)
SLOW = len(ANSWERS)


class Odd(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame) -> Any:
        return (*ANSWERS, _sleep)[int(model_input["x"].iloc[0])](model_input)


set_model(Odd())
