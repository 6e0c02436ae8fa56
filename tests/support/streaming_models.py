"""Models that stream, served as a fork serves them, in the event loop of a test."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from model_deployment.http.connection import Connection
from tests.support.raw_http import HOST
from tests.support.waiting import until

#: Makes what a model yields of its input.
Generate = Callable[[Any], Iterator[Any]]


class Streams:
    """A model whose stream is that of a function, and which knows how its streams ended."""

    def __init__(self, generate: Generate) -> None:
        self._generate = generate
        #: Streams whose ``finally`` has run.
        self.ended = 0
        #: Values that were yielded.
        self.yielded = 0

    def predict(self, model_input: Any, params: Any = None) -> Any:
        return ["whole"]

    def predict_stream(self, model_input: Any, params: Any = None) -> Iterator[Any]:
        try:
            for value in self._generate(model_input):
                self.yielded += 1
                yield value
        finally:
            self.ended += 1


class Gate:
    """Lets a generator go on, one value at a time."""

    def __init__(self) -> None:
        self._steps = threading.Semaphore(0)
        self._free = False

    def wait(self) -> None:
        if not self._free:
            self._steps.acquire(timeout=60)

    def step(self) -> None:
        self._steps.release()

    def open(self) -> None:
        self._free = True
        self._steps.release()


@dataclass
class ModelServer:
    """Where a model is served."""

    port: int


def pyfunc(impl: Any, **types: str) -> Any:
    """The model as MLflow loads it; with a signature of these columns, if there are any."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import PyFuncModel
    from mlflow.types import ColSpec, Schema

    columns = [ColSpec(kind, name) for name, kind in types.items()]
    meta = Model(
        signature=ModelSignature(Schema(columns)) if columns else None,
        flavors={"python_function": {"loader_module": "x"}},
    )
    return PyFuncModel(meta, impl, predict_stream_fn="predict_stream")


@asynccontextmanager
async def served(model: Any, timeout: float = 30) -> AsyncIterator[ModelServer]:
    """A server of a model that MLflow has loaded.

    Args:
        timeout: seconds that each value may take.
    """
    from model_deployment.worker.scoring import Application

    server = uvicorn.Server(
        uvicorn.Config(
            Application(model, timeout), host=HOST, port=0, http=Connection, ws="none",
            lifespan="off", log_config=None, access_log=False,
        )
    )  # fmt: skip
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    try:
        yield ModelServer(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving
