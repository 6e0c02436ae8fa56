"""The way from the spool to the store: nothing lost, nothing doubled, whatever the store does."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_deployment.documents.base import Collection, StoreUnavailable
from model_deployment.recording import drain as module
from model_deployment.recording.drain_state import STATE_FILE
from model_deployment.recording.spool import Spool, hold_ended, segments
from tests.support.drains import Store, drain_of, empty, numbered, put


async def test_captures_are_written_once_and_in_order(spool: Spool, store: Store) -> None:
    drain = drain_of(spool, store)
    put(spool, "a", "b")
    await empty(drain)
    put(spool, "c")
    await empty(drain)
    assert store.requests == ["a", "b", "c"]
    assert set(store.came.values()) == {1}
    assert drain.state.written == 3


async def test_batches_have_so_many_records_and_bytes(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain = drain_of(spool, store)
    put(spool, *numbered(1001))
    assert await drain.step()
    assert len(store.requests) == 500
    await empty(drain)
    assert store.requests == numbered(1001)
    monkeypatch.setattr(module, "_BATCH_BYTES", 1)
    put(spool, "a", "b")
    assert await drain.step()
    assert len(store.requests) == 1002


async def test_segments_are_deleted_when_all_of_them_is_written_and_those_of_writers_never(
    spool: Spool, store: Store
) -> None:
    drain = drain_of(spool, store)
    put(spool, "a")
    spool.end_old(0)
    put(spool, "b")
    before = segments(spool.root)
    await empty(drain)
    assert segments(spool.root) == before[-1:]
    assert store.requests == ["a", "b"]
    # It may grow.
    put(spool, "c")
    await empty(drain)
    assert store.requests == ["a", "b", "c"]
    assert [*drain.state.offsets] == [before[-1].name]


async def test_nothing_is_lost_or_doubled_while_the_store_is_away(
    spool: Spool, store: Store
) -> None:
    drain = drain_of(spool, store)
    put(spool, "a")
    spool.end_old(0)
    put(spool, "b")
    store.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await drain.step()
    assert len(segments(spool.root)) == 2
    store.away = False
    await empty(drain)
    assert store.requests == ["a", "b"]
    assert drain.state.written == 2


async def test_batch_written_in_part_is_written_again_once(spool: Spool, store: Store) -> None:
    drain = drain_of(spool, store)
    put(spool, *numbered(10))
    store.breaks_after = 4
    with pytest.raises(StoreUnavailable):
        await drain.step()
    store.breaks_after = None
    await empty(drain)
    assert store.requests == numbered(10)
    assert sorted(store.came.values()) == [1] * 6 + [2] * 4


async def test_a_store_that_hangs_loses_nothing_when_the_drain_ends(
    spool: Spool, store: Store
) -> None:
    put(spool, *numbered(3))
    store.hangs = True
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(drain_of(spool, store).step(), 0.05)
    store.hangs = False
    await empty(drain_of(spool, store))
    assert store.requests == numbered(3)


async def test_drain_continues_where_a_killed_one_stopped(spool: Spool, store: Store) -> None:
    first = drain_of(spool, store)
    put(spool, *numbered(3))
    await empty(first)
    put(spool, "later")
    # What was erased meanwhile does not come again.
    erased = next(iter(store.kept[Collection.CAPTURES]))
    del store.kept[Collection.CAPTURES][erased]
    second = drain_of(spool, store)
    await empty(second)
    assert store.requests == ["r1", "r2", "later"]
    assert second.state.written == 4


async def test_drain_without_its_state_duplicates_nothing(spool: Spool, store: Store) -> None:
    put(spool, *numbered(3))
    await empty(drain_of(spool, store))
    (spool.root / STATE_FILE).write_text("{")
    drain = drain_of(spool, store)
    await empty(drain)
    assert store.requests == numbered(3)
    assert drain.state.written == 0


@pytest.fixture
def other(spool: Spool) -> Iterator[Spool]:
    it = Spool(spool.root, max_bytes=10**8)
    it.open()
    yield it
    it.close()


async def test_one_write_has_captures_of_all_writers(
    spool: Spool, other: Spool, store: Store
) -> None:
    put(spool, "a", "b")
    put(other, "c")
    drain = drain_of(spool, store)
    assert await drain.step()
    assert store.requests == ["a", "b", "c"]
    assert not await drain.step()
    assert len(segments(spool.root)) == 2


async def test_busy_writer_does_not_keep_the_drain_from_the_others(
    spool: Spool, other: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    put(spool, "a", "b", "c")
    put(other, "d", "e")
    drain = drain_of(spool, store)
    for _ in range(2):
        assert await drain.step()
        put(spool, "x", "y")
    assert store.requests == ["a", "b", "d", "e"]
    await empty(drain)
    assert store.requests == ["a", "b", "d", "e", "c", "x", "y", "x", "y"]


async def test_segment_of_a_writer_that_died_is_drained_to_its_last_whole_record(
    spool: Spool, other: Spool, store: Store
) -> None:
    put(spool, "a")
    put(other, "b")
    first, second = segments(spool.root)
    with first.open("ab") as file:
        file.write(b"half")
    drain = drain_of(spool, store)
    await empty(drain)
    assert segments(spool.root) == [first, second]
    spool.close()
    await empty(drain)
    assert (store.requests, segments(spool.root)) == (["a", "b"], [second])
    assert drain.state.lost == 1


async def test_record_written_just_before_its_segment_ended_is_not_deleted(
    spool: Spool, other: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain = drain_of(spool, store)
    await empty(drain)
    hold = hold_ended

    @contextmanager
    def write_first(segment: Path) -> Iterator[bool]:
        if segment == segments(spool.root)[0] and not spool.size:
            put(spool, "late")
            spool.end_old(0)
        with hold(segment) as ended:
            yield ended

    monkeypatch.setattr(module, "hold_ended", write_first)
    await empty(drain)
    monkeypatch.undo()
    await empty(drain)
    assert store.requests == ["late"]


@pytest.mark.parametrize("message", ["", '{"spool": "'])
def test_drain_without_configuration_ends(
    message: str,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module.__name__],
        input=message, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
