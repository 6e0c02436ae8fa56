"""A deployment with several launches: which of them gets a request."""

from dataclasses import replace

from model_deployment.core.domain import State
from model_deployment.core.routes import Route
from model_deployment.gate import Gate
from tests.support.gates import column, gate
from tests.support.held_requests import Held
from tests.support.raw_http import post
from tests.support.routes import target
from tests.support.targets import send, targets
from tests.support.upstreams import HeldUpstream, echo
from tests.support.waiting import until


async def test_requests_are_spread_over_all_launches() -> None:
    async with targets(echo, echo, echo) as it:
        assert await it.ask(30) == {200: 30}
        assert it.seen == [10, 10, 10]


async def test_the_launch_with_the_least_in_flight_gets_a_request() -> None:
    held = HeldUpstream()
    async with targets(held, held, echo) as it:
        callers = [await it.front.call() for _ in range(2)]
        it.publish(1, 2)
        for n, caller in enumerate(callers):
            await caller.send(post(b"held %d" % n))
        await until(lambda: held.held == 2, what="a call at each")
        it.publish(1, 2, 3)
        assert await it.ask(20) == {200: 20}
        assert it.seen == [1, 1, 20]
        assert [it.traffic(n) for n in (1, 2, 3)] == [1, 1, 0]
        held.open()
        assert {(await caller.receive()).status for caller in callers} == {200}


async def test_a_body_that_is_still_coming_goes_to_a_launch_that_does_not_retire() -> None:
    async with targets(echo, echo) as it:
        only = it.publish(1)
        data = post(b"slowly")
        caller = await send(it.front, data[:-3])
        await until(lambda: it.front.routes.traffic("launch-1").reading == 1, what="a body")
        retiring = target("launch-1", None)
        it.front.publish(
            replace(only, targets=(target("launch-2", it.servers[1].port),), retiring=(retiring,))
        )
        # The retiring launch need not wait for it.
        assert it.front.routes.traffic("launch-1").reading == 0
        await caller.send(data[-3:])
        assert (await caller.receive()).body == b"slowly"
        assert it.seen == [0, 1]


async def test_a_body_that_is_still_coming_when_all_launches_stop_holds_them() -> None:
    async with targets(echo, echo) as it:
        both = it.publish(1, 2)
        data = post(b"slowly")
        caller = await send(it.front, data[:-3])
        traffic = it.front.routes.traffic
        await until(lambda: traffic("launch-1").reading + traffic("launch-2").reading == 1)
        stopping = tuple(replace(one, address=None) for one in both.targets)
        it.front.publish(replace(both, state=State.STOPPING, targets=(), retiring=stopping))
        assert traffic("launch-1").reading + traffic("launch-2").reading == 1
        await caller.send(data[-3:])
        assert (await caller.receive()).body == b"slowly"
        await until(lambda: traffic("launch-1").reading + traffic("launch-2").reading == 0)


async def test_a_retiring_launch_answers_what_it_has() -> None:
    held = HeldUpstream()
    async with targets(held, echo) as it:
        it.publish(1)
        caller = await send(it.front, post(b"held"))
        await until(lambda: held.held == 1)
        both = it.publish(1, 2)
        retiring = tuple(replace(one, address=None) for one in both.targets[:1])
        it.front.publish(replace(both, targets=both.targets[1:], retiring=retiring))
        assert it.traffic(1) == 1
        assert await it.ask(10) == {200: 10}
        held.open()
        assert (await caller.receive()).body == b"held"
        assert it.seen == [1, 10]
        it.publish(2)
        await until(lambda: it.servers[0].open == 0, what="closed connections")


async def test_each_launch_has_room_for_as_many_calls_as_one() -> None:
    held = HeldUpstream()
    async with targets(held, held, connections=2, queue=1) as it:
        callers = [await send(it.front, post(b"%d" % n)) for n in range(6)]
        await until(lambda: it.traffic(1) + it.traffic(2) == 6, what="all callers")
        await until(lambda: held.held == 4, what="calls at the models")
        assert (await it.front.ask(post(b"more"))).status == 429
        held.open()
        assert {(await caller.receive()).status for caller in callers} == {200}


async def test_a_launch_that_goes_takes_its_room_with_it() -> None:
    held = HeldUpstream()
    async with targets(held, held, connections=2, queue=1) as it:
        it.publish(1)
        callers = [await send(it.front, post(b"%d" % n)) for n in range(3)]
        await until(lambda: it.traffic(1) == 3, what="all callers")
        assert held.held == 2
        assert (await it.front.ask(post(b"more"))).status == 429
        it.publish(1, 2)
        # What waited for its turn has it now.
        await until(lambda: held.held == 3, what="three calls at the models")
        callers += [await send(it.front, post(b"%d" % n)) for n in range(3, 6)]
        await until(lambda: it.traffic(2) == 3, what="as many at the other one")
        held.open()
        assert {(await caller.receive()).status for caller in callers} == {200}


async def test_one_gate_is_made_for_all_launches() -> None:
    made = list[Route]()

    def gates(route: Route) -> Gate:
        made.append(route)
        return gate(column("long"))

    async with targets(Held(), Held(), Held(), gates=gates) as it:
        for numbers in ((1, 2, 3), (1, 2), (2, 3), (3,), (1,), (1, 2, 3)):
            it.publish(*numbers)
        assert len(made) == 1
        it.publish(1, 2, 3, artifact="other")
        assert len(made) == 2
