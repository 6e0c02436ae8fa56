"""What never reaches the store: refused, damaged or too old. It is counted, and stops nothing."""

import asyncio
import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from model_deployment.documents.base import Collection, Document, StoreUnavailable, Written
from model_deployment.monitoring import drain as module
from model_deployment.monitoring.drain import STATE_FILE, DrainState
from model_deployment.monitoring.spool import Spool, segments
from tests.unit.drains import Store, drain_of, empty, numbered, put
from tests.waiting import until


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    it = Spool(tmp_path, max_bytes=10**8)
    it.open()
    yield it
    it.close()


# What no store takes


async def test_what_the_store_refuses_is_put_aside_once_and_the_rest_goes_on(
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
    assert b'{"x": 1}' in base64.b64decode(letter["sample"])
    assert letter["bytes"] == len(base64.b64decode(letter["sample"]))
    assert (drain.state.written, drain.state.dead) == (2, 1)


async def test_a_record_that_cannot_be_read_is_put_aside(spool: Spool, store: Store) -> None:
    spool.append([b"no record at all"])
    put(spool, "odd", version=None)
    put(spool, "good")
    drain = drain_of(spool, store)
    await empty(drain)
    assert store.requests == ["good"]
    assert [(letter["model"], letter["version"]) for letter in store.dead] == [("", 0), ("", 0)]
    assert drain.state.dead == 2


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
    spool.look(0)
    put(spool, "c")
    damaged, _ = segments(spool.root)
    os.truncate(damaged, damaged.stat().st_size - 1)
    drain = drain_of(spool, store)
    await empty(drain)
    assert store.requests == ["a", "c"]
    assert not damaged.exists()
    assert drain.state.lost == 1


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


async def test_a_segment_that_another_drain_deleted_meanwhile_is_no_trouble(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, newest = spool.root / f"{1:020d}-aaaa.seg", spool.root / f"{2:020d}-aaaa.seg"
    monkeypatch.setattr(module, "segments", lambda root: [gone, newest])
    drain = drain_of(spool, store)
    assert not await drain.step()
    assert drain.state == DrainState()


# What is too old


async def test_what_found_no_store_for_too_long_is_thrown_away_and_counted(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    drain = drain_of(spool, store, max_age=0.001)
    put(spool, "a", "b")
    spool.look(0)
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


async def test_of_an_old_segment_only_what_was_not_written_counts(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    drain = drain_of(spool, store, max_age=0.0)
    put(spool, *numbered(5))
    spool.look(0)
    assert await drain.step()
    drain.throw_away_old()
    assert (drain.state.written, drain.state.lost, len(segments(spool.root))) == (2, 3, 1)


async def test_a_backlog_is_not_thrown_away_while_the_store_takes_it(
    spool: Spool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a week in which the controller did not run."""
    monkeypatch.setattr(module, "_BATCH", 2)
    put(spool, *numbered(9))
    spool.look(0)
    drain = drain_of(spool, store, max_age=0.0)
    task = asyncio.create_task(drain.run())
    await until(lambda: store.requests == numbered(9))
    task.cancel()
    assert drain.state.lost == 0
    assert store.opened == 1


async def test_a_store_with_a_fault_of_its_own_is_tried_again(
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
