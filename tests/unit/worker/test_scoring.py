"""The server of a fork: whole requests, whatever their callers offer, and what its answers say besides."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import uvicorn
from pyarrow import parquet as pq

from model_deployment.core.errors import InvalidRequest, ModelFailed
from model_deployment.core.names import ModelKey
from model_deployment.http.connection import Connection
from model_deployment.proxy.answers import UpstreamAnswer, answer_error
from model_deployment.worker.failure_header import FAULT
from model_deployment.worker.scoring import Application
from tests.support.raw_http import HOST, Wire, head
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

BODY = b'{"dataframe_records": [{"x": 1.5}]}'
JSON = ("content-type", "application/json")
OFFER = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMA")]


class Impl:
    """Answers what it was made with, and knows how often it was asked."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.asked = 0

    def predict(self, frame: Any) -> Any:
        self.asked += 1
        return frame["x"].to_numpy() if self.answer is None else self.answer


def application(impl: Any, **types: str) -> Application:
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import PyFuncModel
    from mlflow.types import ColSpec, Schema

    meta = Model(
        signature=ModelSignature(
            Schema([ColSpec(kind, name) for name, kind in (types or {"x": "double"}).items()])
        ),
        flavors={"python_function": {"loader_module": "x"}},
    )
    return Application(PyFuncModel(meta, impl), 30)


@asynccontextmanager
async def served(impl: Impl) -> AsyncIterator[Callable[[], Awaitable[Wire]]]:
    """Connects to a server of the model."""
    server = uvicorn.Server(
        uvicorn.Config(
            application(impl), host=HOST, port=0, http=Connection, ws="none", lifespan="off",
            log_config=None, access_log=False,
        )
    )  # fmt: skip
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    wires: list[Wire] = []

    async def connect() -> Wire:
        port = server.servers[0].sockets[0].getsockname()[1]
        wires.append(await Wire.connect(port))
        return wires[-1]

    try:
        yield connect
    finally:
        for wire in wires:
            await wire.close()
        server.should_exit = True
        await serving


def invocation(*headers: tuple[str, str]) -> bytes:
    return head("POST /invocations HTTP/1.1", [("host", "model"), JSON, *headers])


async def test_caller_that_offers_http_2_gets_its_prediction() -> None:
    impl = Impl()
    async with served(impl) as connect:
        wire = await connect()
        large = BODY[:-1] + b" " * 400_000 + b"}"
        for body in (BODY, large):
            length = ("content-length", str(len(body)))
            assert (
                await wire.ask(invocation(*OFFER, length), body)
            ).body == b'{"predictions":[1.5]}'
            chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            coding = ("transfer-encoding", "chunked")
            assert (await wire.ask(invocation(*OFFER, coding), chunked)).status == 200
    assert impl.asked == 4


async def test_model_is_not_asked_for_a_part_of_a_request() -> None:
    impl = Impl()
    async with served(impl) as connect:
        gone = await connect()
        await gone.send(invocation(("content-length", str(len(BODY) + 1))), BODY)
        await gone.close()
        other = await connect()
        length = ("content-length", str(len(BODY)))
        assert (await other.ask(invocation(length), BODY)).status == 200
    assert impl.asked == 1


@pytest.mark.parametrize("answer", [[Decimal("1.5")], {"a": {1, 2}}])
async def test_answer_that_cannot_be_written_is_mlflow_s_with_the_reason_in_a_header(
    answer: Any,
) -> None:
    async with served(Impl(answer)) as connect:
        wire = await connect()
        told = await wire.ask(invocation(("content-length", str(len(BODY)))), BODY)
    assert (told.status, told.body) == (500, b"Internal Server Error")
    kind = "Decimal" if isinstance(answer, list) else "set"
    assert told.get(FAULT.decode()) == f"answer: it contains a value of type {kind}"


async def test_header_is_absent_where_mlflow_names_the_cause() -> None:
    async with served(Impl()) as connect:
        wire = await connect()
        told = await wire.ask(invocation(("content-length", "2")), b"{}")
    assert told.status == 400
    assert told.get(FAULT.decode()) is None


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


class Broken:
    """A model that takes nothing at all."""

    def predict(self, frame: Any) -> Any:
        raise ValueError("cannot convert this")


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"x": [1.5, None]}, "column 'x' row 1: expected double, got a missing value"),
        ({"x": [1.5, float("nan")]}, "column 'x' row 1: expected double, got a missing value"),
        ({"x": [1.5, float("-inf")]}, "column 'x' row 1: expected double, got an infinity"),
        ({"x": pa.array([], pa.float64())}, "it has no rows"),
        ({"s": [["a"], ["b"]]}, "column 's' row 0: expected string, got a value of type ndarray"),
        ({"s": ["a", None]}, "column 's' row 1: expected string, got a missing value"),
        ({"s": [b"a", b"b"]}, "column 's' row 0: expected string, got a value of type bytes"),
        ({"b": [True, None]}, "column 'b' row 1: expected boolean, got a missing value"),
        ({"b": [{"y": 1}, {"y": 2}]}, "column 'b' row 0: expected boolean, got a value of type dict"),
        ({"y": ["text", "text"]}, "column 'y' row 0: expected binary, got a value of type str"),
        ({"gap": [1.5, None]}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_parquet_body_that_explains_a_failure_is_the_callers_fault(
    columns: dict[str, Any], why: str
) -> None:
    import pandas as pd

    fine: dict[str, Any] = {
        "x": [1.5, 2.5], "s": ["a", ""], "b": [True, False], "y": [b"a", b""], "gap": [0.5, 1.5]
    }  # fmt: skip
    if why == "it has no rows":
        fine = {name: pa.array(values).slice(2) for name, values in fine.items()}
    types = {"x": "double", "s": "string", "b": "boolean", "y": "binary", "gap": "double"}
    app = application(Broken(), **types)
    app._model.input_example = pd.DataFrame({"gap": [None, 2.5], "x": [1.5, 2.5]})
    body = parquet(**fine | columns)
    found = app._predict(body, "application/vnd.apache.parquet")
    assert (found.status, found.fault.decode()) == (400, f"input: {why}" if why else "")
    told = answer_error(
        ModelKey("m", 1), UpstreamAnswer(400, [(FAULT, found.fault)], found.content)
    )
    assert "cannot convert this" in told.traceback
    if why:
        assert isinstance(told.error, InvalidRequest)
        assert str(told.error).endswith(f"the body does not fit its signature: {why}")
    else:
        assert isinstance(told.error, ModelFailed)


def test_body_that_is_no_parquet_is_answered_as_by_mlflow() -> None:
    found = application(Broken())._predict(b"PAR1", "application/vnd.apache.parquet")
    assert (found.status, found.fault) == (400, b"")
    told = answer_error(ModelKey("m", 1), UpstreamAnswer(400, [], found.content))
    assert isinstance(told.error, InvalidRequest)


def test_request_of_no_rows_that_a_model_cannot_take_is_the_callers_fault() -> None:
    found = application(Broken())._predict(
        b'{"dataframe_split": {"columns": ["x"], "data": []}}', "application/json"
    )
    answer = UpstreamAnswer(found.status, [], found.content)
    assert isinstance(answer_error(ModelKey("m", 1), answer, rows=0).error, InvalidRequest)
    assert isinstance(answer_error(ModelKey("m", 1), answer, rows=1).error, ModelFailed)
