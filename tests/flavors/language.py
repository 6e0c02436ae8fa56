"""Python's own models, and those that speak: agents, chains, programs of prompts."""

from functools import partial
from pathlib import Path
from typing import Any

from tests.flavors.flavor import Flavor, Made

CODE = Path(__file__).with_name("code")
CHAT = {"messages": [{"role": "user", "content": "a good day"}]}


def function() -> Made:
    import mlflow.pyfunc

    def shout(model_input: list[str]) -> list[str]:
        return [text.upper() for text in model_input]

    log = partial(mlflow.pyfunc.log_model, python_model=shout)
    return Made(log, ["a good day", "very bad"])


def with_params() -> Made:
    import mlflow.pyfunc
    import pandas as pd

    class Scaled(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            factor = (params or {}).get("factor", 1.0)
            return pd.DataFrame(
                {"name": model_input["name"], "value": model_input["value"] * factor}
            )

    example = pd.DataFrame({"name": ["Zoë", "世界"], "value": [1.5, -2.0]})
    log = partial(mlflow.pyfunc.log_model, python_model=Scaled())
    return Made(log, example, {"factor": 2.5})


def times() -> Made:
    import mlflow.pyfunc
    import pandas as pd

    class Hours(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return (model_input["at"].dt.hour + model_input["open"].astype(int)).tolist()

    moments = pd.to_datetime(["2026-01-31T12:30:00", "1999-12-31T23:59:59"])
    example = pd.DataFrame({"at": moments, "open": [True, False]})
    return Made(partial(mlflow.pyfunc.log_model, python_model=Hours()), example)


def nested() -> Made:
    import mlflow.pyfunc

    class Counts(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [len(items) for items in model_input["items"]]

    example = {"items": [{"name": "a", "price": 1.5}, {"name": "b", "price": 2.0}]}
    return Made(partial(mlflow.pyfunc.log_model, python_model=Counts()), example)


def _code(script: str, example: Any) -> Made:
    import mlflow.pyfunc

    log = partial(mlflow.pyfunc.log_model, python_model=str(CODE / f"{script}.py"))
    return Made(log, example)


def typed() -> Made:
    return _code("typed", [{"customer": "Zoë", "amounts": [1.5, 2.0], "note": None}])


def chat_model() -> Made:
    return _code("chat_model", CHAT)


def chat_agent() -> Made:
    return _code("chat_agent", CHAT)


def responses_agent() -> Made:
    return _code("responses", {"input": CHAT["messages"]})


def langchain() -> Made:
    import mlflow.langchain

    return Made(
        partial(mlflow.langchain.log_model, lc_model=str(CODE / "chain.py")), {"thing": "a day"}
    )


def llama_index() -> Made:
    import mlflow.llama_index

    log = partial(mlflow.llama_index.log_model, str(CODE / "index.py"), engine_type="query")
    return Made(log, "What has a day?")


def dspy() -> Made:
    import dspy as library
    import mlflow.dspy
    from dspy.utils import DummyLM

    class Answer(library.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = library.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            # A language model whose answers are those of a list.
            with library.context(lm=DummyLM([{"answer": "a morning"}])):
                return self.ask(question=question)

    return Made(partial(mlflow.dspy.log_model, Answer()), "What has a day?")


FLAVORS = (
    # Its type hints are a signature.
    Flavor("function", "pyfunc", "mlflow", function, bare=False),
    Flavor("params", "pyfunc", "mlflow", with_params),
    Flavor("times", "pyfunc", "mlflow", times),
    Flavor("nested", "pyfunc", "mlflow", nested),
    Flavor("typed", "pyfunc", "mlflow", typed, bare=False),
    Flavor("chat-model", "pyfunc", "mlflow", chat_model, bare=False),
    Flavor("chat-agent", "pyfunc", "mlflow", chat_agent, bare=False),
    Flavor("responses-agent", "pyfunc", "mlflow", responses_agent, bare=False),
    Flavor("langchain", "langchain", "langchain", langchain, ("langchain-core",)),
    Flavor("llama-index", "llama_index", "llama-index-core", llama_index),
    # MLflow gives it a signature, if it has none.
    Flavor("dspy", "dspy", "dspy", dspy, bare=False),
)
