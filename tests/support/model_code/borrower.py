"""Predicts with another model of the registry."""

import mlflow


class Borrower(mlflow.pyfunc.PythonModel):
    """Loads it once."""

    def load_context(self, context):
        """Load the other one."""
        self._other = mlflow.pyfunc.load_model("models:/ranking/1")

    def predict(self, context, model_input, params=None):
        """What the other one predicts."""
        return self._other.predict(model_input)


mlflow.models.set_model(Borrower())
