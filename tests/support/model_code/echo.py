"""Says what it was given, to the last bit: the type of each column, and each value as Python writes it."""

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Echo(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        said = {"type": type(model_input).__name__, "params": repr(params)}
        if isinstance(model_input, pd.DataFrame):
            said["index"] = repr([*model_input.index])
            for name, column in model_input.items():
                said[f"column {name!r}"] = f"{column.dtype} {[*map(repr, column)]}"
            said["memory"] = repr(model_input.to_numpy().flags.f_contiguous)
        elif isinstance(model_input, dict):
            said |= {name: _array(value) for name, value in model_input.items()}
        else:
            said["value"] = _array(model_input)
        return [said]


def _array(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {value.tolist()!r}"
    return repr(value)


set_model(Echo())
