"""A model that takes two gigabytes when it predicts."""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class Greedy(PythonModel):
    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[float]:
        return [float(len(bytearray(2 << 30)))]


mlflow.models.set_model(Greedy())
