"""The making of gates: of one that cannot be made, or checks nothing, only its own deployment suffers."""

import gc
import json
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.gate import Gate
from model_deployment.proxy.model_pool import ModelPool
from tests.support.gates import column, gate, split
from tests.support.proxy_front import KEY, Serve
from tests.support.raw_http import post_json
from tests.support.upstreams import echo

OTHER = ModelKey("other", 1)


class Disk:
    """Gates, of which some cannot be made while the disk fails."""

    def __init__(self, *broken: ModelKey) -> None:
        self.broken = {*broken}
        self.asked: list[ModelKey] = []

    def __call__(self, route: Route) -> Gate:
        self.asked.append(route.key)
        if route.key in self.broken:
            raise OSError("too many open files: /canary")
        return gate(column("long"))


async def test_of_a_gate_that_cannot_be_made_only_its_own_deployment_suffers(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    front = await serve(echo, gates=disk)
    caller = await front.call()
    disk.broken.add(OTHER)
    routes = [front.route(), front.route(OTHER, launch="launch-2")]
    sessions = _sessions()
    for _ in range(3):
        assert front.publish(*routes) is False
        answer = await caller.ask(post_json({"a": 1}, "/other-1"))
        problem = answer.problem(503)
        assert problem["title"] == "Not ready"
        assert problem["detail"] == (
            "cannot predict with other-1: its signature cannot be read now"
        )
        assert answer.get("retry-after") == "2"
        assert (await caller.ask(post_json({"a": 1}))).status == 200
        assert front.routes.counters(OTHER).checked is None
        assert front.routes.counters(KEY).checked is True
        assert front.routes.traffic("launch-2") == LaunchTraffic()
    assert _sessions() == sessions
    assert "other-1" in caplog.text
    disk.broken.clear()
    assert front.publish(*routes) is True
    assert (await caller.ask(post_json({"a": 1}, "/other-1"))).status == 200
    assert (await caller.ask(post_json({"a": ""}, "/other-1"))).status == 422
    assert front.routes.counters(OTHER).checked is True
    assert _sessions() == sessions + 1
    # The gate of a launch is made once.
    assert disk.asked == [KEY] + [OTHER] * 4


async def test_a_gate_that_cannot_be_made_at_first_serves_as_soon_as_it_can(serve: Serve) -> None:
    disk = Disk(KEY)
    front = await serve(echo, gates=disk)
    (await front.ask(post_json({"a": 1}))).problem(503)
    disk.broken.clear()
    assert front.publish(front.route()) is True
    assert (await front.ask(post_json({"a": 1}))).status == 200
    assert (await front.ask(post_json({"a": "x"}))).status == 422


def _sessions() -> int:
    gc.collect()
    return sum(isinstance(one, ModelPool) for one in gc.get_objects())


async def test_a_deployment_that_does_not_serve_is_no_reason_to_publish_again(
    serve: Serve,
) -> None:
    front = await serve(echo, gates=Disk(OTHER))
    starting = front.route(OTHER, State.STARTING, "launch-2")
    assert front.publish(front.route(), starting) is True
    assert front.routes.counters(OTHER).checked is None
    assert front.routes.counters(KEY).checked is True
    assert front.publish() is True
    assert front.routes.counters(KEY).checked is None


def _nested(depth: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": "long"}
    for _ in range(depth):
        spec = {"type": "array", "items": spec}
    return spec


async def test_a_signature_as_deep_as_the_sea_stops_nothing(serve: Serve) -> None:
    front = await serve(
        echo,
        gates=lambda route: gate(column(_nested(600) if route.key == OTHER else "long")),
    )
    assert front.publish(front.route(), front.route(OTHER, launch="launch-2")) is True
    caller = await front.call()
    body = split([1])
    answer = await caller.ask(post_json(body, "/other-1"))
    assert answer.body == json.dumps(body).encode()
    assert (await caller.ask(post_json(split(1)))).status == 200
    assert (await caller.ask(post_json(split("x")))).status == 422
    assert front.routes.counters(OTHER).checked is False
