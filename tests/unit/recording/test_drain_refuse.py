"""What never reaches the store: refused, damaged or too old. It is counted, and stops nothing."""

import asyncio
import base64
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from model_deployment.documents.base import Collection, Document, StoreUnavailable, Written
from model_deployment.recording import drain as module
from model_deployment.recording.drain_state import STATE_FILE, DrainState
from model_deployment.recording.spool import Spool, read, segments
from tests.support.drains import Store, drain_of, empty, numbered, put
from tests.support.waiting import until

# What no store takes


async def test_captures_refused_by_the_store_become_dead_letters_once(
    spool: Spool, store: Store
) -> None:
    store.refused = {"r1"}
    put(spool, *numbered(3))
    drain = drain_of(spool, store)
    await empty(drain)
    (spool.root / STATE_FILE).unlink()
    await empty(drain_of(spool, store))
    assert store.requests == ["r0", "r2"]
    (letter,) = store.dead
    assert (letter["model"], letter["version"], letter["reason"]) == ("m", 1, "it is odd")
    assert letter["request_id"] == "r1"
    assert b'{"x": 1}' in base64.b64decode(letter["sample"])
    assert letter["bytes"] == len(base64.b64decode(letter["sample"]))
    assert (drain.state.written, drain.state.dead) == (2, 1)


async def test_record_unreadable_becomes_a_dead_letter(spool: Spool, store: Store) -> None:
    spool.append([b"no record at all"])
    put(spool, "odd", version=None)
    put(spool, "good")
    drain = drain_of(spool, store)
    await empty(drain)
    assert store.requests == ["good"]
    assert [(letter["model"], letter["version"]) for letter in store.dead] == [("", 0), ("", 0)]
    assert [letter.get("request_id") for letter in store.dead] == [None, "odd"]
    assert drain.state.dead == 2


async def test_dead_letter_refused_is_counted_as_lost(spool: Spool, store: Store) -> None:
    store.refused = {"bad"}
    put(spool, "bad", "good", version=1)
    store.refuses_letters = True
    drain = drain_of(spool, store)
    await empty(drain)
    assert (drain.state.written, drain.state.dead, drain.state.lost) == (1, 0, 1)


async def test_dead_letters_that_were_not_written_come_again(spool: Spool, store: Store) -> None:
    store.refused = {"bad"}
    put(spool, "good", "bad")
    drain = drain_of(spool, store)
    real, store_insert = store.insert, []

    async def insert(collection: Collection, documents: Sequence[Document]) -> Written:
        store_insert.append(collection)
        if len(store_insert) == 2:
            raise StoreUnavailable("it went away")
        return await real(collection, documents)

    store.insert = insert  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await drain.step()
    assert (len(store.dead), drain.state.dead) == (0, 0)
    await empty(drain)
    assert (len(store.dead), drain.state.dead) == (1, 1)
    assert store.requests == ["good"]


@pytest.mark.parametrize("secret", ["exclude", "hash"])
async def test_a_dead_letter_shows_no_columns_that_are_secret(
    spool: Spool, store: Store, secret: str
) -> None:
    store.refused = {"bad"}
    put(spool, "bad", body=b'{"name": "Ann"}', **{secret: ["name"]})
    await empty(drain_of(spool, store))
    assert b"Ann" not in base64.b64decode(store.dead[0]["sample"])


async def test_a_segment_with_a_damaged_end_is_deleted_and_counted(
    spool: Spool, store: Store
) -> None:
    put(spool, "a", "b")
    spool.end_old(0)
    put(spool, "c")
    damaged, _ = segments(spool.root)
    os.truncate(damaged, damaged.stat().st_size - 1)
    drain = drain_of(spool, store)
    await empty(drain)
    assert store.requests == ["a", "c"]
    assert not damaged.exists()
    assert drain.state.lost == 1


async def test_segment_damaged_loses_only_its_damaged_records(
    spool: Spool, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, *numbered(5))
    (segment,) = segments(spool.root)
    ends = [record.end for record in read(segment, 0)]
    damaged = bytearray(segment.read_bytes())
    for number in (1, 2, 4):
        damaged[ends[number] - 1] ^= 0xFF
    segment.write_bytes(damaged)
    drain = drain_of(spool, store)
    await empty(drain)
    await empty(drain)
    assert store.requests == ["r0", "r3"]
    assert (drain.state.written, drain.state.lost, store.dead) == (2, 3, [])
    assert "3 captures are lost: they were damaged" in caplog.text


async def test_record_damaged_is_counted_once(spool: Spool, store: Store) -> None:
    put(spool, "a", "b")
    (segment,) = segments(spool.root)
    damaged = bytearray(segment.read_bytes())
    damaged[20] ^= 0xFF
    segment.write_bytes(damaged)
    drain = drain_of(spool, store)
    store.away = True
    with pytest.raises(StoreUnavailable):
        await drain.step()
    assert drain.state.lost == 0
    store.away = False
    await empty(drain)
    assert (drain.state.lost, store.requests) == (1, ["b"])


async def test_segment_with_an_unreadable_end_is_counted(
    spool: Spool, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, "a")
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(bytes(4096))
    spool.end_old(0)
    drain = drain_of(spool, store)
    await empty(drain)
    assert (drain.state.lost, store.requests) == (1, ["a"])
    assert f"4096 bytes at the end of {segment.name} are damaged" in caplog.text


async def test_the_end_of_the_newest_segment_may_still_come(spool: Spool, store: Store) -> None:
    put(spool, "a")
    (newest,) = segments(spool.root)
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-1])
    drain = drain_of(spool, store)
    await empty(drain)
    assert (newest.exists(), drain.state.lost, store.requests) == (True, 0, [])
    newest.write_bytes(whole)
    await empty(drain)
    assert store.requests == ["a"]


async def test_segment_deleted_by_another_drain_is_skipped(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, newest = spool.root / f"{1:020d}-aaaa.seg", spool.root / f"{2:020d}-aaaa.seg"
    monkeypatch.setattr(module, "segments", lambda root: [gone, newest])
    drain = drain_of(spool, store)
    assert not await drain.step()
    assert drain.state == DrainState()


# What is too old


async def test_captures_too_old_are_dropped_and_counted(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    drain = drain_of(spool, store, max_age=0.001)
    put(spool, "a", "b")
    spool.end_old(0)
    put(spool, "c")
    store.away = True
    task = asyncio.create_task(drain.run())
    await until(lambda: drain.state.lost == 2)
    assert len(segments(spool.root)) == 1
    assert drain.state.error == "it is away"
    store.away = False
    await until(lambda: store.requests == ["c"])
    await until(lambda: not drain.state.error)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_expired_segment_counts_only_unwritten_records(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    drain = drain_of(spool, store, max_age=0.0)
    put(spool, *numbered(5))
    spool.end_old(0)
    assert await drain.step()
    drain.drop_expired()
    assert (drain.state.written, drain.state.lost, len(segments(spool.root))) == (2, 3, 1)


async def test_expired_segment_counts_damaged_records(spool: Spool, store: Store) -> None:
    put(spool, *numbered(3))
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(bytes(4096))
    spool.end_old(0)
    drain = drain_of(spool, store, max_age=0.0)
    drain.drop_expired()
    assert (drain.state.lost, len(segments(spool.root))) == (4, 1)


async def test_segment_age_is_that_of_its_newest_record(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun 100 seconds ago and ended now."""
    drain = drain_of(spool, store, max_age=50.0)
    real = time.time_ns
    with monkeypatch.context() as earlier:
        earlier.setattr("time.time_ns", lambda: real() - 100 * 10**9)
        other = Spool(spool.root / "other", max_bytes=10**6)
        other.open()
        put(other, "a")
    other.end_old(0)
    drain._root = other.root
    drain.drop_expired()
    assert (drain.state.lost, len(segments(other.root))) == (0, 2)
    other.close()


async def test_a_backlog_is_not_thrown_away_while_the_store_takes_it(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a week in which the controller did not run."""
    monkeypatch.setattr(module, "_BATCH", 2)
    put(spool, *numbered(9))
    spool.end_old(0)
    drain = drain_of(spool, store, max_age=0.0)
    task = asyncio.create_task(drain.run())
    await until(lambda: store.requests == numbered(9))
    task.cancel()
    assert drain.state.lost == 0
    assert store.opened == 1


async def test_store_with_an_unexpected_error_is_tried_again(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.001)
    drain = drain_of(spool, store)
    real = store.insert

    async def insert(*_: Any) -> Written:
        store.insert = real  # type: ignore[method-assign]
        raise RuntimeError("a fault")

    store.insert = insert  # type: ignore[assignment,method-assign]
    put(spool, "a")
    task = asyncio.create_task(drain.run())
    await until(lambda: store.requests == ["a"])
    task.cancel()
