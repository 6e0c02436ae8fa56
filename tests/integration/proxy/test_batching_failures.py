"""Where a merged call fails, nobody suffers from the company he was in."""

import asyncio
import json

import pytest

from model_deployment.core.options import Options
from tests.support.gates import column, gate
from tests.support.held_requests import (
    JSON,
    Asked,
    Held,
    batching,
    predictions,
    question,
    send,
    send_all,
)
from tests.support.proxy_front import KEY, LAUNCH, Front, Serve
from tests.support.raw_http import Wire, head
from tests.support.upstreams import Peer
from tests.support.waiting import until


async def merged(front: Front, model: Held) -> tuple[list[Wire], Asked]:
    """Three callers of one row each, and the call that they are in."""
    first = await send(front, 1, name="first")
    asked = await model.next()
    callers = [await send(front, value, name=f"caller-{value}") for value in (2, 3, 4)]
    asked.predict()
    await first.receive()
    asked = await model.next()
    assert asked.values == [2, 3, 4]
    return callers, asked


@pytest.mark.parametrize("way", ["exception", "refusal", "crash", "504", "break off"])
async def test_after_a_failure_each_goes_alone(serve: Serve, way: str) -> None:
    front, model = await batching(serve)
    callers, asked = await merged(front, model)
    match way:
        case "exception":
            asked.fail()
        case "refusal":
            asked.say({"error_code": "BAD_REQUEST", "message": "Error: no"}, 400)
        case "crash":
            asked.say("no", 500)
        case "504":
            asked.say({}, 504)
        case _:
            asked.break_off()
    calls = await model.next_ones(3)
    for call in calls.values():
        call.predict()
    for value, caller in zip((2, 3, 4), callers, strict=True):
        assert predictions(await caller.receive()) == [f"of {value}"]
        assert calls[value,].request.get("x-request-id") == f"caller-{value}"
    assert not front.traces
    assert not front.events
    assert front.idle()


async def test_only_the_poisoned_one_fails(serve: Serve) -> None:
    front, model = await batching(serve)
    callers, asked = await merged(front, model)
    asked.fail()
    calls = await model.next_ones(3)
    calls[3,].fail("canary")
    calls[2,].predict()
    calls[4,].predict()
    assert predictions(await callers[0].receive()) == ["of 2"]
    assert predictions(await callers[2].receive()) == ["of 4"]
    answer = await callers[1].receive()
    answer.problem(502)
    assert b"canary" not in answer.body
    [(launch, text)] = front.traces
    assert launch == LAUNCH
    assert "caller-3" in text
    assert "canary" in text


async def test_one_that_hangs_alone_holds_up_no_other(serve: Serve) -> None:
    front, model = await batching(serve)
    callers, asked = await merged(front, model)
    asked.fail()
    calls = await model.next_ones(3)
    calls[4,].predict()
    assert predictions(await callers[2].receive()) == ["of 4"]
    # Further requests are merged as before.
    late = await send(front, 5)
    (await model.next()).predict()
    assert predictions(await late.receive()) == ["of 5"]
    calls[2,].predict()
    assert predictions(await callers[0].receive()) == ["of 2"]


async def test_a_merged_call_that_takes_too_long(serve: Serve) -> None:
    front, model = await batching(serve, read_timeout=1.0)
    callers, _ = await merged(front, model)
    calls = await model.next_ones(3)
    assert front.traffic.timeouts_in_row == 1
    calls[2,].predict()
    calls[3,].predict()
    assert predictions(await callers[0].receive()) == ["of 2"]
    assert predictions(await callers[1].receive()) == ["of 3"]
    (await callers[2].receive()).problem(504)


async def test_a_body_of_more_rows_than_a_call_fails_once(serve: Serve) -> None:
    front, model = await batching(serve)
    large = await send(front, *range(2006))
    asked = await model.next()
    assert asked.values == [*range(2006)]
    asked.fail()
    (await large.receive()).problem(502)
    assert model.idle
    assert front.idle()


@pytest.mark.parametrize(
    "said",
    [
        {"predictions": ["one for all"]},
        {"predictions": ["of 2", "of 3", "of 4", "one more"]},
        {"predictions": {"a": 1}},
        {"predictions": ["of 2", "of 3", "of 4"], "more": 1},
        "no predictions",
    ],
)
async def test_a_model_that_cannot_be_merged_is_not_any_more(serve: Serve, said: object) -> None:
    front, model = await batching(serve)
    callers, asked = await merged(front, model)
    waiting = await send(front, 5)
    asked.say(said)
    calls = await model.next_ones(4)
    assert sorted(calls) == [(2,), (3,), (4,), (5,)]
    for call in calls.values():
        call.predict()
    for value, caller in zip((2, 3, 4, 5), [*callers, waiting], strict=True):
        assert predictions(await caller.receive()) == [f"of {value}"]
    await _all_at_once(front, model)
    [(key, text)] = front.events
    assert key == KEY
    assert "was turned off" in text
    assert front.routes.counters(KEY).unmergeable == text


async def _all_at_once(front: Front, model: Held) -> None:
    """Nobody waits for another."""
    callers = await send_all(front, (6,), (7,), (8, 9, 10, 11, 12))
    calls = await model.next_ones(3)
    assert sorted(calls) == [(6,), (7,), (8, 9, 10, 11, 12)]
    for call in calls.values():
        call.predict()
    assert [len(predictions(await caller.receive())) for caller in callers] == [1, 1, 5]


async def test_the_next_launch_does_not_begin_again(serve: Serve) -> None:
    front, model = await batching(serve)
    _, asked = await merged(front, model)
    asked.say({"predictions": []})
    for call in (await model.next_ones(3)).values():
        call.predict()
    await until(front.idle)
    front.publish(front.route(launch="launch-2"))
    callers = [await front.call() for _ in range(2)]
    for value, caller in enumerate(callers):
        await caller.send(question(value))
    assert sorted(await model.next_ones(2)) == [(0,), (1,)]
    assert len(front.events) == 1


async def test_a_launch_goes_while_others_wait(serve: Serve) -> None:
    front, model = await batching(serve)
    first = await send(front, 1)
    await model.next()
    waiting = await send_all(front, (2,), (3,))
    front.publish()
    (await first.receive()).problem(502)
    for caller in waiting:
        answer = await caller.receive()
        answer.problem(503)
        assert answer.get("retry-after") == "1"
    assert len(front.upstream.requests) == 1
    assert front.failures == 0


async def test_a_launch_goes_while_others_wait_for_a_connection(serve: Serve) -> None:
    front, model = await batching(serve, connections=1)
    _, asked = await merged(front, model)
    asked.say({"predictions": []})
    for _ in range(3):
        (await model.next()).predict()
    await until(front.idle)
    first = await send(front, 5)
    await model.next()
    second = await send(front, 6)
    front.publish()
    (await first.receive()).problem(502)
    # It never reached the model, and may simply be sent again.
    (await second.receive()).problem(503)


async def test_a_launch_goes_in_the_middle_of_a_merged_call(serve: Serve) -> None:
    front, model = await batching(serve)
    callers, _ = await merged(front, model)
    waiting = await send(front, 5)
    front.publish()
    for caller in callers:
        (await caller.receive()).problem(502)
    (await waiting.receive()).problem(503)
    assert model.idle
    assert front.failures == 0


async def slow(peer: Peer) -> None:
    """Answers byte by byte, and so gives signs of life for more than a second."""
    content = b'{"predictions": ["x"]}'
    while await peer.next():
        length = ("Content-Length", str(len(content)))
        await peer.send(head("HTTP/1.1 200 OK", [JSON, length]))
        for byte in content:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.05)


async def test_one_that_waited_in_vain_is_told_so(serve: Serve) -> None:
    check = gate(column("long"))
    front = await serve(slow, gate=check, options=Options(batch_max_rows=4), read_timeout=0.5)
    first, early = await send_all(front, (1,), (2,))
    assert predictions(await first.receive()) == ["x"]
    problem = (await early.receive()).problem(504)
    assert problem["title"] == "Model timed out"
    assert "no worker of the model became free within" in problem["detail"]
    # It never reached the model, of which it says nothing.
    assert len(front.upstream.requests) == 1
    assert front.traffic.timeouts_in_row == 0
    assert front.idle()


async def test_infinities_of_a_merged_answer_are_null(serve: Serve) -> None:
    front, model = await batching(serve)
    callers, asked = await merged(front, model)
    asked.reply.set_result((200, b'{"predictions": [NaN, "NaN", [-Infinity]]}'))
    found = [json.loads((await caller.receive()).body)["predictions"] for caller in callers]
    assert found == [[None], ["NaN"], [[None]]]
