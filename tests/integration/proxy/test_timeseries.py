"""``POST /predict_timeseries`` in front of the file that serves what the flows train."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Validation
from model_deployment.core.routes import Route
from model_deployment.recording.capture import decode
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool, read, segments
from model_deployment.registry.mlmodel import MLmodelReader
from tests.support.counting import LocalCounts
from tests.support.proxy_front import Front
from tests.support.raw_http import Message, post, post_json
from tests.support.routes import ready_route
from tests.support.streaming_models import served

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # importing MLflow warns
    pytest.mark.asyncio(loop_scope="module"),
]

SERVED = Path(__file__).parents[3] / "flows/model_deployment_flows/series/served_model.py"
PATH = "/predict_timeseries"
ENDPOINT = EndpointName("sales", "champion")
WINDOW, HORIZON = 8, 4
VALUES = [float(place) for place in range(WINDOW)]


def save(folder: Path) -> None:
    """A model that repeats the last two values."""
    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from mlflow.types import Schema, TensorSpec

    forecaster = folder.with_name("forecaster")
    forecaster.mkdir()
    described = {"model_type": "seasonal_naive", "window": WINDOW, "horizon": HORIZON, "season": 2}
    (forecaster / "forecaster.json").write_text(json.dumps(described))
    example = pd.DataFrame([VALUES], columns=[f"value_{n + 1}" for n in range(WINDOW)])
    signature = infer_signature(example, params={"prediction_step": HORIZON})
    signature.outputs = Schema([TensorSpec(np.dtype("float64"), (-1, -1))])
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(SERVED),
        artifacts={"forecaster": str(forecaster)},
        signature=signature,
        input_example=example,
        metadata={"timeseries": {"window": WINDOW, "horizon": HORIZON}},
        pip_requirements=[],
    )


class Series:
    def __init__(self, front: Front, spool: Path) -> None:
        self.front = front
        self._spool = spool
        self._routes: list[Route] = []

    def publish(self, *routes: Route, endpoint: EndpointName | None = ENDPOINT) -> None:
        self._routes = [*routes] or self._routes
        champion = ModelKey("sales", 1)
        self.front.routes.publish(self._routes, [EndpointRoute(ENDPOINT, champion)], endpoint)

    async def ask(self, body: Any, path: str = PATH) -> tuple[Message, Any]:
        answer = await self.front.ask(post_json(body, path))
        return answer, json.loads(answer.body)

    def captured(self) -> list[Any]:
        found = [one for segment in segments(self._spool) for one in read(segment, 0)]
        parts = [decode(one.payload) for one in found]
        return [(json.loads(body), json.loads(answer)) for _, body, answer in parts]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def series(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Series]:
    import mlflow

    folder = tmp_path_factory.mktemp("series") / "model"
    save(folder)
    reader, counts = MLmodelReader(), LocalCounts()
    spool = Spool(tmp_path_factory.mktemp("spool"), max_bytes=10_000_000)
    spool.open()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(served(mlflow.pyfunc.load_model(str(folder))))
        front = await stack.enter_async_context(
            Front(
                server,  # type: ignore[arg-type]
                gates=lambda route: reader.gate(folder, Validation.STRICT),
                kinds=lambda route: reader.kind(folder),
                recorder=Recorder(spool, counts.traffic, counts.counters),
            )
        )
        found = Series(front, spool.root)
        key = ModelKey("sales", 1)
        found.publish(ready_route(key, "launch", server.port, artifact="sales-1700000000000"))
        yield found
    spool.close()


async def test_the_values_come_from_the_endpoint_that_is_set(series: Series) -> None:
    series.publish()
    answer, said = await series.ask({"input_data": VALUES, "prediction_step": 3})
    assert answer.status == 200
    assert said == {
        "model_name": "sales",
        "prediction": [6, 7, 6],
        "message": f"predicted 3 values from the last {WINDOW} with sales@champion",
    }
    assert answer.get("x-model-version") == "1"
    assert (await series.ask({"input_data": VALUES}))[1]["prediction"] == [6, 7, 6, 7]


async def test_it_is_captured_as_any_request_of_the_endpoint(series: Series) -> None:
    series.publish()
    await series.ask({"input_data": VALUES, "prediction_step": 1})
    body, answer = series.captured()[-1]
    assert body["dataframe_split"]["data"] == [VALUES]
    assert body["params"] == {"prediction_step": 1}
    assert answer == {"predictions": [[6.0]]}


async def test_what_no_model_could_take_is_refused_with_what_is_allowed(series: Series) -> None:
    series.publish()
    answer, said = await series.ask({"input_data": VALUES[1:], "prediction_step": 99})
    assert answer.status == 422
    assert [error["expected"] for error in said["errors"]] == [
        f"an array of {WINDOW} numbers, the oldest first", f"a whole number from 1 to {HORIZON}",
    ]  # fmt: skip
    nan = b'{"input_data": [NaN, 1, 2, 3, 4, 5, 6, 7]}'
    refused = await series.front.ask(post(nan, PATH, content_type="application/json"))
    assert refused.status == 422
    assert b"item 0: expected a finite number, got null" in refused.body
    assert (await series.front.ask(post(b"{", PATH, content_type="application/json"))).status == 400


async def test_the_model_itself_refuses_too(series: Series) -> None:
    series.publish()
    frame = {"columns": [f"value_{n + 1}" for n in range(WINDOW)], "data": [VALUES]}
    answer, said = await series.ask(
        {"dataframe_split": frame, "params": {"prediction_step": 9}}, "/sales@champion"
    )
    assert answer.status == 422
    assert "from 1 to 4" in said["detail"]


async def test_without_an_endpoint_it_is_not_found(series: Series) -> None:
    series.publish(endpoint=None)
    answer, said = await series.ask({"input_data": VALUES})
    assert answer.status == 404
    assert "no endpoint is set" in said["detail"]
    series.publish(endpoint=EndpointName("sales", "gone"))
    answer, said = await series.ask({"input_data": VALUES})
    assert answer.status == 404
    assert "sales@gone" in said["detail"]


async def test_an_endpoint_whose_model_does_not_serve_is_not_ready(series: Series) -> None:
    ready = series._routes[0]
    series.publish(Route(ready.key, State.FAILED, artifact=ready.artifact, reason="why"))
    try:
        answer, said = await series.ask({"input_data": VALUES})
    finally:
        series.publish(ready)
    assert answer.status == 503
    assert "(why)" in said["detail"]


async def test_a_model_of_rows_is_no_model_of_a_series(series: Series) -> None:
    ready = series._routes[0]
    unknown = replace(ready, artifact="")
    series.publish(unknown)
    try:
        answer, said = await series.ask({"input_data": VALUES})
    finally:
        series.publish(ready)
    assert answer.status == 409
    assert "no model of a time series" in said["detail"]


async def test_other_methods_are_for_the_api(series: Series) -> None:
    answer = await series.front.ask(b"GET /predict_timeseries HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.body == b"inside: /predict_timeseries"
