"""A model whose answer depends on a column of each common type, one of them optional."""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class MixedTypes(PythonModel):
    """Writes each row into one line, and counts with all of its values."""

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        return pd.DataFrame([_answer(row) for row in model_input.to_dict("records")])


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    weight = row.get("weight")
    weight = 0.0 if weight is None or pd.isna(weight) else float(weight)
    at = pd.Timestamp(row["at"])
    value = len(row["name"]) + row["count"] * 10 + weight + at.hour
    return {
        "line": f"{row['name']} x{row['count']} on {at.isoformat()}",
        "value": value if row["active"] else -value,
    }


mlflow.models.set_model(MixedTypes())
