"""Merged calls that go wrong, and callers who leave them."""

import asyncio
from typing import Any

import pytest

from model_deployment.core.errors import ModelBroke, UpstreamTimeout
from model_deployment.proxy import batch
from model_deployment.proxy.upstream import LaunchRemoved
from tests.support.batching import Desk, given, settle


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let time pass at once."""
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + seconds)


@pytest.mark.parametrize("status", [400, 422, 500, 504])
async def test_merged_call_that_fails_is_retried_alone_once(status: int) -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(marker) for marker in (1, 2, 3)]
    await first.returns()
    desk.asked[1].says({"error_code": "BAD_REQUEST", "message": "2 is bad"}, status)
    await settle()
    assert desk.rows[2:] == [[1], [2], [3]]
    assert not any(asked.merged for asked in desk.asked[2:])
    desk.asked[3].says({"error_code": "BAD_REQUEST", "message": "2 is bad"}, status)
    await desk.asked[2].returns()
    await desk.asked[4].returns()
    answers = [await one for one in callers]
    assert [answer.status for answer in answers] == [200, status, 200]
    assert [given(answers[0]), given(answers[2])] == [[-1], [-3]]
    assert len(desk.asked) == 5
    assert desk.batcher.merging
    assert desk.told == []


@pytest.mark.parametrize("error", [ModelBroke("it"), RuntimeError("ours")])
async def test_merged_call_without_an_answer_is_retried_alone(error: Exception) -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    await desk.asked[1].fails(error)
    assert desk.rows[2:] == [[1], [2]]
    await desk.asked[2].returns()
    await desk.asked[3].fails(ModelBroke("again"))
    assert given(await callers[0]) == [-1]
    with pytest.raises(ModelBroke, match="again"):
        await callers[1]
    assert len(desk.asked) == 4


async def test_tables_that_cannot_be_joined_go_one_by_one() -> None:
    def join(tables: object) -> Any:
        raise ValueError("no")

    desk = Desk(join=join)
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    assert desk.rows == [[0], [1], [2]]
    for asked in desk.open:
        await asked.returns()
    assert [given(await one) for one in callers] == [[-1], [-2]]


async def test_retry_that_hangs_holds_up_no_other() -> None:
    desk = Desk()
    first = await desk.busy()
    await desk.call(1)
    other = await desk.call(2)
    await first.returns()
    await desk.asked[1].fails(ModelBroke("it"))
    await desk.asked[3].returns()
    assert given(await other) == [-2]
    await desk.call(3)  # the failed call is over, and its place is free
    assert desk.rows[4:] == [[3]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"predictions": [1]}, "1 predictions"),
        ({"predictions": [1, 2, 3]}, "3 predictions"),
        ({"predictions": []}, "0 predictions"),
        ({"predictions": {"0": 1, "1": 2}}, "no list of predictions"),
        ({"predictions": [1, 2], "metadata": {}}, "no list of predictions"),
        ([1, 2], "no list of predictions"),
        ("text", "no list of predictions"),
    ],
)
async def test_merging_ends_with_an_answer_that_cannot_be_split(content: Any, words: str) -> None:
    desk = Desk(max_rows=2, calls=1)
    first = await desk.busy()
    callers = [await desk.call(marker) for marker in (1, 2, 3, 4)]
    await first.returns()
    desk.asked[1].says(content)
    await settle()
    assert [words in why for why in desk.told] == [True]
    assert sorted(desk.rows[2:]) == [[1], [2], [3], [4]]  # the waiting ones as well
    callers.append(await desk.call(5))
    assert desk.rows[6:] == [[5]]
    for asked in desk.open:
        assert not asked.merged
        await asked.returns()
    assert [given(await one) for one in callers] == [[-1], [-2], [-3], [-4], [-5]]
    assert len(desk.asked) == 7


async def test_merging_ends_once_for_several_such_calls() -> None:
    desk = Desk(max_rows=2, calls=2)
    first, _ = await desk.busy(), await desk.busy()
    callers = [await desk.call(marker) for marker in (1, 2, 3, 4)]
    await first.returns()
    await desk.asked[1].returns()
    for asked in desk.open:
        asked.says({"predictions": []})
    await settle()
    assert len(desk.told) == 1
    assert sorted(desk.rows[4:]) == [[1], [2], [3], [4]]
    for asked in desk.open:
        await asked.returns()
    assert [given(await one) for one in callers] == [[-1], [-2], [-3], [-4]]


async def test_caller_that_leaves_the_queue_is_skipped() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(marker) for marker in (1, 2, 3)]
    callers[1].cancel()
    await settle()
    assert callers[1].cancelled()
    await first.returns()
    assert desk.rows[1:] == [[1, 3]]
    await desk.asked[1].returns()
    assert [given(await callers[0]), given(await callers[2])] == [[-1], [-3]]


async def test_caller_that_leaves_a_merged_call_affects_no_other() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    callers[0].cancel()
    await settle()
    await desk.asked[1].fails(ModelBroke("it"))
    assert desk.rows[2:] == [[2]]  # and nobody asks again for one who is gone
    await desk.asked[2].returns()
    assert given(await callers[1]) == [-2]


async def test_caller_that_leaves_frees_its_call() -> None:
    desk = Desk()
    caller = await desk.call(1)
    await desk.call(2)
    caller.cancel()
    await settle()
    assert desk.rows == [[1], [2]]
    assert desk.asked[0].answer.cancelled()  # his connection is closed


async def test_queue_whose_callers_all_left_sends_nothing() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    for caller in callers:
        caller.cancel()
    await settle()
    await first.returns()
    assert desk.rows == [[0]]
    await desk.call(3)
    assert desk.rows == [[0], [3]]


async def test_launch_removed_fails_all_and_sends_nothing_again() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    await desk.asked[1].fails(LaunchRemoved())
    for caller in callers:
        with pytest.raises(LaunchRemoved):
            await caller
    assert len(desk.asked) == 2


async def test_merged_call_that_is_cancelled_leaves_no_caller_waiting() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    desk.asked[1].answer.cancel()
    await settle()
    assert all(caller.cancelled() for caller in callers)
    await desk.call(3)
    assert desk.rows[2:] == [[3]]


async def test_retries_at_the_same_time_are_limited() -> None:
    desk = Desk(max_rows=20)
    first = await desk.busy()
    callers = [await desk.call(marker) for marker in range(1, 13)]
    await first.returns()
    await desk.asked[1].fails(ModelBroke("it"))
    assert desk.rows[2:] == [[marker] for marker in range(1, 9)]
    # Those who come meanwhile do not wait for the end of that.
    callers.append(await desk.call(13))
    assert desk.rows[10:] == [[13]]
    await desk.asked[10].returns()
    callers[9].cancel()
    await settle()
    for marker in (9, 11, 12):
        await desk.open[0].returns()
        assert desk.rows[-1] == [marker]  # and not the tenth, who is gone
        assert len(desk.open) == 8
    while desk.open:
        await desk.open[0].returns()
    del callers[9]
    assert [given(await one) for one in callers] == [
        [-marker] for marker in range(1, 14) if marker != 10
    ]
    assert len(desk.asked) == 14


async def test_retries_are_limited_across_failed_calls() -> None:
    desk = Desk(max_rows=6, calls=2)
    first, _ = await desk.busy(), await desk.busy()
    callers = [await desk.call(marker) for marker in range(1, 13)]
    await first.returns()
    await desk.asked[1].returns()
    for asked in desk.open:
        await asked.fails(ModelBroke("it"))
    assert len(desk.open) == 8
    while desk.open:
        await desk.open[0].returns()
    assert [given(await one) for one in callers] == [[-marker] for marker in range(1, 13)]


async def test_queue_timeout_fails_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(queue_timeout=70)
    first = await desk.busy()
    early = await desk.call(1)
    later(monkeypatch, 60)
    late = await desk.call(2)
    later(monkeypatch, 15)
    await first.returns()
    assert desk.rows == [[0], [2]]
    with pytest.raises(
        UpstreamTimeout, match="cannot predict: no worker of the model became free within 75 s"
    ) as caught:
        await early
    assert caught.value.status == 504
    await desk.asked[1].returns()
    assert given(await late) == [-2]


async def test_merged_call_that_fails_late_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(queue_timeout=70)
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    later(monkeypatch, 100)
    await desk.asked[1].fails(UpstreamTimeout("it"))
    for asked in desk.open:
        await asked.returns()
    assert [given(await one) for one in callers] == [[-1], [-2]]


async def test_queue_timeout_ends_the_wait_behind_retries_that_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(queue_timeout=70)
    first = await desk.busy()
    callers = [await desk.call(marker) for marker in range(1, 11)]
    await first.returns()
    await desk.asked[1].fails(ModelBroke("it"))
    assert len(desk.open) == 8
    later(monkeypatch, 71)
    await desk.open[0].returns()
    assert given(await callers[0]) == [-1]
    for caller in callers[8:]:
        with pytest.raises(UpstreamTimeout, match="within 71 s"):
            await caller
    assert len(desk.asked) == 10


async def test_answer_that_cannot_be_written_leaves_no_caller_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()

    def fails(rows: list[Any]) -> bytes:
        raise ValueError("no")

    desk.asked[1].says({"predictions": [1, 2]})
    monkeypatch.setattr(batch, "answer_of", fails)
    await settle()
    for asked in desk.open:
        asked.says({"predictions": [3]})
    assert [given(await one) for one in callers] == [[3], [3]]
