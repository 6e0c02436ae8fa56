"""Has what only one process of a launch can have."""

import os
import socket
from typing import Any

import mlflow


class Loner(mlflow.pyfunc.PythonModel):
    """Holds an address."""

    def load_context(self, context: Any) -> None:
        """Bind it."""
        self._address = socket.socket(socket.AF_UNIX)
        self._address.bind(f"\0loner-{os.getsid(0)}")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Renames the columns it was given in place, and doubles the values."""
        model_input.columns.array[0] = "spoilt"
        return (2 * model_input.iloc[:, 0]).tolist()


mlflow.models.set_model(Loner())
