"""Requests that wait while the model is busy go together, and each caller gets back its own rows."""

import asyncio
import json
import random
from typing import Any

from model_deployment.core.options import Options
from tests.support.gates import column, gate, param
from tests.support.held_requests import (
    JSON,
    Asked,
    batching,
    body,
    marked,
    predictions,
    question,
    send,
    send_all,
)
from tests.support.proxy_front import KEY, Front, Serve
from tests.support.raw_http import post
from tests.support.upstreams import Peer
from tests.support.waiting import until

CALLERS = 30


def counted(front: Front) -> tuple[int, int]:
    """Merged calls, and their rows."""
    counters = front.routes.counters(KEY)
    return counters.batches, counters.batched_rows


async def test_those_who_wait_for_the_first_go_together(serve: Serve) -> None:
    front, model = await batching(serve)
    first = await send(front, 1)
    asked = await model.next()
    assert asked.values == [1]
    second, third = await send_all(front, (2, 3), (4,))
    assert model.idle
    asked.predict()
    assert predictions(await first.receive()) == ["of 1"]
    asked = await model.next()
    assert asked.values == [2, 3, 4]
    asked.predict()
    assert predictions(await second.receive()) == ["of 2", "of 3"]
    assert predictions(await third.receive()) == ["of 4"]
    assert counted(front) == (1, 3)
    assert front.idle()
    assert not front.events


async def test_each_answer_of_a_merged_call_has_the_name_of_its_own_request(serve: Serve) -> None:
    front, model = await batching(serve)
    await send(front, 1)
    names = ["one", "two"]
    callers = [await send(front, 2, name=name) for name in names]
    (await model.next()).predict()
    merged = await model.next()
    merged.predict()
    assert [(await caller.receive()).get("x-request-id") for caller in callers] == names
    assert merged.request.get("content-type") == "application/json"


async def test_no_call_has_more_rows_than_it_may(serve: Serve) -> None:
    front, model = await batching(serve, rows=3)
    await send(front, 1)
    callers = await send_all(front, (2, 3), (4, 5), (6,))
    (await model.next()).predict()
    asked = await model.next()
    # The third fits where the second does not.
    assert asked.values == [2, 3, 6]
    asked.predict()
    asked = await model.next()
    assert asked.values == [4, 5]
    asked.predict()
    assert predictions(await callers[1].receive()) == ["of 4", "of 5"]
    assert counted(front) == (1, 3)


async def test_each_worker_has_a_call_of_its_own(serve: Serve) -> None:
    front, model = await batching(serve, workers=2)
    await send_all(front, (1,), (2,))
    calls = await model.next_ones(2)
    await send_all(front, (3,), (4,))
    assert model.idle
    calls[2,].predict()
    asked = await model.next()
    assert asked.values == [3, 4]
    assert model.idle


async def test_different_params_do_not_merge(serve: Serve) -> None:
    check = gate(column("long"), params=[param("long", 0)])
    front, model = await batching(serve, check=check)
    await send(front, 1)
    for value, wanted in ((2, 7), (3, 8), (4, 7)):
        await send(front, value, p=wanted)
    (await model.next()).predict()
    asked = await model.next()
    assert (asked.values, asked.body["params"]) == ([2, 4], {"p": 7})
    asked.predict()
    asked = await model.next()
    assert (asked.values, asked.body["params"]) == ([3], {"p": 8})


async def test_different_columns_do_not_merge(serve: Serve) -> None:
    check = gate(column("long"), column("long", "b", required=False))
    front, model = await batching(serve, check=check)
    await send(front, 1)
    await send(front, 2)
    await send(front, 3, columns=("a", "b"))
    await send(front, 4)
    (await model.next()).predict()
    asked = await model.next()
    assert asked.values == [2, 4]
    asked.predict()
    assert (await model.next()).body["dataframe_split"]["data"] == [[3, 3]]


async def test_what_is_no_table_or_has_a_query_does_not_wait(serve: Serve) -> None:
    front, model = await batching(serve)
    await send(front, 1)
    await model.next()
    await send(front, 2)
    assert model.idle
    await send(front, 3, path="/iris-1?x=1")
    asked = await model.next()
    assert (asked.values, asked.request.target) == ([3], "/invocations?x=1")
    caller = await front.call()
    await caller.send(post(b"a\n5\n", content_type="text/csv"))
    assert (await model.next()).request.body == b"a\n5\n"


async def test_a_large_body_goes_whole_beside_the_others(serve: Serve) -> None:
    front, model = await batching(serve)
    first = await send(front, 0)
    (asked,) = (await model.next_ones(1)).values()
    small = [await send(front, marker) for marker in (1, 2)]
    large = await send(front, *range(3, 14))
    whole = await model.next()
    assert whole.request.body == body(*range(3, 14))
    whole.predict()
    assert predictions(await large.receive()) == marked([*range(3, 14)])
    asked.predict()
    merged = await model.next()
    assert merged.values == [1, 2]
    merged.predict()
    for marker, caller in zip((0, 1, 2), (first, *small), strict=True):
        assert predictions(await caller.receive()) == [f"of {marker}"]


async def test_a_body_that_nobody_waits_beside_goes_whole(serve: Serve) -> None:
    front, model = await batching(serve)
    large = await send(front, *range(2000))
    asked = await model.next()
    assert asked.request.body == body(*range(2000))
    asked.predict()
    assert predictions(await large.receive()) == marked([*range(2000)])
    assert counted(front) == (0, 0)


async def test_large_bodies_that_wait_go_together(serve: Serve) -> None:
    front, model = await batching(serve, rows=60_000)
    await send(front, 0)
    callers = [await send(front, *range(start, start + 30_000)) for start in (1, 30_001)]
    (await model.next()).predict()
    asked = await model.next()
    assert asked.values == [*range(1, 60_001)]
    asked.predict()
    for start, caller in zip((1, 30_001), callers, strict=True):
        assert predictions(await caller.receive()) == marked([*range(start, start + 30_000)])
    assert counted(front) == (1, 60_000)
    assert front.idle()


async def test_a_caller_who_hangs_up_is_not_in_the_next_call(serve: Serve) -> None:
    front, model = await batching(serve)
    await send(front, 1)
    asked = await model.next()
    gone, stays, also = await send_all(front, (2,), (3,), (4,))
    await gone.close()
    await until(lambda: front.traffic.in_flight == 3, what="three callers")
    asked.predict()
    asked = await model.next()
    assert asked.values == [3, 4]
    asked.predict()
    assert predictions(await stays.receive()) == ["of 3"]
    assert predictions(await also.receive()) == ["of 4"]


async def test_a_caller_who_hangs_up_spoils_no_merged_call(serve: Serve) -> None:
    front, model = await batching(serve)
    await send(front, 1)
    gone, stays = await send_all(front, (2,), (3,))
    (await model.next()).predict()
    asked = await model.next()
    await gone.close()
    await until(lambda: front.traffic.in_flight == 1, what="one caller")
    asked.predict()
    assert predictions(await stays.receive()) == ["of 3"]
    assert len(front.upstream.requests) == 2


async def moody(peer: Peer) -> None:
    """Answers each row with its mark; sometimes fails, as far as several rows are asked for."""
    while request := await peer.next():
        asked = Asked(request)
        if len(asked.values) > 5 and random.random() < 0.1:
            await peer.answer(b"no", 500)
        else:
            content = json.dumps({"predictions": marked(asked.values)}).encode()
            await peer.answer(content, headers=[JSON])


async def _insist(front: Front, number: int, rng: random.Random) -> None:
    caller = await front.call()
    for turn in range(15):
        start = number * 100_000 + turn * 1_000
        values = list(range(start, start + rng.choice([1, 1, 2, 3, 5, 12])))
        more: dict[str, Any] = {"p": 7} if rng.random() < 0.3 else {}
        answer = await caller.ask(question(*values, name=f"{number}-{turn}", **more))
        if len(values) == 12 and answer.status == 502:
            continue  # failed in pieces, and then as a whole
        assert predictions(answer) == marked(values)
        assert answer.get("x-request-id") == f"{number}-{turn}"


async def test_nobody_gets_the_rows_of_another(serve: Serve) -> None:
    random.seed(1)
    check = gate(column("long"), params=[param("long", 0)])
    front = await serve(moody, gate=check, options=Options(batch_max_rows=8, workers=2))
    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(_insist(front, number, random.Random(number)))
    batches, rows = counted(front)
    assert rows > batches > 20
    assert front.idle()
    assert not front.events
