"""A model that does to each row what the row says."""

import time
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class Moody(PythonModel):
    """Answers twice the marker; NaN, an exception or a long wait where the mood is such."""

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[float]:
        moods = set(model_input["mood"])
        if "fail" in moods:
            raise KeyError("a secret of the model")
        time.sleep(0.05 if "slow" in moods else 0)
        doubled = zip(model_input["mood"], model_input["marker"], strict=True)
        return [float("nan") if mood == "nan" else 2.0 * marker for mood, marker in doubled]


mlflow.models.set_model(Moody())
