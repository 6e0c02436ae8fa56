"""A model whose type hints are its signature: an object with a list in it."""

import pydantic
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Order(pydantic.BaseModel):
    customer: str
    amounts: list[float]
    note: str | None = None


class Total(PythonModel):
    def predict(self, model_input: list[Order]) -> list[float]:
        return [sum(order.amounts) for order in model_input]


set_model(Total())
