"""A model that writes a file where it runs when it predicts."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class Writing(PythonModel):
    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[float]:
        Path("large").write_bytes(bytes(1 << 20))
        return [1.0]


mlflow.models.set_model(Writing())
