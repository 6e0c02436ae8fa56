"""Which models can stream."""

from collections.abc import Iterator
from typing import Any

import pytest

from model_deployment.worker.streaming import Streaming
from tests.support.streaming_models import pyfunc


@pytest.mark.filterwarnings("ignore")  # importing MLflow warns
def test_a_class_of_mlflow_that_only_says_that_it_cannot_stream_does_not() -> None:
    from mlflow.pyfunc.model import PythonModel, _PythonModelPyfuncWrapper

    class Whole(PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return ["whole"]

    class Streamed(Whole):
        def predict_stream(
            self, context: Any, model_input: Any, params: Any = None
        ) -> Iterator[str]:
            yield "a"

    for kind, streams in ((Whole, False), (Streamed, True)):
        model = pyfunc(_PythonModelPyfuncWrapper(kind(), None, None))
        assert Streaming(model).available is streams
