"""Requests for a model that is parked: the first one wakes it, and all of them wait for it."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.measures import ProxyCounters
from model_deployment.core.options import Options
from tests.support.proxy_front import KEY, LAUNCH, Front, Serve
from tests.support.raw_http import Wire, post, post_chunked
from tests.support.upstreams import HeldUpstream, echo
from tests.support.waiting import until


def turn(front: Front, state: State, reason: str = "") -> None:
    """The deployment has come to this; requests wait unless it has come to rest."""
    waits = state in (State.PARKED, State.PENDING, State.STARTING, State.STOPPING)
    front.publish(replace(front.route(state=state, reason=reason), waits=waits))


async def parked(serve: Serve, **options: Any) -> Front:
    front = await serve(echo, options=Options(idle_timeout=60), **options)
    turn(front, State.PARKED)
    return front


def counters(front: Front) -> ProxyCounters:
    return front.routes.counters(KEY)


async def wait_in(front: Front, *bodies: bytes) -> list[Wire]:
    """Callers who wait, one after the other."""
    callers = []
    for body in bodies:
        callers.append(await front.call())
        await callers[-1].send(post(body))
        before = len(callers)
        await until(lambda: counters(front).waiting == before, what="one more who waits")  # noqa: B023
    return callers


async def test_the_first_one_wakes_it_and_all_are_answered(serve: Serve) -> None:
    front = await parked(serve)
    bodies = [b"%d" % number for number in range(20)]
    callers = await wait_in(front, *bodies)
    assert {*front.woken} == {KEY}
    assert counters(front).in_flight == 20
    assert counters(front).held == sum(map(len, bodies))
    for state in (State.PENDING, State.STARTING):
        turn(front, state)
    assert front.upstream.requests == []
    turn(front, State.READY)
    assert [(await caller.receive()).body for caller in callers] == bodies
    await until(front.idle, what="nothing under way")
    assert (counters(front).waiting, counters(front).held) == (0, 0)
    # And the next ones on the same connections go straight on.
    assert (await callers[0].ask(post(b"again"))).body == b"again"


async def test_what_is_parked_while_they_come_is_woken_again(serve: Serve) -> None:
    front = await parked(serve)
    turn(front, State.STOPPING)
    (caller,) = await wait_in(front, b"x")
    front.woken.clear()
    turn(front, State.PARKED)
    assert front.woken == [KEY]
    turn(front, State.READY)
    assert (await caller.receive()).body == b"x"


async def test_who_leaves_ends_only_his_own_wait(serve: Serve) -> None:
    front = await parked(serve)
    gone, stays = await wait_in(front, b"gone", b"stays")
    await gone.close()
    await until(lambda: counters(front).waiting == 1, what="one who waits")
    turn(front, State.READY)
    assert (await stays.receive()).body == b"stays"
    assert [request.body for request in front.upstream.requests] == [b"stays"]


async def test_more_than_may_wait_are_told_to_come_again(serve: Serve) -> None:
    front = await parked(serve, connections=1, queue=1)
    callers = await wait_in(front, b"1", b"2")
    refused = await front.ask(post(b"3"))
    refused.problem(429)
    assert refused.get("retry-after") == "1"
    turn(front, State.READY)
    assert [(await caller.receive()).status for caller in callers] == [200, 200]


async def test_their_bodies_fill_no_more_than_they_may(serve: Serve) -> None:
    front = await parked(serve, queue_bytes=10)
    (first,) = await wait_in(front, b"x" * 8)
    (await front.ask(post(b"yyy"))).problem(429)
    (await front.ask(post_chunked(b"y", b"yy"))).problem(429)
    turn(front, State.READY)
    assert (await first.receive()).body == b"x" * 8


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        (State.FAILED, 502, "cannot predict with iris-1: it does not start: no such library"),
        (State.STOPPED, 503, "cannot predict with iris-1: it is stopped (no such library)"),
        (None, 503, "undeployed, or the controller is stopping"),
    ],
)
async def test_if_it_does_not_start_they_are_told_why(
    serve: Serve, state: State | None, status: int, words: str
) -> None:
    front = await parked(serve)
    callers = await wait_in(front, b"1", b"2")
    if state is None:
        front.publish()
    else:
        turn(front, state, "no such library")
    for caller in callers:
        assert words in (await caller.receive()).problem(status)["detail"]
    assert front.upstream.requests == []


async def test_if_it_may_not_start_those_who_wait_are_told_and_the_next_one_asks_again(
    serve: Serve,
) -> None:
    front = await parked(serve)
    (caller,) = await wait_in(front, b"1")
    front.routes.fail_waiting(KEY, NotEnoughMemory("cannot predict with iris-1: no memory"))
    assert (await caller.receive()).problem(507)["title"] == "Not enough memory"
    front.woken.clear()
    (caller,) = await wait_in(front, b"2")
    assert KEY in front.woken
    turn(front, State.READY)
    assert (await caller.receive()).body == b"2"


async def test_they_wait_so_long_and_no_longer(serve: Serve) -> None:
    front = await parked(serve, wake_timeout=0.05)
    turn(front, State.STARTING, "launch on port 8001")
    answer = await front.ask(post(b"1"))
    assert "it is starting (launch on port 8001)" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "2"


async def test_only_a_prediction_wakes_it(serve: Serve) -> None:
    front = await parked(serve)
    (await front.ask(b"GET /iris-1 HTTP/1.1\r\nHost: x\r\n\r\n")).problem(405)
    assert front.woken == []


async def test_who_is_still_sending_is_seen_and_counts_as_use(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    await until(lambda: front.traffic.idle > 0, what="a moment without requests")
    caller = await front.call()
    data = post(b"12345")
    await caller.send(data[:-1])
    await until(lambda: front.traffic.reading == 1, what="a body coming in")
    assert front.traffic.idle == 0
    await caller.send(data[-1:])
    await until(lambda: front.traffic.in_flight == 1, what="the request at the model")
    assert (front.traffic.reading, front.traffic.idle) == (0, 0)
    gate.open()
    assert (await caller.receive()).status == 200
    await until(lambda: front.traffic.idle > 0, what="a moment without requests")
    assert front.routes.traffic(LAUNCH).in_flight == 0


async def test_calls_outlive_a_launch_whose_port_is_held(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    held = front.route()
    (target,) = held.targets
    waiting = await front.call()
    await waiting.send(post(b"1"))
    await until(lambda: front.traffic.in_flight == 1, what="a call")
    without = replace(target, launch_id=None, address=None)
    front.publish(replace(held, state=State.PENDING, targets=(without,), waits=True))
    late = await front.call()
    await late.send(post(b"2"))
    await until(lambda: front.routes.counters(KEY).waiting == 1, what="a request that waits")
    coming = replace(target, launch_id="launch-2")
    starting = replace(coming, address=None)
    front.publish(replace(held, state=State.STARTING, targets=(starting,), waits=True))
    assert front.routes.traffic("launch-2").in_flight == 1
    oldest = front.routes.traffic("launch-2").oldest
    front.publish(replace(held, targets=(coming,)))
    # The time that it has waited is not held against the new launch.
    assert front.routes.traffic("launch-2").oldest < oldest
    await until(lambda: front.routes.traffic("launch-2").in_flight == 2, what="both calls")
    gate.open()
    assert [(await caller.receive()).body for caller in (waiting, late)] == [b"1", b"2"]
    assert front.failures == 0


async def test_calls_do_not_outlive_a_session(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post(b"1"))
    await until(lambda: front.traffic.in_flight == 1, what="a call")
    front.publish(front.route(launch="launch-2"))
    (await caller.receive()).problem(502)
