"""A model whose prediction for a row depends on the other rows of the request."""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class Ranking(PythonModel):
    """Answers the place of each row, the smallest first."""

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[float]:
        return [float(place) for place in model_input["value"].rank()]


mlflow.models.set_model(Ranking())
