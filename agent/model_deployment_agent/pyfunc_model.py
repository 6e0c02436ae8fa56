"""A release as an MLflow model, where MLflow is installed on the device. Runs in the process of the
model only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_deployment_agent.errors import BadInput
from model_deployment_agent.json_values import plain


class PyfuncModel:
    """``mlflow.pyfunc`` with its schema."""

    def __init__(self, path: Path) -> None:
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException

        self._model = mlflow.pyfunc.load_model(str(path))
        self._bad: tuple[type[Exception], ...] = (MlflowException,)

    def predict(self, columns: Sequence[str] | None, rows: list[Any]) -> list[Any]:
        """One prediction for each row, JSON-ready.

        Raises:
            BadInput: the schema of the model forbids the rows.
        """
        import numpy
        import pandas

        given = (
            numpy.array(rows) if columns is None else pandas.DataFrame(rows, columns=list(columns))
        )
        try:
            found = self._model.predict(given)
        except self._bad as error:
            raise BadInput(f"cannot predict: {error}"[:500]) from error
        if hasattr(found, "to_dict") and hasattr(found, "columns"):
            found = found.to_dict(orient="records")
        predictions = plain(found.tolist() if hasattr(found, "tolist") else found)
        return predictions if isinstance(predictions, list) else [predictions]
