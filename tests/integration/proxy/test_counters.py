"""What the proxy tells of a deployment from outside: who waits, what is held, how large calls were."""

from model_deployment.core.domain import State
from model_deployment.core.measures import BATCH_ROWS, ProxyCounters
from tests.support.held_requests import batching, send, send_all
from tests.support.proxy_front import KEY, Front, Serve
from tests.support.raw_http import Wire, post
from tests.support.upstreams import HeldUpstream
from tests.support.waiting import until


def load(front: Front) -> tuple[int, int]:
    """Requests without an answer, and those of them that wait."""
    counters: ProxyCounters = front.routes.counters(KEY)
    return counters.in_flight, counters.waiting


async def ask(front: Front, data: bytes) -> Wire:
    caller = await front.call()
    before = front.traffic.in_flight
    await caller.send(data)
    await until(lambda: front.traffic.in_flight == before + 1, what="the request in the proxy")
    return caller


async def test_those_beyond_the_connections_of_a_model_wait(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=2)
    callers = [await ask(front, post(b"12345")) for _ in range(5)]
    await until(lambda: load(front) == (5, 3), what="three to wait")
    assert front.routes.counters(KEY).held == 25
    gate.open()
    for caller in callers:
        await caller.receive()
    assert load(front) == (0, 0)
    assert front.routes.counters(KEY).held == 0


async def test_those_that_will_be_merged_wait_and_calls_are_counted_by_their_rows(
    serve: Serve,
) -> None:
    front, model = await batching(serve)
    first = await send(front, 1)
    asked = await model.next()
    callers = await send_all(front, (2, 3), (4,))
    await until(lambda: load(front) == (3, 2), what="two to wait")
    asked.predict()
    (await model.next()).predict()
    for caller in (first, *callers):
        await caller.receive()
    sizes = front.routes.counters(KEY).batch_sizes
    # The call for one request alone is none; the merged one had three rows.
    assert sizes == tuple(int(bound == 4) for bound in (*BATCH_ROWS, 0))
    assert load(front) == (0, 0)


async def test_a_deployment_on_its_way_out_tells_what_it_still_answers(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await ask(front, post(b"x"))
    front.publish(front.route(state=State.STOPPING))
    assert load(front) == (1, 0)
    gate.open()
    await caller.receive()
    assert load(front) == (0, 0)
    front.publish()
    assert front.routes.counters(KEY) == ProxyCounters()
