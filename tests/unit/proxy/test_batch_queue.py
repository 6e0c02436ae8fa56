"""Which of the waiting requests go to the model together, whatever waits."""

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import MergeableTable
from model_deployment.proxy.batch_queue import BatchQueue, QueuedRows

KEYS = st.sampled_from("ab")
WAITING = st.lists(st.tuples(st.integers(1, 40), KEYS), min_size=1, max_size=12)
MAX_ROWS = st.integers(1, 20)
ROWS_MORE = st.integers(0, 20)


def waiting(requests: list[tuple[int, str]]) -> list[QueuedRows]:
    return [
        QueuedRows(MergeableTable((key,), ([*range(rows)],), rows), (key,))
        for rows, key in requests
    ]


def queue_of(
    requests: list[QueuedRows], max_rows: int, max_rows_alone: int
) -> BatchQueue[QueuedRows]:
    queue = BatchQueue[QueuedRows](max_rows, max_rows_alone)
    for request in requests:
        queue.append(request)
    return queue


def test_batch_queue_empty_gives_nothing() -> None:
    assert queue_of([], 1, 1).take() == []


@given(WAITING, MAX_ROWS, ROWS_MORE)
def test_batch_queue_sends_each_row_once_and_in_order(
    requests: list[tuple[int, str]], max_rows: int, more: int
) -> None:
    queue = queue_of(waiting(requests), max_rows, max_rows + more)
    sent: dict[QueuedRows, list[int]] = {request: [] for request in queue}
    while len(queue):
        taken = queue.take()
        assert taken, "it does not end"
        for one in taken:
            sent[one.request] += one.table.values[0]
    assert all(rows == [*range(request.table.rows)] for request, rows in sent.items())


@given(WAITING, MAX_ROWS, ROWS_MORE)
def test_batch_queue_call_begins_with_the_oldest_request_and_has_its_key(
    requests: list[tuple[int, str]], max_rows: int, more: int
) -> None:
    queue = queue_of(waiting(requests), max_rows, max_rows + more)
    while len(queue):
        oldest = next(iter(queue))
        taken = queue.take()
        assert taken[0].request is oldest
        assert {one.request.key for one in taken} == {oldest.key}


@given(WAITING, MAX_ROWS, ROWS_MORE)
def test_batch_queue_call_is_within_its_limit_and_as_full_as_it_can_be(
    requests: list[tuple[int, str]], max_rows: int, more: int
) -> None:
    queue = queue_of(waiting(requests), max_rows, max_rows + more)
    while len(queue):
        limit = max_rows if len(queue) > 1 else max_rows + more
        taken = queue.take()
        room = limit - sum(one.rows for one in taken)
        assert room >= 0
        passed_over = [one for one in queue if one.key == taken[0].request.key]
        assert all(one.rows_left > room for one in passed_over)


@given(WAITING, MAX_ROWS, ROWS_MORE)
def test_batch_queue_splits_only_requests_larger_than_a_call(
    requests: list[tuple[int, str]], max_rows: int, more: int
) -> None:
    queue = queue_of(waiting(requests), max_rows, max_rows + more)
    while len(queue):
        for one in queue.take():
            assert one.is_complete or one.request.table.rows > max_rows


def test_batch_queue_rest_of_a_split_request_queues_behind_the_others() -> None:
    large, small, other = waiting([(9, "a"), (2, "b"), (3, "a")])
    queue = queue_of([large, small, other], 4, 4)
    assert [(one.request, one.first, one.rows) for one in queue.take()] == [(large, 0, 4)]
    assert [*queue] == [small, other, large]


@given(WAITING, MAX_ROWS)
def test_batch_queue_keep_removes_all_other_requests(
    requests: list[tuple[int, str]], max_rows: int
) -> None:
    queue = queue_of(waiting(requests), max_rows, max_rows)
    wanted = [*queue][::2]
    queue.keep(wanted.__contains__)
    assert [*queue] == wanted
