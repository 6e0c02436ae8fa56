"""Copies of requests for a candidate: counted and recorded, and of no harm to any caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.core.routes import Route
from model_deployment.proxy import shadow
from tests.support.endpoint_front import (
    CANDIDATE,
    CHAMPION,
    JSON,
    PATH,
    EndpointFront,
    endpoint_front,
)
from tests.support.gates import column, gate
from tests.support.raw_http import post
from tests.support.upstreams import Behave, HeldUpstream, Peer, answers
from tests.support.waiting import until

FRAME = b'{"predictions": [NaN]}'


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.shadowed_answers: list[tuple[Any, ...]] = []
        self.endpoints: list[str] = []
        self.violations = 0

    def predicted(self, *told: Any) -> None:
        *_, endpoint, _, _ = told
        self.endpoints.append(endpoint)

    def shadowed(
        self,
        route: Route,
        rollout: int,
        request_id: str,
        answer: bytes,
        status: int,
        seconds: float,
        launch_id: str | None = None,
    ) -> None:
        assert launch_id == f"launch-{CANDIDATE}"
        assert 0 < seconds < 30
        self.shadowed_answers.append((route.key, rollout, request_id, answer, status))

    def flush(self) -> None:
        pass

    def relayed(self, *told: Any) -> None:
        pass

    def failed(self, *told: Any) -> None:
        pass

    def broke(self, *told: Any) -> None:
        pass

    def violated(self, *told: Any, passed: bool = False) -> None:
        self.violations += 1


@asynccontextmanager
async def shadowing(
    candidate: Behave, champion: Behave | None = None, **options: Any
) -> AsyncIterator[EndpointFront]:
    async with endpoint_front(champion, candidate, **options) as ends:
        ends.publish(stage="shadow", shadow=1.0)
        yield ends


async def counted(ends: EndpointFront, times: int) -> StageCounts:
    """The counts, once there are so many."""

    def all_there() -> bool:
        return ends.counts("shadow").candidate.requests + ends.counts("shadow").dropped == times

    await until(all_there, what=f"{times} copies")
    return ends.counts("shadow")


async def test_each_copy_is_compared_and_recorded_and_nothing_else() -> None:
    recorder = Recorder()
    nan = answers(FRAME, headers=[("Content-Type", JSON)])
    async with shadowing(nan, recorder=recorder) as ends:
        for number in range(3):
            assert (
                await ends.ask(x_request_id=f"r{number}", x_a="1")
            ).body == b'{"predictions": [1]}'
            counts = await counted(ends, number + 1)
        assert counts.champion.requests == counts.candidate.requests == 3
        assert (counts.candidate_only, counts.champion_only) == (3, 0)
        assert counts.candidate.failures == {"null": 3}
        answer = b'{"predictions": [null]}'
        assert recorder.shadowed_answers == [
            (CANDIDATE, 7, f"r{number}", answer, 200) for number in range(3)
        ]
        assert recorder.endpoints == ["iris@champion"] * 3
        sent = [request.get("x-a") for request in ends.candidate.requests]
        assert sent == ["1"] * 3
        traffic: LaunchTraffic = ends.front.routes.traffic(f"launch-{CANDIDATE}")
        assert (traffic.in_flight, traffic.reading) == (0, 0)


@pytest.mark.parametrize(
    ("said", "failures"),
    [
        (b'{"predictions": [2.5]}', {}),
        (b'{"predictions": ["2.5"]}', {"shape": 1}),
        (b'{"predictions": [2.5, 2.5]}', {"shape": 1}),
        (b'{"predictions": [null]}', {"null": 1}),
    ],
)
async def test_an_answer_that_callers_could_not_use_has_failed(
    said: bytes, failures: dict[str, int]
) -> None:
    async with shadowing(answers(said, headers=[("Content-Type", JSON)])) as ends:
        assert (await ends.ask()).status == 200
        assert (await counted(ends, 1)).candidate.failures == failures


async def cut(peer: Peer) -> None:
    await peer.next()


@pytest.mark.parametrize("breaks", ["candidate", "champion", "both"])
async def test_who_fails_alone(breaks: str) -> None:
    champion = cut if breaks != "candidate" else None
    candidate = cut if breaks != "champion" else answers(b"{}", headers=[("Content-Type", JSON)])
    async with shadowing(candidate, champion) as ends:
        assert (await ends.ask()).status == (200 if champion is None else 502)
        counts = await counted(ends, 1)
        assert (counts.candidate_only, counts.champion_only) == (
            breaks == "candidate",
            breaks == "champion",
        )
        assert counts.candidate.failures == ({} if breaks == "champion" else {"502": 1})


async def test_the_gate_of_the_candidate_refuses_a_copy_and_of_nothing_else_it_is_told() -> None:
    recorder = Recorder()

    def gates(route: Route) -> Any:
        return gate(column("string" if route.key == CHAMPION else "long"))

    async with shadowing(cut, gates=gates, recorder=recorder) as ends:
        assert (await ends.ask(b'{"a": 1.5}')).status == 422
        assert (await ends.ask(b'{"a": "x"}')).status == 200
        counts = await counted(ends, 1)
        assert counts.candidate.failures == {"refused": 1}
        assert recorder.violations == 1
        assert [told[-1] for told in recorder.shadowed_answers] == [422]
        assert ends.candidate.requests == []


async def test_a_candidate_that_hangs_delays_nobody_and_the_queue_is_bounded() -> None:
    held = HeldUpstream()
    async with shadowing(held) as ends:
        caller = await ends.front.call()
        for _ in range(shadow._MOST + 11):
            assert (await caller.ask(post(b"{}", PATH, content_type=JSON))).status == 200
            await until(lambda: held.held == 1, what="the first copy at the candidate")
        assert ends.counts("shadow").dropped == 10
        held.open()
        counts = await counted(ends, shadow._MOST + 11)
        assert counts.candidate.requests == shadow._MOST + 1
        # It answers, though with nothing that callers of the champion could read.
        assert counts.candidate.failures == {"shape": shadow._MOST + 1}


async def test_a_candidate_that_is_busy_or_gone_gets_no_copy() -> None:
    held = HeldUpstream()
    async with shadowing(held) as ends:
        own = await ends.front.call()
        await own.send(post(b"{}", "/iris-2"))
        await until(lambda: held.held == 1, what="its own caller")
        await ends.ask()
        assert (await counted(ends, 1)).dropped == 1
        held.open()
        await own.receive()
        starting = ends.route(CANDIDATE, State.STARTING)
        ends.publish(ends.route(CHAMPION), starting, stage="shadow", shadow=1.0)
        await ends.ask()
        assert (await counted(ends, 2)).dropped == 2
        ends.publish(ends.route(CHAMPION), stage="shadow", shadow=1.0)
        assert (await ends.ask()).status == 200


async def test_copies_under_way_end_with_the_proxy() -> None:
    held = HeldUpstream()
    async with shadowing(held) as ends:
        await ends.ask()
        await ends.ask()
        await until(lambda: held.held == 1, what="the first copy at the candidate")
