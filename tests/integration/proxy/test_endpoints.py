"""Requests for an endpoint: the champion answers them, or the candidate of a rollout."""

from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import ArmCounts, StageCounts
from model_deployment.core.routes import Route
from model_deployment.proxy.split import position
from tests.support.endpoint_front import (
    CANDIDATE,
    CHAMPION,
    PATH,
    ROLLOUT,
    endpoint_front,
)
from tests.support.gates import column, gate
from tests.support.raw_http import post
from tests.support.upstreams import HeldUpstream, Peer
from tests.support.waiting import until

ONE, TWO = b'{"predictions": [1]}', b'{"predictions": [2]}'


async def test_the_champion_answers_on_all_paths_of_the_endpoint() -> None:
    async with endpoint_front() as ends:
        ends.publish(default=True)
        for path in (PATH, f"{PATH}/invocations", "/iris%40champion", "/iris", "/iris/invocations"):
            answer = await ends.ask(path=path)
            assert (answer.body, answer.get("x-model-version")) == (ONE, "1")
        ends.publish()
        for path in ("/iris", "/iris%40Champion", "/iris@Champion", f"{PATH}/", f"{PATH}/x"):
            assert (await ends.ask(path=path)).body == b"inside: " + path.encode()
        direct = await ends.ask(path="/iris-2")
        assert (direct.body, direct.get("x-model-version")) == (TWO, "2")


async def test_the_split_is_that_of_the_hash_and_the_header_tells_who_answered() -> None:
    async with endpoint_front() as ends:
        ends.publish(share=0.3)
        met = dict.fromkeys((1, 2), 0)
        for number in range(60):
            picked = 2 if position(ROLLOUT, b"r%d" % number) < 0.3 else 1
            met[picked] += 1
            await ends.ask_for(ONE if picked == 1 else TWO, picked, x_request_id=f"r{number}")
        counts = ends.counts()
        assert (counts.champion.requests, counts.candidate.requests) == (met[1], met[2])
        assert sum(counts.candidate.latencies.values()) == met[2] > 0
        assert counts.champion.failed == counts.candidate.failed == 0
        caller = (await ends.ask(x_route_key="alice")).body
        for _ in range(5):
            assert (await ends.ask(x_route_key="alice")).body == caller


def gates(champion: str, candidate: str) -> Any:
    def made(route: Route) -> Any:
        return gate(column(champion if route.key == CHAMPION else candidate))

    return made


async def test_a_candidate_that_is_not_there_is_not_missed() -> None:
    async with endpoint_front() as ends:
        ends.publish(ends.route(CHAMPION), share=1.0)
        await ends.ask_for(ONE, 1)
        starting = ends.route(CANDIDATE, State.STARTING)
        ends.publish(ends.route(CHAMPION), starting, share=1.0)
        await ends.ask_for(ONE, 1)
        assert ends.counts() == StageCounts()
        ends.publish(share=1.0)
        await ends.ask_for(TWO, 2)
        # It has served: now its process is gone.
        ends.publish(ends.route(CHAMPION), starting, share=1.0)
        await ends.ask_for(ONE, 1)
        assert ends.counts().candidate.requests == 2
        assert ends.counts().candidate.failures == {"503": 1}
        assert ends.counts().champion == ArmCounts()


async def test_a_candidate_that_does_not_accept_connections_is_answered_for() -> None:
    async with endpoint_front() as ends:
        ends.publish(share=1.0)
        await ends.candidate.stop_listening()
        for _ in range(3):
            await ends.ask_for(ONE, 1)
        assert ends.counts().candidate.failures == {"503": 3}
        assert ends.counts().champion == ArmCounts()


async def test_a_candidate_that_is_too_busy_is_answered_for() -> None:
    held = HeldUpstream()
    async with endpoint_front(candidate=held, connections=1, queue=0) as ends:
        ends.publish(share=1.0)
        waits = await ends.front.call()
        await waits.send(post(b"{}", PATH))
        await until(lambda: held.held == 1, what="the request at the candidate")
        await ends.ask_for(ONE, 1)
        held.open()
        assert (await waits.receive()).body == b"{}"
        assert ends.counts().champion == ArmCounts()
        assert ends.counts().candidate.failed == 0
        assert ends.counts().candidate.requests == 1


async def test_what_only_the_candidate_refuses_the_champion_answers() -> None:
    async with endpoint_front(gates=gates("string", "long")) as ends:
        ends.publish(share=1.0)
        assert (await ends.ask(b'{"a": 1}')).body == TWO
        assert (await ends.ask(b'{"a": "x"}')).body == ONE
        assert (await ends.ask(b'{"a"')).status == 400
        assert (await ends.ask(b'{"a": 1.5}')).status == 422
        counts = ends.counts()
        assert (counts.candidate.requests, counts.candidate.failures) == (2, {"refused": 1})
        assert counts.champion == ArmCounts()
        # Nobody was refused by the candidate.
        assert ends.front.routes.counters(CANDIDATE).refused == 0
        assert ends.front.routes.counters(CHAMPION).refused == 1


async def test_a_candidate_that_fails_with_a_request_fails_it() -> None:
    async def cut(peer: Peer) -> None:
        await peer.next()

    async with endpoint_front(candidate=cut) as ends:
        ends.publish(share=1.0)
        answer = await ends.ask(x_route_key="alice")
        assert answer.problem(502)
        assert answer.get("x-model-version") == "2"
        assert len(ends.champion.requests) == 0
        assert ends.counts().candidate.failures == {"502": 1}
        await ends.ask(x_route_key="alice")
        assert ends.counts().candidate.failures == {"502": 1}


async def test_what_the_model_itself_refuses_is_counted_for_both_versions() -> None:
    refuses = b'{"error_code": "BAD_REQUEST", "message": "Failed to enforce schema: no"}'

    async def refuse(peer: Peer) -> None:
        while await peer.next():
            await peer.answer(refuses, 400)

    async with endpoint_front(refuse, refuse) as ends:
        for share, counts in ((0.0, "champion"), (1.0, "candidate")):
            ends.publish(share=share)
            assert (await ends.ask()).status == 422
            assert getattr(ends.counts(), counts).failures == {"422": 1}


async def test_without_a_champion_the_endpoint_says_why() -> None:
    async with endpoint_front() as ends:
        for champion in (None, ModelKey("iris", 3)):
            ends.publish(champion=champion, reason="version 3 is deploying")
            answer = await ends.ask()
            assert "version 3 is deploying" in answer.problem(503)["detail"]
            assert answer.get("x-model-version") is None


@pytest.mark.parametrize("waits", [False, True])
async def test_callers_wait_for_a_champion_that_takes_anothers_place(waits: bool) -> None:
    async with endpoint_front() as ends:
        ends.publish(ends.route(CHAMPION, State.STARTING), waits=waits, candidate=None)
        caller = await ends.front.call()
        await caller.send(post(b"{}", PATH))
        if waits:
            waiting = ends.front.routes.counters
            await until(lambda: waiting(CHAMPION).waiting == 1, what="the caller who waits")
            ends.publish(candidate=None)
        assert (await caller.receive()).status == (200 if waits else 503)


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPING])
async def test_callers_go_over_to_the_champion_that_takes_the_place_of_a_failed_one(
    state: State,
) -> None:
    async with endpoint_front() as ends:
        starting, failed = [ends.route(CANDIDATE, at) for at in (State.STARTING, state)]
        back = ends.route(CHAMPION, State.PENDING)
        ends.publish(back, starting, champion=CANDIDATE, waits=True, candidate=None)
        callers = [await ends.front.call() for _ in range(2)]
        await callers[0].send(post(b"{}", PATH))
        waiting = ends.front.routes.counters
        await until(lambda: waiting(CANDIDATE).waiting == 1, what="the caller who waits")
        if state is State.FAILED:
            # It has failed before anybody has decided what to do about it.
            ends.publish(back, failed, champion=CANDIDATE, waits=True, candidate=None)
            await callers[1].send(post(b"{}", PATH))
            await until(lambda: waiting(CANDIDATE).waiting == 2, what="both callers")
        ends.publish(back, failed, waits=True, candidate=None)
        if state is not State.FAILED:
            await callers[1].send(post(b"{}", PATH))
        await until(lambda: waiting(CHAMPION).waiting == 2, what="both callers, once more")
        ends.publish(candidate=None)
        for caller in callers:
            answer = await caller.receive()
            assert (answer.body, answer.get("x-model-version")) == (ONE, "1")


async def test_the_champion_is_waited_for_and_the_candidate_is_not() -> None:
    async with endpoint_front() as ends:
        parked = [ends.route(key, State.PARKED, waits=True) for key in (CHAMPION, CANDIDATE)]
        ends.publish(*parked, share=1.0)
        caller = await ends.front.call()
        await caller.send(post(b"{}", PATH))
        counters = ends.front.routes.counters
        await until(lambda: counters(CHAMPION).waiting == 1, what="the caller who waits")
        assert counters(CANDIDATE).waiting == 0
        assert {*ends.front.woken} == {CHAMPION}
        ends.publish()
        assert (await caller.receive()).body == ONE


async def test_a_rollout_that_is_not_routed_any_more_is_forgotten() -> None:
    async with endpoint_front() as ends:
        ends.publish(share=1.0)
        await ends.ask_for(TWO, 2)
        ends.publish(champion=CANDIDATE, candidate=None, rollout=0, stage="")
        await ends.ask_for(TWO, 2)
        assert ends.front.routes.rollouts() == {}


async def test_a_request_ends_where_it_began() -> None:
    held = HeldUpstream()
    async with endpoint_front(champion=held) as ends:
        ends.publish()
        caller = await ends.front.call()
        await caller.send(post(b"{}", PATH))
        await until(lambda: held.held == 1, what="the request at the champion")
        ends.publish(champion=CANDIDATE, candidate=None, rollout=0, stage="")
        await ends.ask_for(TWO, 2)
        held.open()
        answer = await caller.receive()
        assert (answer.body, answer.get("x-model-version")) == (b"{}", "1")
