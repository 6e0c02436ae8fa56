"""Which of the waiting requests go to the model together, whatever waits."""

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import MergeableTable
from model_deployment.proxy.batch_queue import BatchQueue, QueuedRows

KEYS = st.sampled_from("ab")
WAITING = st.lists(st.tuples(st.integers(1, 40), KEYS), min_size=1, max_size=12)
MAX_ROWS = st.integers(1, 40)


def waiting(requests: list[tuple[int, str]]) -> list[QueuedRows]:
    return [
        QueuedRows(MergeableTable((key,), ([*range(rows)],), rows), (key,))
        for rows, key in requests
    ]


def queue_of(requests: list[QueuedRows], max_rows: int) -> BatchQueue[QueuedRows]:
    queue = BatchQueue[QueuedRows](max_rows)
    for request in requests:
        if queue.fits(request.table):
            queue.append(request)
    return queue


def test_batch_queue_empty_gives_nothing() -> None:
    assert queue_of([], 1).take() == []


def test_batch_queue_request_of_exactly_the_limit_fits() -> None:
    assert [len(queue_of(waiting([(rows, "a")]), 4)) for rows in (3, 4, 5)] == [1, 1, 0]


@given(WAITING, MAX_ROWS)
def test_batch_queue_gives_each_request_once(
    requests: list[tuple[int, str]], max_rows: int
) -> None:
    queue = queue_of(waiting(requests), max_rows)
    there, given_out = [*queue], []
    while len(queue):
        taken = queue.take()
        assert taken, "it does not end"
        given_out += taken
    assert len(given_out) == len(there)
    assert {*given_out} == {*there}


@given(WAITING, MAX_ROWS)
def test_batch_queue_call_begins_with_the_oldest_request_and_has_its_key(
    requests: list[tuple[int, str]], max_rows: int
) -> None:
    queue = queue_of(waiting(requests), max_rows)
    while len(queue):
        oldest = next(iter(queue))
        taken = queue.take()
        assert taken[0] is oldest
        assert {one.key for one in taken} == {oldest.key}


@given(WAITING, MAX_ROWS)
def test_batch_queue_call_is_within_its_limit_and_as_full_as_it_can_be(
    requests: list[tuple[int, str]], max_rows: int
) -> None:
    queue = queue_of(waiting(requests), max_rows)
    while len(queue):
        taken = queue.take()
        room = max_rows - sum(one.table.rows for one in taken)
        assert room >= 0
        passed_over = [one for one in queue if one.key == taken[0].key]
        assert all(one.table.rows > room for one in passed_over)


@given(WAITING, MAX_ROWS)
def test_batch_queue_keep_removes_all_other_requests(
    requests: list[tuple[int, str]], max_rows: int
) -> None:
    queue = queue_of(waiting(requests), max_rows)
    wanted = [*queue][::2]
    queue.keep(wanted.__contains__)
    assert [*queue] == wanted
