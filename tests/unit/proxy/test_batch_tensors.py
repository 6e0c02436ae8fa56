"""Requests of tensors that wait together: every caller gets the answer that he would get alone.

The model here reads what its server would, and knows of each call in which form it came.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.gate import Gate, dumps, loads
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.batch import Batcher
from model_deployment.proxy.batch_queue import MOST_CELLS, rows_at_once
from model_deployment.proxy.packed_rows import HEADERS
from model_deployment.proxy.upstream_call import UpstreamRequest
from model_deployment.worker import tensor_requests
from tests.support.batching import settle
from tests.support.gates import gate, param, tensor

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

IMAGES = gate(tensor("float32", -1, -1, name="x"), tensor("int32", -1, name="y"))
#: Fails every call that it is part of.
POISON = -1


@dataclass
class Model:
    """Answers with arrays by name, one row at a time."""

    #: MLflow's own server does not read bytes.
    reads_bytes: bool = True
    by_name: bool = True
    #: By the call: the numbers of its rows, and whether it came in bytes.
    calls: list[tuple[list[int], bool]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Any = None
    failure: int = 400

    async def send(self, request: UpstreamRequest) -> UpstreamAnswer:
        packed = request.headers() == HEADERS
        if packed and not self.reads_bytes:
            return UpstreamAnswer(415, [], b"")
        if packed:
            arrays, params = tensor_requests.read(request.content)
            data = {name: array.tolist() for name, array in arrays.items()}
        else:
            body = loads(request.content)
            data, params = body.get("inputs") or body["instances"], body.get("params")
        if isinstance(data, list):
            data = {name: [row[name] for row in data] for name in ("x", "y")}
        self.calls.append(([*data["y"]], packed))
        await self.gate.wait()
        if POISON in data["y"]:
            return UpstreamAnswer(self.failure, [], b'{"message": "poisoned"}')
        return UpstreamAnswer(200, [], dumps({"predictions": self.predicted(data, params)}))

    def predicted(self, data: Any, params: Any) -> Any:
        if self.answers is not None:
            return self.answers
        more = (params or {}).get("p", 0)
        # The number of columns shows if a row was lengthened to fit those of others.
        sums = [[sum(row), len(row) + more] for row in data["x"]]
        return {"sum": sums, "label": data["y"]} if self.by_name else sums


def asked(one: Gate, batcher: Batcher, body: Any) -> "asyncio.Task[UpstreamAnswer]":
    table = one.check(body).table
    assert table is not None
    request = UpstreamRequest(json.dumps(body).encode(), lambda: b"")
    return asyncio.create_task(batcher.predict(table, request))


def merging(model: Model, one: Gate = IMAGES, **more: Any) -> Batcher:
    return Batcher(model.send, one.join, **{"max_rows": 16, "max_calls": 1, **more})


def body_of(*rows: tuple[list[float], int], form: str = "inputs") -> Any:
    if form == "records":
        return {"instances": [{"x": x, "y": y} for x, y in rows]}
    return {form: {"x": [x for x, _ in rows], "y": [y for _, y in rows]}}


requests = st.tuples(
    st.integers(1, 5),  # rows
    st.integers(1, 3),  # columns
    st.sampled_from(["inputs", "instances", "records"]),
    st.sampled_from([False] * 5 + [True]),  # poisoned
)


@settings(max_examples=60)
@given(st.lists(requests, min_size=1, max_size=12), st.booleans(), st.booleans())
def test_merged_answers_are_those_of_each_alone(
    given_: list[tuple[int, int, str, bool]], reads_bytes: bool, by_name: bool
) -> None:
    async def play() -> None:
        model = Model(reads_bytes=reads_bytes, by_name=by_name)
        batcher = merging(model)
        bodies = [
            body_of(
                *(([float(n + row)] * width, POISON if bad and row == rows - 1 else 10 * n + row)
                  for row in range(rows)),
                form=form,
            )
            for n, (rows, width, form, bad) in enumerate(given_)
        ]  # fmt: skip
        tasks = [asked(IMAGES, batcher, body) for body in bodies]
        await settle()
        model.gate.set()
        answers = await asyncio.gather(*tasks)
        for body, answer, (*_, bad) in zip(bodies, answers, given_, strict=True):
            alone = Model(by_name=by_name)
            alone.gate.set()
            own = await alone.send(UpstreamRequest(dumps(body), lambda: b""))
            assert answer.status == own.status == (400 if bad else 200)
            assert loads(answer.content) == loads(own.content)
        assert all(len(rows) <= 16 for rows, _ in model.calls)

    asyncio.run(play())


async def test_bytes_are_sent_where_the_server_reads_them() -> None:
    model = Model()
    batcher = merging(model)
    tasks = [asked(IMAGES, batcher, body_of(([1.5], n))) for n in range(4)]
    await settle()
    model.gate.set()
    answers = [loads((await task).content)["predictions"] for task in tasks]
    assert answers == [{"sum": [[1.5, 1]], "label": [n]} for n in range(4)]
    assert model.calls == [([0], True), ([1, 2, 3], True)]


async def test_a_server_that_does_not_read_bytes_is_asked_once_only() -> None:
    model = Model(reads_bytes=False)
    batcher = merging(model)
    for _ in range(2):
        model.gate.clear()
        tasks = [asked(IMAGES, batcher, body_of(([1.5], n))) for n in range(3)]
        await settle()
        model.gate.set()
        assert [(await task).status for task in tasks] == [200] * 3
    assert model.calls == [([0], False), ([1, 2], False)] * 2
    assert not batcher._packs


async def test_a_poisoned_request_fails_alone() -> None:
    model = Model()
    batcher = merging(model)
    tasks = [asked(IMAGES, batcher, body_of(([1.5], n))) for n in (0, 1, POISON, 2)]
    await settle()
    model.gate.set()
    assert [(await task).status for task in tasks] == [200, 200, 400, 200]
    assert sorted(rows[0] for rows, packed in model.calls[2:] if not packed) == [POISON, 1, 2]
    assert batcher.merging


@pytest.mark.parametrize("status", [400, 500, 504])
async def test_a_lone_request_fails_as_its_caller_sent_it(status: int) -> None:
    model = Model(failure=status)
    model.gate.set()
    answer = await asked(IMAGES, merging(model), body_of(([1.5], POISON)))
    assert answer.status == status
    repeated = [([POISON], False)] * (status != 504)  # what took too long is not begun again
    assert model.calls == [([POISON], True), *repeated]


@pytest.mark.parametrize("answers", [{"a": [1], "b": [1, 2]}, {"a": [1]}, [1], 7, {"a": 1}])
async def test_an_answer_that_cannot_be_split_turns_merging_off(answers: Any) -> None:
    told: list[str] = []
    model = Model(answers=answers)
    batcher = merging(model, on_turned_off=told.append)
    tasks = [asked(IMAGES, batcher, body_of(([1.5], n))) for n in range(3)]
    await settle()
    model.gate.set()
    assert [loads((await task).content) for task in tasks] == [{"predictions": answers}] * 3
    assert not batcher.merging
    assert len(told) == 1


async def test_params_and_shapes_make_calls_of_their_own() -> None:
    one = gate(
        tensor("float32", -1, -1, name="x"),
        tensor("int32", -1, name="y"),
        params=[param("long", 0)],
    )
    model = Model()
    batcher = merging(model, one)
    bodies = [body_of(([1.0] * (1 + n % 2), n)) | {"params": {"p": n // 4}} for n in range(9)]
    tasks = [asked(one, batcher, body) for body in bodies]
    await settle()
    model.gate.set()
    for n, task in enumerate(tasks):
        found = loads((await task).content)["predictions"]
        assert found == {"sum": [[1.0 + n % 2, 1 + n % 2 + n // 4]], "label": [n]}
    assert [rows for rows, _ in model.calls[1:]] == [[1, 3], [2], [4, 6], [5, 7], [8]]


def test_a_call_of_large_rows_has_few() -> None:
    table = (
        gate(tensor("float32", -1, 3, 224, 224))
        .check({"inputs": [[[[0.5] * 224] * 224] * 3]})
        .table
    )
    assert table is not None
    assert rows_at_once(table, 256) == MOST_CELLS // (3 * 224 * 224) == 13
    small = gate(tensor("float32", -1, 2)).check({"inputs": [[1, 2]] * 5}).table
    assert small is not None
    assert rows_at_once(small, 256) == 256
