"""Models that do not answer as they should: every caller gets a clear answer, and the counters hold."""

import asyncio
from pathlib import Path

import pytest

from model_deployment.core.domain import State
from model_deployment.core.routes import Route
from model_deployment.recording.model_errors import Failure
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool
from model_deployment.recording.windows import TrafficWindows
from tests.support.proxy_front import KEY, LAUNCH, LIMIT, Front, Serve
from tests.support.raw_http import Message, chunks, post, post_chunked
from tests.support.upstreams import Behave, HeldUpstream, Peer, answers, echo, silent
from tests.support.waiting import until

LARGE = 3_000_000


def says(*data: bytes, reset: bool = False) -> Behave:
    """Takes a request, says this, and closes the connection."""

    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.send(*data)
        if reset:
            peer.reset()

    return behave


async def test_a_model_that_refuses_connections(serve: Serve) -> None:
    front = await serve(echo, recovery_timeout=0.1)
    await front.upstream.stop_listening()
    answer = await front.ask(post(b"x"))
    problem = answer.problem(503)
    assert answer.get("retry-after") == "1"
    assert "iris-1" in problem["detail"]
    assert front.failures == 1
    assert front.idle()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_a_small_answer_that_breaks_off(serve: Serve, data: bytes, reset: bool) -> None:
    front = await serve(says(data, reset=reset))
    (await front.ask(post(b"x"))).problem(502)
    assert front.failures == 1
    assert len(front.upstream.requests) == 1
    assert front.idle()
    assert front.traffic.answered == 0


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 What\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 0\r\n\r\n" % bytes(100_000),
    ],
)
async def test_an_answer_that_is_none(serve: Serve, data: bytes) -> None:
    front = await serve(says(data))
    (await front.ask(post(b"x"))).problem(502)
    assert front.failures == 1
    assert front.idle()
    assert len(front.upstream.requests) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("length", [None, LARGE])
async def test_a_streamed_answer_that_breaks_off_does_not_look_whole(
    serve: Serve, length: int | None, reset: bool
) -> None:
    go_on = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin(b"first", length=length)
        await go_on.wait()
        if reset:
            peer.reset()

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post())
    answer = await caller.head()
    assert answer
    assert await caller.piece(answer) == b"first"
    go_on.set()
    with pytest.raises(asyncio.IncompleteReadError):
        await caller.piece(answer)
    assert await caller.ended()
    assert front.idle()
    assert front.failures == 1
    assert front.traffic.answered == 0


async def test_an_answer_that_ends_with_its_connection(serve: Serve) -> None:
    front = await serve(says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"))
    answer = await front.ask(post())
    assert (answer.status, answer.body) == (200, b"all of it")
    assert front.traffic.answered == 1


async def test_a_model_that_does_not_answer(serve: Serve) -> None:
    front = await serve(silent, read_timeout=0.1)
    for number in range(1, 4):
        (await front.ask(post(b"x"))).problem(504)
        assert front.traffic.timeouts_in_row == number
        assert front.failures == number
    assert front.idle()
    assert front.traffic.answered == 0
    await until(lambda: front.upstream.open == 0, what="the end of connections of no more use")


@pytest.mark.parametrize("length", [100, LARGE, None])
async def test_a_model_that_stops_in_the_middle_of_its_answer(
    serve: Serve, length: int | None
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin(b"first", length=length)
        await peer.ended()

    front = await serve(behave, read_timeout=0.1)
    caller = await front.call()
    await caller.send(post())
    if length == 100:
        (await caller.receive()).problem(504)
    else:
        answer = await caller.head()
        assert answer
        with pytest.raises(asyncio.IncompleteReadError):
            await caller.rest(answer)
    assert front.traffic.timeouts_in_row == 1
    assert front.traffic.answered == 0
    assert front.idle()


async def test_time_outs_in_a_row_end_with_an_answer(serve: Serve) -> None:
    statuses = iter([504, 504, 500, 504, 200])

    async def behave(peer: Peer) -> None:
        while await peer.next():
            await peer.answer(b"", next(statuses))

    front = await serve(behave)
    caller = await front.call()
    counted = []
    for _ in range(5):
        await caller.ask(post())
        counted.append((front.traffic.timeouts_in_row, front.traffic.answered))
    assert counted == [(1, 0), (2, 0), (0, 1), (1, 1), (0, 2)]
    assert front.failures == 0


async def test_a_request_is_finished_after_its_route_was_taken_back(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post(b"x"))
    await until(lambda: gate.held, what="the request at the model")
    front.publish(front.route(state=State.STOPPING))
    (await front.ask(post())).problem(503)
    assert front.traffic.in_flight == 1
    gate.open()
    assert (await caller.receive()).body == b"x"
    assert front.idle()


async def _dropped(front: Front, gate: HeldUpstream) -> list[Message]:
    """The answers of four callers of two connections, whose launch goes meanwhile."""
    callers = [await front.call() for _ in range(4)]
    for caller in callers:
        await caller.send(post())
    await until(lambda: (gate.held, front.traffic.in_flight) == (2, 4), what="callers")
    front.publish()
    return [await caller.receive() for caller in callers]


async def test_a_dropped_launch_takes_its_requests_with_it(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=2)
    found = await _dropped(front, gate)
    # Those that waited never reached the model, and may simply be sent again.
    assert sorted(answer.status for answer in found) == [502, 502, 503, 503]
    assert {answer.get("retry-after") for answer in found if answer.status == 503} == {"1"}
    await until(lambda: gate.left == 2, what="closed connections")
    assert len(front.upstream.requests) == 2
    assert front.failures == 0


async def test_a_dropped_launch_cuts_the_answer_it_was_giving(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin(b"first")
        await peer.ended()

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post())
    answer = await caller.head()
    assert answer
    assert await caller.piece(answer) == b"first"
    front.publish()
    with pytest.raises(asyncio.IncompleteReadError):
        await caller.piece(answer)
    await until(lambda: front.upstream.open == 0, what="closed connections")


async def test_a_body_that_is_still_coming_when_the_launch_goes(serve: Serve) -> None:
    front = await serve(echo)
    unsent, sent = await front.call(), await front.call()
    await unsent.send(post(content_length="10"))
    await sent.send(post_chunked(b"first", end=False))
    assert (await front.ask(post(b"x"))).body == b"x"
    front.publish()
    answers = [await sent.ask(chunks(b"last", end=True)), await unsent.ask(bytes(10))]
    for answer in answers:
        answer.problem(503)
        assert answer.get("retry-after") == "1"
    assert [request.body for request in front.upstream.requests] == [b"x"]


async def test_a_launch_takes_the_place_of_another(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    await caller.ask(post())
    front.publish(front.route(launch="launch-2"))
    assert (await caller.ask(post(b"x"))).body == b"x"
    assert front.upstream.connections == 2
    assert front.routes.traffic("launch-2").answered == 1
    assert front.traffic.answered == 0


async def test_a_model_that_leaves_in_the_middle_of_the_body(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        await peer.head()

    front = await serve(behave, limit=4 * LIMIT)
    caller = await front.call()
    for number in (1, 2):
        (await caller.ask(post(bytes(4 * LIMIT)))).problem(502)
        assert front.failures == number
    assert front.idle()
    assert len(front.upstream.requests) == 2


async def test_counts_answers(serve: Serve) -> None:
    front = await serve(answers(b"ok"))
    caller = await front.call()
    for _ in range(5):
        await caller.ask(post())
    assert front.traffic.answered == 5
    assert front.upstream.connections == 1


class Notes(Recorder):
    """Notes what is recorded of failures."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Spool(folder, max_bytes=0), TrafficWindows("test"))
        self.failures: list[Failure] = []

    def broke(self, route: Route, failure: Failure) -> None:
        assert route.key == KEY
        self.failures.append(failure)


@pytest.mark.parametrize(
    ("behave", "status", "title"),
    [
        (answers(b"{}", 500), 502, "Model failed"),
        (answers(b'{"message": "the columns are too few"}', 422), 422, None),
        (answers(b"", 504), 504, "Model timed out"),
        (silent, 504, "Model timed out"),
        (says(b"HTTP/1.1 200 OK\r\n"), 502, "Model process broke"),
    ],
)
async def test_what_is_not_the_callers_fault_is_recorded(
    serve: Serve, tmp_path: Path, behave: Behave, status: int, title: str | None
) -> None:
    notes = Notes(tmp_path)
    front = await serve(behave, recorder=notes, read_timeout=0.2)
    answer = await front.ask(post(b"x", x_request_id="mine"))
    assert answer.status == status
    told = [(one.request_id, one.status, one.launch_id, one.title) for one in notes.failures]
    assert told == ([("mine", status, LAUNCH, title)] if title else [])


async def test_a_request_to_a_failed_deployment_is_recorded_too(
    serve: Serve, tmp_path: Path
) -> None:
    notes = Notes(tmp_path)
    front = await serve(echo, recorder=notes)
    front.publish(front.route(state=State.FAILED))
    (await front.ask(post(b"x"))).problem(503)
    assert [one.title for one in notes.failures] == ["Not ready"]
