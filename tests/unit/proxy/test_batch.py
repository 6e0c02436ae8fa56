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


async def test_large_request_goes_whole_and_at_once_beside_the_others() -> None:
    desk = Desk(max_rows=3)
    first = await desk.busy()
    small = [await desk.call(marker) for marker in (1, 2)]
    large = await desk.call(3, 4, 5, 6)
    assert desk.rows[1:] == [[3, 4, 5, 6]]
    assert not desk.asked[1].merged
    await desk.asked[1].returns()
    assert loads((await large).content) == {"predictions": predicted(3, 4, 5, 6)}
    # It took no turn of the others.
    await first.returns()
    assert desk.rows[2:] == [[1, 2]]
    await desk.asked[2].returns()
    assert [(await one).status for one in small] == [200, 200]


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
