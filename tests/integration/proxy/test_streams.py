"""Streams of models, from the generator to the caller."""

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.endpoints import SHADOW_STAGE, EndpointRoute
from model_deployment.core.options import Options
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.recording.capture import decode
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool, read, segments
from tests.support.counting import LocalCounts
from tests.support.endpoint_front import CANDIDATE, CHAMPION, NAME, PATH, ROLLOUT
from tests.support.proxy_front import KEY, Front
from tests.support.raw_http import Message, Wire, post_json
from tests.support.routes import target
from tests.support.streaming_models import Gate, Generate, Streams, pyfunc, served
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

ASK = {"inputs": "hi", "stream": True}
DONE = b"data: [DONE]\n\n"


def request(body: Any = ASK, **headers: str) -> bytes:
    return post_json(body, **headers)


@asynccontextmanager
async def streaming(
    generate: Generate, timeout: float = 30, **options: Any
) -> AsyncIterator[tuple[Front, Streams]]:
    model = Streams(generate)
    async with served(pyfunc(model), timeout) as server, Front(server, **options) as front:  # type: ignore[arg-type]
        yield front, model


async def begin(front: Front, body: Any = ASK) -> tuple[Wire, Message]:
    """Ask, and read the head of the answer."""
    caller = await front.call()
    await caller.send(request(body))
    answer = await caller.head()
    assert answer is not None
    return caller, answer


async def test_frames_are_those_of_mlflow_and_come_as_they_are_made() -> None:
    gate = Gate()

    def words(_: Any) -> Iterator[Any]:
        yield "first"
        gate.wait()
        yield {"a": float("nan"), "b": ["ü\n"]}

    async with streaming(words) as (front, model):
        caller, answer = await begin(front)
        assert (answer.status, answer.get("content-type")) == (200, "text/event-stream")
        assert answer.get("x-model-version") == "1"
        assert answer.get("x-accel-buffering") == "no"
        assert await caller.piece(answer) == b'data: "first"\n\n'
        assert front.traffic.in_flight == 1
        gate.open()
        await caller.rest(answer)
        assert answer.body == b'data: "first"\n\ndata: {"a": null, "b": ["\\u00fc\\n"]}\n\n' + DONE
        assert (await caller.ask(request({"inputs": "hi"}))).body == b'{"predictions": ["whole"]}'
        await until(lambda: model.ended == 1)
        assert front.idle()


async def test_exception_before_the_first_value_is_an_answer_as_any_other() -> None:
    def broken(_: Any) -> Iterator[Any]:
        raise ValueError("secret")
        yield

    async with streaming(broken) as (front, _):
        answer = await front.ask(request())
        assert answer.problem(502)["title"] == "Model failed"
        assert b"secret" not in answer.body
        assert "secret" in front.traces[0][1]


async def test_exception_after_it_is_the_last_frame_and_the_connection_stays() -> None:
    def broken(_: Any) -> Iterator[Any]:
        yield 1
        raise ValueError("secret")

    async with streaming(broken) as (front, model):
        caller, answer = await begin(front)
        await caller.rest(answer)
        first, error, done, _ = answer.body.split(b"\n\n")
        assert (first, done) == (b"data: 1", b"data: [DONE]")
        assert "the model failed" in json.loads(error.removeprefix(b"data: "))["error"]
        assert b"secret" not in answer.body
        assert "secret" in front.traces[0][1]
        assert (await caller.ask(request({"inputs": 1}))).status == 200
        assert model.ended == 1


async def test_caller_who_leaves_ends_the_generator() -> None:
    def endless(_: Any) -> Iterator[Any]:
        while True:
            yield "x" * 1000

    async with streaming(endless) as (front, model):
        caller, answer = await begin(front)
        await caller.piece(answer)
        await caller.close()
        await until(lambda: model.ended == 1)
        await until(front.idle)
        assert (await front.ask(request({"inputs": 1}))).status == 200


async def test_caller_who_reads_nothing_holds_the_generator_back() -> None:
    def endless(_: Any) -> Iterator[Any]:
        while True:
            yield "x" * 100_000

    async with streaming(endless) as (front, model):
        caller, answer = await begin(front)
        seen = [-1]

        def stands_still() -> bool:
            before, seen[0] = seen[0], model.yielded
            return before == model.yielded

        await until(stands_still, interval=0.2)
        assert model.yielded < 300
        await caller.piece(answer)
        await caller.close()
        await until(lambda: model.ended == 1)


async def test_generator_that_hangs_is_given_up_after_the_gap_not_after_the_whole() -> None:
    hang = threading.Event()

    def slow(_: Any) -> Iterator[Any]:
        for _number in range(6):
            time.sleep(0.1)
            yield 1
        hang.wait(60)
        yield 2

    async with streaming(slow, timeout=0.4) as (front, model):
        caller, answer = await begin(front)
        await caller.rest(answer)
        frames = answer.body.split(b"\n\n")
        assert frames[:6] == [b"data: 1"] * 6
        assert "did not answer in time" in json.loads(frames[6].removeprefix(b"data: "))["error"]
        assert front.failures == 1
        assert front.traffic.timeouts_in_row == 1
        assert (await front.ask(request({"inputs": 1}))).status == 200
        hang.set()
        await until(lambda: model.ended == 1)


async def test_streams_that_wait_do_not_hold_up_other_predictions() -> None:
    gate = Gate()

    def waiting(_: Any) -> Iterator[Any]:
        yield 1
        gate.wait()
        yield 2

    async with streaming(waiting) as (front, model):
        begun = [await begin(front) for _ in range(40)]
        for caller, answer in begun:
            await caller.piece(answer)
        assert (await front.ask(request({"inputs": 1}))).status == 200
        for _ in begun:
            gate.step()
        for caller, answer in begun:
            await caller.rest(answer)
            assert answer.body.endswith(DONE)
        await until(lambda: model.ended == 40)


async def test_launch_that_goes_ends_its_streams_with_an_error_frame() -> None:
    gate = Gate()

    def waiting(_: Any) -> Iterator[Any]:
        yield 1
        gate.wait()

    async with streaming(waiting) as (front, model):
        caller, answer = await begin(front)
        await caller.piece(answer)
        front.publish()
        await caller.rest(answer)
        _, error, done, _ = answer.body.split(b"\n\n")
        assert "its process was stopped" in json.loads(error.removeprefix(b"data: "))["error"]
        assert done == b"data: [DONE]"
        gate.open()
        await until(lambda: model.ended == 1)


@pytest.mark.parametrize(
    ("values", "joined"),
    [
        (["a", "b"], {"predictions": "ab"}),
        ([1, {"a": 2}], {"predictions": [1, {"a": 2}]}),
        (["x" * 2000], None),
    ],
)
async def test_capture_has_the_joined_answer(
    values: list[Any], joined: Any, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, max_bytes=1_000_000)
    spool.open()
    counts = LocalCounts()
    recorder = Recorder(spool, counts.traffic, counts.counters)
    options = Options(max_capture_bytes=1000)
    async with streaming(lambda _: iter(values), recorder=recorder, options=options) as (front, _):
        assert (await front.ask(request())).status == 200
    spool.close()
    (record,) = [one for segment in segments(tmp_path) for one in read(segment, 0)]
    head, body, answer = decode(record.payload)
    if joined is None:
        assert head["omitted"] > 1000
    else:
        assert (json.loads(body), json.loads(answer)) == (ASK, joined)
    assert sum(counts.reported.totals.of(KEY).buckets) == 1


class Endpoint:
    """An endpoint whose champion streams well, and whose candidate as it is told."""

    def __init__(self, front: Front, champion: int, candidate: int) -> None:
        self._front = front
        self._ports = {CHAMPION: champion, CANDIDATE: candidate}

    def publish(self, **endpoint: Any) -> None:
        routes = [
            replace(self._front.route(key), targets=(target(str(key), port),))
            for key, port in self._ports.items()
        ]
        found = EndpointRoute(NAME, CHAMPION, CANDIDATE, rollout=ROLLOUT, **endpoint)
        self._front.routes.publish(routes, [found])

    async def ask(self) -> Message:
        return await self._front.ask(request(path=PATH))

    def counts(self, stage: str) -> StageCounts:
        return self._front.routes.rollouts()[ROLLOUT].stages[stage]


async def test_streams_of_an_endpoint_are_counted_when_they_end_and_have_no_copies() -> None:
    def good(_: Any) -> Iterator[Any]:
        yield "a"

    def bad(_: Any) -> Iterator[Any]:
        yield "a"
        raise ValueError

    models = [pyfunc(Streams(one)) for one in (good, bad)]
    async with served(models[0]) as one, served(models[1]) as two, Front(one) as front:  # type: ignore[arg-type]
        ends = Endpoint(front, one.port, two.port)
        ends.publish(share=1.0, stage="canary-0")
        failed = await ends.ask()
        assert failed.get("x-model-version") == "2"
        assert b"error" in failed.body
        candidate = ends.counts("canary-0").candidate
        assert (candidate.requests, candidate.failures) == (1, {"502": 1})
        ends.publish(shadow=1.0, stage=SHADOW_STAGE)
        assert (await ends.ask()).get("x-model-version") == "1"
        shadow = ends.counts(SHADOW_STAGE)
        assert (shadow.uncopied.requests, shadow.champion.requests, shadow.dropped) == (1, 0, 0)
