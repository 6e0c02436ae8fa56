"""Merging requests that wait: each test one story, with a model that answers when it is told to."""

import threading
from functools import partial
from typing import Any

import pytest

from model_deployment.core.errors import ModelBroke
from model_deployment.gate import dumps, loads
from model_deployment.proxy import batch
from model_deployment.proxy.answers import UpstreamAnswer, answer_of, predictions
from tests.support.batching import Desk, given, predicted, settle
from tests.support.waiting import until


async def test_batcher_first_request_goes_at_once_unchanged() -> None:
    desk = Desk()
    caller = await desk.call(7)
    (asked,) = desk.asked
    assert not asked.merged
    await asked.returns()
    assert given(await caller) == [-7]
    assert desk.counted == []


async def test_batcher_merges_waiting_requests_in_order() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1, 2), await desk.call(3), await desk.call(4, 5)]
    assert len(desk.asked) == 1
    await first.returns()
    assert desk.rows[1:] == [[1, 2, 3, 4, 5]]
    assert desk.counted == [5]
    await desk.asked[1].returns()
    assert [given(await one) for one in callers] == [[-1, -2], [-3], [-4, -5]]


async def test_batcher_single_waiting_request_goes_unchanged() -> None:
    desk = Desk()
    first = await desk.busy()
    caller = await desk.call(1)
    await first.returns()
    assert not desk.asked[1].merged
    await desk.asked[1].returns()
    assert given(await caller) == [-1]
    assert desk.counted == []


async def test_batcher_calls_are_limited() -> None:
    desk = Desk(calls=2)
    for marker in range(1, 7):
        await desk.call(marker)
    assert desk.rows == [[1], [2]]
    await desk.asked[1].returns()
    assert desk.rows[2:] == [[3, 4, 5, 6]]
    await desk.asked[0].returns()
    await desk.call(7)
    await desk.call(8)
    assert desk.rows[3:] == [[7]]
    assert len(desk.open) == 2


async def test_batcher_idle_model_is_called_at_once() -> None:
    desk = Desk()
    for _ in range(2):
        await (await desk.busy()).returns()
    await desk.call(1)
    assert desk.rows == [[0], [0], [1]]
    assert len(desk.open) == 1


async def test_batcher_error_of_a_request_alone_reaches_its_caller() -> None:
    desk = Desk()
    first, second = await desk.call(1), await desk.call(2)
    await desk.asked[0].fails(ModelBroke("one"))
    await desk.asked[1].fails(ModelBroke("two"))
    with pytest.raises(ModelBroke, match="one"):
        await first
    with pytest.raises(ModelBroke, match="two"):
        await second
    assert len(desk.asked) == 2


async def test_batcher_keys_are_not_mixed_and_all_are_served() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(marker, p=marker % 2) for marker in (1, 2, 3, 4)]
    await first.returns()
    assert desk.rows[1:] == [[1, 3]]
    await desk.call(5, p=1)
    await desk.asked[1].returns()
    assert desk.rows[2:] == [[2, 4]]
    assert loads(desk.asked[2].question.content)["params"] == {"p": 0}
    await desk.asked[2].returns()
    assert desk.rows[3:] == [[5]]
    assert [given(await one) for one in callers] == [[-1], [-2], [-3], [-4]]


async def test_batcher_request_that_does_not_fit_goes_next() -> None:
    desk = Desk(max_rows=4)
    first = await desk.busy()
    for markers in ([1, 2, 3], [4, 5], [6], [7, 8, 9]):
        await desk.call(*markers)
    await first.returns()
    assert desk.rows[1:] == [[1, 2, 3, 6]]
    await desk.asked[1].returns()
    assert desk.rows[2:] == [[4, 5]]
    await desk.asked[2].returns()
    assert desk.rows[3:] == [[7, 8, 9]]


async def test_large_request_is_split_and_answered_as_one() -> None:
    desk = Desk(max_rows=4)
    caller = await desk.call(*range(10))
    for place, rows in enumerate(([0, 1, 2, 3], [4, 5, 6, 7], [8, 9])):
        assert desk.rows[place:] == [rows]
        assert not caller.done()
        await desk.asked[place].returns()
    assert given(await caller) == [-marker for marker in range(10)]
    assert desk.counted == []  # nothing of anybody else was in them


@pytest.mark.parametrize(("rows", "pieces"), [(8, [8]), (9, [8, 1]), (20, [8, 8, 4])])
async def test_large_request_alone_is_split_into_larger_pieces(
    rows: int, pieces: list[int]
) -> None:
    desk = Desk(max_rows=3, max_rows_alone=8)
    caller = await desk.call(*range(rows))
    for place in range(len(pieces)):
        await desk.asked[place].returns()
    assert [len(asked.rows) for asked in desk.asked] == pieces
    assert desk.asked[0].merged == (len(pieces) > 1)
    assert given(await caller) == predicted(*range(rows))
    assert desk.counted == []


async def test_large_request_that_waited_alone_is_split_into_larger_pieces() -> None:
    desk = Desk(max_rows=2, max_rows_alone=4)
    first = await desk.busy()
    caller = await desk.call(1, 2, 3, 4, 5)
    await first.returns()
    await desk.asked[1].returns()
    await desk.asked[2].returns()
    assert desk.rows[1:] == [[1, 2, 3, 4], [5]]
    assert given(await caller) == [-1, -2, -3, -4, -5]


async def test_large_request_beside_others_is_split_into_small_pieces() -> None:
    desk = Desk(max_rows=2, max_rows_alone=4)
    first = await desk.busy()
    callers = [await desk.call(1, 2, 3, 4, 5, 6, 7), await desk.call(8)]
    await first.returns()
    for place in range(1, 4):
        await desk.asked[place].returns()
    # The first two rows, the small one with another, and then nobody waits beside the rest.
    assert desk.rows[1:] == [[1, 2], [8, 3], [4, 5, 6, 7]]
    assert [given(await one) for one in callers] == [[-1, -2, -3, -4, -5, -6, -7], [-8]]
    assert desk.counted == [2]


async def test_large_request_pieces_alone_are_never_smaller() -> None:
    desk = Desk(max_rows=5, max_rows_alone=2)
    await desk.call(1, 2, 3, 4, 5)
    assert desk.rows == [[1, 2, 3, 4, 5]]
    assert not desk.asked[0].merged


async def test_large_request_pieces_may_be_answered_in_any_order() -> None:
    desk = Desk(max_rows=2, calls=3)
    caller = await desk.call(1, 2, 3, 4, 5)
    assert desk.rows == [[1, 2], [3, 4], [5]]
    for place in (2, 0, 1):
        await desk.asked[place].returns()
    assert given(await caller) == [-1, -2, -3, -4, -5]


async def test_request_of_exactly_the_limit_is_not_split() -> None:
    desk = Desk(max_rows=3)
    await desk.call(1, 2, 3)
    assert not desk.asked[0].merged


async def test_small_request_waits_for_one_piece_of_a_large_one_at_most() -> None:
    desk = Desk(max_rows=4)
    await desk.call(*range(100, 200))
    small = [await desk.call(1), await desk.call(2)]
    await desk.asked[0].returns()
    await desk.asked[1].returns()
    # The turn of the large one, and now theirs; what is left of the room is the large one's again.
    assert desk.rows[1:] == [[104, 105, 106, 107], [1, 2, 108, 109]]
    await desk.asked[2].returns()
    assert [given(await one) for one in small] == [[-1], [-2]]


async def test_large_requests_take_turns() -> None:
    desk = Desk(max_rows=2)
    first = await desk.busy()
    callers = [await desk.call(1, 2, 3, 4), await desk.call(11, 12, 13)]
    await first.returns()
    for place in range(1, 5):
        await desk.asked[place].returns()
    assert desk.rows[1:] == [[1, 2], [11, 12], [3, 4], [13]]
    assert [given(await one) for one in callers] == [[-1, -2, -3, -4], [-11, -12, -13]]


async def test_on_sent_is_called_when_rows_go_to_the_model() -> None:
    desk = Desk(max_rows=2)
    sent: list[int] = []
    for marker in (1, 2, 3, 4):
        desk.caller(marker, sent=partial(sent.append, marker))
    await settle()
    assert sent == [1]
    await desk.asked[0].returns()
    assert sent == [1, 2, 3]
    await desk.asked[1].returns()
    assert sent == [1, 2, 3, 4]


async def test_nan_is_null_in_a_part_of_an_answer() -> None:
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.call(1), await desk.call(2)]
    await first.returns()
    desk.asked[1].answer.set_result(UpstreamAnswer(200, [], b'{"predictions": [NaN, "NaN"]}'))
    assert [(await one).content for one in callers] == [
        b'{"predictions":[null]}',
        b'{"predictions":["NaN"]}',
    ]


@pytest.mark.parametrize("rows", [1, 30_000])
async def test_large_calls_are_processed_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    threads: list[bool] = []

    def spied(work: Any) -> Any:
        def spy(value: Any) -> Any:
            threads.append(threading.current_thread() is threading.main_thread())
            return work(value)

        return spy

    for name, work in (("dumps", dumps), ("predictions", predictions), ("answer_of", answer_of)):
        monkeypatch.setattr(batch, name, spied(work))
    desk = Desk(max_rows=2 * rows)
    first = await desk.busy()
    groups = [range(1, rows + 1), range(rows + 1, 2 * rows + 1)]
    callers = [await desk.call(*markers) for markers in groups]
    await first.returns()
    await until(lambda: len(desk.asked) == 2, what="the merged call")
    assert desk.rows[1] == [*groups[0], *groups[1]]
    await desk.asked[1].returns()
    for caller, markers in zip(callers, groups, strict=True):
        assert given(await caller) == predicted(*markers)
    # The body, the answer to it, and the answers to both.
    assert threads == [rows == 1] * 4
    assert desk.counted == [2 * rows]


async def test_pieces_answered_at_the_same_time_are_joined_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "LARGE", 0)
    monkeypatch.setattr(batch, "_MANY_CELLS", 0)
    markers = range(1000)
    for _ in range(5):
        desk = Desk(max_rows=20, calls=50)
        caller = await desk.call(*markers)
        await until(partial(desk.has_open, 50), what="all pieces")
        for asked in desk.open:
            asked.says({"predictions": predicted(*asked.rows)})
        assert given(await caller) == predicted(*markers)
        assert len(desk.asked) == 50


async def test_large_answer_of_small_pieces_is_written_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[bool] = []

    def spy(rows: list[Any]) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return answer_of(rows)

    monkeypatch.setattr(batch, "answer_of", spy)
    monkeypatch.setattr(batch, "LARGE", 100)
    desk = Desk(max_rows=10)
    caller = await desk.call(*range(50))
    for place in range(5):
        await desk.asked[place].returns()
        assert len(desk.asked[place].answer.result().content) <= 100
    assert given(await caller) == predicted(*range(50))
    assert threads == [False]
