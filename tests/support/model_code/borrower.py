"""Predicts with another model of the registry."""

from typing import Any

import mlflow


class Borrower(mlflow.pyfunc.PythonModel):
    """Loads it once."""

    def load_context(self, context: Any) -> None:
        """Load the other one."""
        self._other = mlflow.pyfunc.load_model("models:/ranking/1")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """What the other one predicts."""
        return self._other.predict(model_input)


mlflow.models.set_model(Borrower())
