"""A model that divides by zero when it predicts."""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class Failing(PythonModel):
    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[float]:
        return [1 / 0]


mlflow.models.set_model(Failing())
