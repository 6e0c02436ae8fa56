"""A deployment with several launches whose requests are merged."""

from model_deployment.core.options import Options
from tests.support.gates import column, gate
from tests.support.held_requests import Held, question
from tests.support.proxy_front import KEY
from tests.support.targets import send, targets
from tests.support.waiting import until


async def test_requests_are_merged_for_each_launch_by_itself() -> None:
    models = [Held(), Held()]
    options = Options(batch_max_rows=8)
    async with targets(*models, gate=gate(column("long")), options=options) as it:
        callers = []
        for n in range(8):
            callers.append(await send(it.front, question(n)))
            await until(lambda n=n: it.traffic(1) + it.traffic(2) == n + 1)  # type: ignore[misc]
        firsts = [await model.next() for model in models]
        assert [len(one.values) for one in firsts] == [1, 1]
        for one in firsts:
            one.predict()
        merged = [await model.next() for model in models]
        assert [len(one.values) for one in merged] == [3, 3]
        for one in merged:
            one.predict()
        for n, caller in enumerate(callers):
            assert b'"of %d"' % n in (await caller.receive()).body.replace(b'": "', b'":"')
        assert it.front.routes.counters(KEY).batches == 2


async def test_what_is_merged_for_a_launch_that_is_gone_goes_to_another_at_once() -> None:
    models = [Held(), Held()]
    options = Options(batch_max_rows=8)
    check = gate(column("long"))
    async with targets(*models, gate=check, options=options, recovery_timeout=0.1) as it:
        it.publish(1)
        first = await send(it.front, question(0))
        asked = await models[0].next()
        waiting = [await send(it.front, question(n)) for n in (1, 2)]
        await until(lambda: it.traffic(1) == 3)
        await it.servers[0].stop_listening()
        it.publish(1, 2)
        asked.break_off()
        (await first.receive()).problem(502)
        for _ in range(2):
            (await models[1].next()).predict()
        assert {(await caller.receive()).status for caller in waiting} == {200}


async def test_batching_turned_off_by_one_launch_is_off_for_all() -> None:
    models = [Held(), Held()]
    options = Options(batch_max_rows=8)
    async with targets(*models, gate=gate(column("long")), options=options) as it:
        callers = []
        for n in range(6):
            callers.append(await send(it.front, question(n)))
            await until(lambda n=n: it.traffic(1) + it.traffic(2) == n + 1)  # type: ignore[misc]
        for model in models:
            (await model.next()).predict()
        for model in models:
            (await model.next()).say({"predictions": ["too few"]})
        for model in models:
            for one in (await model.next_ones(2)).values():
                one.predict()
        assert {(await caller.receive()).status for caller in callers} == {200}
        assert [text for _, text in it.front.events if "turned off" in text] == [
            "batching was turned off: the model answered a call of 2 rows with 1 predictions"
        ]
        late = [await send(it.front, question(n)) for n in (7, 8, 9, 10)]
        for model in models:
            for one in (await model.next_ones(2)).values():
                one.predict()
        assert {(await caller.receive()).status for caller in late} == {200}
