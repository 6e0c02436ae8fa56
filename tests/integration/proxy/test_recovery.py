"""Requests for a model that has ended and comes back: they wait, for so long and no longer."""

from dataclasses import replace

import pytest

from model_deployment.core.domain import State
from tests.support.proxy_front import KEY, Front, Serve
from tests.support.raw_http import Wire, post
from tests.support.upstreams import HeldUpstream, echo
from tests.support.waiting import until


def turn(front: Front, state: State, reason: str = "killed", launch: str = "launch-2") -> None:
    """The deployment has come to this."""
    waits = state in (State.PENDING, State.STARTING, State.STOPPING)
    front.publish(replace(front.route(state=state, reason=reason, launch=launch), waits=waits))


async def waiting(front: Front, number: int, body: bytes = b"x") -> list[Wire]:
    callers = [await front.call() for _ in range(number)]
    before = front.routes.counters(KEY).waiting
    for caller in callers:
        await caller.send(post(body))
    await until(lambda: front.routes.counters(KEY).waiting == before + number)
    return callers


async def test_who_comes_meanwhile_is_answered_by_the_next_launch(serve: Serve) -> None:
    front = await serve(echo)
    for state in (State.STOPPING, State.PENDING, State.STARTING):
        turn(front, state)
        callers = await waiting(front, 2)
    assert front.upstream.requests == []
    assert front.woken == []  # nothing is parked
    turn(front, State.READY)
    assert [(await caller.receive()).status for caller in callers] == [200, 200]
    await until(lambda: front.routes.counters(KEY).waiting == 0)


async def test_their_wait_is_bounded_and_says_why(serve: Serve) -> None:
    front = await serve(echo, recovery_timeout=0.1)
    turn(front, State.PENDING, "ValueError: no")
    answer = await front.ask(post(b"x"))
    assert "it is pending (ValueError: no)" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "2"
    assert front.routes.counters(KEY).in_flight == 0


async def test_no_more_may_wait_than_elsewhere(serve: Serve) -> None:
    front = await serve(echo, connections=1, queue=2)
    turn(front, State.PENDING)
    callers = await waiting(front, 3)
    (await front.ask(post(b"x"))).problem(429)
    await callers.pop().close()
    await until(lambda: front.routes.counters(KEY).waiting == 2)
    turn(front, State.READY)
    assert [(await caller.receive()).status for caller in callers] == [200, 200]


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
async def test_they_are_told_at_once_that_it_does_not_come_back(serve: Serve, state: State) -> None:
    front = await serve(echo)
    turn(front, State.PENDING)
    (caller,) = await waiting(front, 1)
    turn(front, state, "ModuleNotFoundError: No module named 'x'")
    problem = (await caller.receive()).problem(502 if state is State.FAILED else 503)
    assert "No module named 'x'" in problem["detail"]
    if state is State.FAILED:
        assert "not installed where it runs" in problem["detail"]
        late = (await front.ask(post(b"x"))).problem(503)
        assert "not installed where it runs" in late["detail"]


async def test_what_was_not_sent_yet_goes_to_the_next_launch_and_the_rest_does_not(
    serve: Serve,
) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=1)
    sent = await front.call()
    await sent.send(post(b"sent"))
    await until(lambda: len(front.upstream.requests) == 1, what="a request at the model")
    queued = await front.call()
    await queued.send(post(b"queued"))
    await until(lambda: front.traffic.in_flight == 2, what="a request that waits for a place")
    turn(front, State.PENDING)
    assert (await sent.receive()).status == 502
    await until(lambda: front.routes.counters(KEY).waiting == 1)
    gate.open()
    turn(front, State.READY)
    answer = await queued.receive()
    assert (answer.status, answer.body) == (200, b"queued")
    assert [request.body for request in front.upstream.requests] == [b"sent", b"queued"]


async def test_a_process_that_is_gone_unnoticed_is_waited_for(serve: Serve) -> None:
    front = await serve(echo, recovery_timeout=5)
    await front.upstream.stop_listening()
    caller = await front.call()
    await caller.send(post(b"x"))
    await until(lambda: front.failures > 0, what="a call that was refused")
    await until(lambda: front.routes.counters(KEY).waiting == 1)
    turn(front, State.PENDING)
    turn(front, State.FAILED, "gone for good")
    assert "gone for good" in (await caller.receive()).problem(502)["detail"]


async def test_if_nothing_is_noticed_the_wait_is_bounded_as_well(serve: Serve) -> None:
    front = await serve(echo, recovery_timeout=0.1)
    await front.upstream.stop_listening()
    answer = await front.ask(post(b"x"))
    assert "does not accept connections" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "1"


async def test_a_controller_that_stops_keeps_nobody_waiting(serve: Serve) -> None:
    front = await serve(echo)
    turn(front, State.PENDING)
    served, dismissed = await waiting(front, 2)
    front.routes.stop_waiting()
    answer = await dismissed.receive()
    assert "the controller is stopping" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "5"
    assert (await served.receive()).status == 503
    # And the next one waits no longer than that.
    (late,) = await waiting(front, 1)
    assert (await late.receive()).status == 503
