"""A deployment with several launches, some of which break: what becomes of requests."""

import asyncio
from random import Random
from typing import Any

import pytest

from model_deployment.proxy import model_pool, standing
from tests.support.proxy_front import KEY
from tests.support.raw_http import post
from tests.support.targets import Mode, Switch, send, targets
from tests.support.upstreams import HeldUpstream, echo
from tests.support.waiting import until


async def test_a_launch_that_refuses_connections_costs_nobody_anything() -> None:
    async with targets(echo, echo, echo, recovery_timeout=0) as it:
        await it.servers[0].stop_listening()
        assert await it.ask(200, callers=8) == {200: 200}
        assert it.seen[0] == 0
        assert it.twice == []
        assert it.front.failures > 0
        assert it.front.routes.counters(KEY).in_flight == 0


@pytest.mark.parametrize(
    ("mode", "status"), [(Mode.RESET, 502), (Mode.HANG, 504), (Mode.FAIL, 502)]
)
async def test_a_launch_that_breaks_is_left_out_until_it_answers_again(
    mode: Mode, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(standing, "LONGEST_PAUSE", 60.0)
    bad = Switch()
    async with targets(bad, echo, echo, read_timeout=0.3) as it:
        bad.mode = mode
        found = await it.ask(300, callers=6)
        # In flight at the same time at most a third of the callers; of errors five in a row.
        most = 2 + (standing.ERRORS_IN_ROW if mode is Mode.FAIL else 1)
        assert found == {200: 300 - found[status], status: found[status]}
        assert 1 <= found[status] <= most
        assert it.seen[0] == found[status]
        assert it.twice == []
        bad.mode = Mode.ECHO
        assert await it.ask(30, start=1000) == {200: 30}
        assert it.seen[0] == found[status], "the pause is not over"


@pytest.mark.parametrize("mode", [Mode.RESET, Mode.FAIL])
async def test_a_launch_that_answers_again_is_as_good_as_before(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "FIRST_PAUSE", 0.05)
    bad = Switch()
    async with targets(bad, echo, echo) as it:
        bad.mode = mode
        await it.ask(60, callers=3)
        bad.mode = Mode.ECHO
        before, asked = it.seen[0], 1000

        async def is_asked() -> bool:
            nonlocal asked
            asked += 1
            return await it.ask(start=asked) == {200: 1} and it.seen[0] > before

        await until(is_asked, what="a request that tries it")
        before = it.seen[0]
        assert await it.ask(30, start=5000) == {200: 30}
        assert it.seen[0] == before + 10
        assert it.twice == []


async def test_a_broken_launch_that_stays_so_costs_a_request_for_each_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "FIRST_PAUSE", 0.02)
    bad = Switch()
    bad.mode = Mode.RESET
    async with targets(bad, echo) as it:
        began, n = asyncio.get_running_loop().time(), 0
        while asyncio.get_running_loop().time() < began + 0.7:
            n += 1
            await it.ask(start=n)
        # 0.02 + 0.04 + 0.08 + 0.16 + 0.32 s have passed: at most five pauses.
        assert 2 <= it.seen[0] <= 6
        assert n > 50
        assert it.twice == []


async def test_a_deployment_whose_model_cannot_answer_some_loses_no_launch() -> None:
    modes = [Switch() for _ in range(3)]
    for one in modes:
        one.mode = Mode.FAIL
    async with targets(*modes) as it:
        assert await it.ask(60, callers=3) == {502: 60}
        assert min(it.seen) > 10


async def test_if_all_launches_are_gone_requests_wait_for_the_next_one() -> None:
    async with targets(echo, echo, echo, echo, recovery_timeout=10) as it:
        it.publish(1, 2, 3)
        for server in it.servers[:3]:
            await server.stop_listening()
        asking = asyncio.create_task(it.ask())
        await until(lambda: it.front.routes.counters(KEY).waiting == 1, what="a waiting request")
        it.publish(2, 3)
        it.publish(3)
        assert it.front.routes.counters(KEY).waiting == 1
        it.publish(3, 4)
        assert await asking == {200: 1}
        assert it.seen == [0, 0, 0, 1]


async def test_a_launch_that_takes_no_connection_in_time_gets_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(pool: model_pool.ModelPool) -> Any:
        if pool._address.port == dead:
            await asyncio.sleep(60)
        return await opens(pool)

    opens: Any = model_pool.ModelPool._open
    monkeypatch.setattr(model_pool, "_CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr(model_pool.ModelPool, "_open", never)
    async with targets(echo, echo) as it:
        dead = it.servers[0].port
        assert await it.ask(20, callers=4) == {200: 20}
        assert it.seen == [0, 20]
        assert it.front.routes.traffic("launch-1").timeouts_in_row >= 1
        it.publish(1)
        assert await it.ask(start=100) == {504: 1}
        assert it.seen == [0, 20]


async def test_what_waits_for_its_turn_goes_to_another_launch_if_its_own_is_gone() -> None:
    held = HeldUpstream()
    async with targets(held, echo, connections=1, queue=10, recovery_timeout=0.1) as it:
        it.publish(1)
        sent = await send(it.front, post(b"sent"))
        await until(lambda: held.held == 1)
        queued = await send(it.front, post(b"queued"))
        await until(lambda: it.traffic(1) == 2)
        it.publish(2)
        (await sent.receive()).problem(502)
        assert (await queued.receive()).body == b"queued"
        assert [request.body for request in it.servers[1].requests] == [b"queued"]
        assert it.twice == []


@pytest.mark.parametrize("seed", range(6))
async def test_no_body_is_sent_twice_whatever_servers_do(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "FIRST_PAUSE", 0.01)
    chance = Random(seed)
    switches = [Switch() for _ in range(4)]
    async with targets(*switches, read_timeout=0.2, recovery_timeout=0.3) as it:
        done = False

        async def disturb() -> None:
            while not done:
                chance.choice(switches).mode = chance.choice(list(Mode))
                routed = chance.sample(range(1, 5), chance.randint(0, 4))
                it.publish(*sorted(routed), waits=True)
                await asyncio.sleep(chance.uniform(0, 0.02))
            for one in switches:
                one.mode = Mode.ECHO
            it.publish(1, 2, 3, 4)

        disturbing = asyncio.create_task(disturb())
        found = await it.ask(400, callers=12)
        done = True
        await disturbing
        assert it.twice == []
        assert found.keys() <= {200, 502, 503, 504}
        assert found[200] >= 20
        await until(lambda: it.front.routes.counters(KEY).in_flight == 0, what="the end of all")


async def test_answers_name_the_launch_that_broke() -> None:
    bad = Switch()
    async with targets(echo, bad) as it:
        bad.mode = Mode.FAIL
        assert await it.ask(4) == {200: 2, 502: 2}
        assert {launch for launch, _ in it.front.traces} == {"launch-2"}
