"""A model of rules for texts: its answers depend on the parameters of the request."""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class TextRules(PythonModel):
    """Scores a text by the mean length of its words, NaN for one without words."""

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        chosen = {"multiplier": 1.0, "threshold": 5, **(params or {})}
        lengths = [[len(word) for word in text.split()] for text in model_input["text"]]
        means = [sum(row) / len(row) if row else float("nan") for row in lengths]
        scores = [chosen["multiplier"] * mean for mean in means]
        return pd.DataFrame(
            {
                "score": scores,
                "long_words": [
                    sum(length >= chosen["threshold"] for length in row) for row in lengths
                ],
                "flagged": [score >= chosen["threshold"] for score in scores],
            }
        )


mlflow.models.set_model(TextRules())
