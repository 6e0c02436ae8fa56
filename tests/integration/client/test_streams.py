"""The client at a model that streams, behind a proxy."""

from collections.abc import Iterator
from typing import Any

import pytest

from model_deployment.client import AsyncClient, StreamFailed
from tests.integration.proxy.test_streams import streaming
from tests.support.proxy_front import KEY, Front
from tests.support.raw_http import HOST
from tests.support.streaming_models import Gate
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns


def asking(front: Front) -> AsyncClient:
    return AsyncClient(f"{HOST}:{front.port}")


async def test_events_come_as_they_are_made_and_a_caller_who_leaves_stops_the_model() -> None:
    gate = Gate()

    def words(_: Any) -> Iterator[Any]:
        yield {"word": "one"}
        gate.wait()
        while True:
            yield {"word": "more"}

    async with streaming(words) as (front, model), asking(front) as client:
        events = client.stream(str(KEY), {"inputs": "hi"})
        assert await anext(events) == {"word": "one"}
        gate.open()
        assert await anext(events) == {"word": "more"}
        await events.aclose()
        await until(lambda: model.ended == 1, what="the model to stop")


async def test_a_model_that_fails_on_the_way_is_told_of() -> None:
    def broken(_: Any) -> Iterator[Any]:
        yield {"word": "one"}
        raise ValueError("secret")

    async with streaming(broken) as (front, _), asking(front) as client:
        events = client.stream(str(KEY), {"inputs": "hi"})
        assert await anext(events) == {"word": "one"}
        with pytest.raises(StreamFailed):
            await anext(events)
