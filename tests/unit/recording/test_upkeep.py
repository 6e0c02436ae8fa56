"""Upkeep: minutes are stored, the spool is forced to the disk, the status of captures is known."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Query, StoreUnavailable, Written
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.documents.opening import OpenedStore
from model_deployment.recording import upkeep as module
from model_deployment.recording.drain_state import STATE_FILE, DrainState, read_state
from model_deployment.recording.spool import Spool, segments
from model_deployment.recording.upkeep import CaptureStatus, Upkeep
from tests.support.counting import LocalCounts
from tests.support.waiting import until

A, B = ModelKey("a", 1), ModelKey("b", 1)
ODD = ModelKey("\ud800", 1)


class UpkeepBench:
    """Upkeep, and what it looks after."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool", max_bytes=1000)
        self.spool.open()
        self.local = LocalCounts()
        self.traffic = self.local.traffic
        self.store = EmbeddedDocuments(folder / "documents.db")
        store = OpenedStore(self.store)
        self.upkeep = Upkeep(self.spool.root, self.local.reported, store, self.local.stored)

    @property
    def left(self) -> int:
        """Windows that are not stored: the process and its controller agree on them."""
        self.local.refresh()
        ours = [len(self.traffic.current(key)) for key in (A, B, ODD)]
        theirs = [len(self.local.reported.unstored(key)) for key in (A, B, ODD)]
        assert ours == theirs
        return sum(ours)

    async def names(self, collection: Collection) -> list[str]:
        return sorted([one["_id"] async for one in self.store.find(Query(collection))])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[UpkeepBench]:
    it = UpkeepBench(tmp_path)
    yield it
    await it.store.close()
    it.spool.close()


# Counts


async def test_minutes_that_are_over_are_kept_once(bench: UpkeepBench) -> None:
    bench.traffic.answered(A, time.time() - 120, 1.0, 1)
    bench.traffic.answered(A, time.time() + 120, 1.0, 1)
    for _ in range(2):
        await bench.upkeep.flush()
        assert len(await bench.names(Collection.TRAFFIC)) == 1
    assert bench.left == 1


async def test_last_minute_of_a_process_that_ended_is_stored(bench: UpkeepBench) -> None:
    bench.traffic.answered(A, time.time(), 1.0, 1)
    await bench.upkeep.flush()
    assert await bench.names(Collection.TRAFFIC) == []
    bench.local.end()
    await bench.upkeep.flush()
    assert len(await bench.names(Collection.TRAFFIC)) == 1
    assert bench.local.reported.unstored(A) == []


async def test_counts_stay_while_the_store_is_away(
    bench: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StoreUnavailable("it is away")

    bench.traffic.answered(A, time.time() - 120, 1.0, 1)
    with monkeypatch.context() as broken:
        broken.setattr(bench.store, "insert", away)
        with pytest.raises(StoreUnavailable):
            await bench.upkeep.flush()
    await bench.upkeep.flush()
    assert len(await bench.names(Collection.TRAFFIC)) == 1


async def test_hours_without_a_store_are_kept_once_also_if_it_took_some_minutes(
    bench: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = (time.time() // 3600 - 10) * 3600
    real = bench.store.insert
    tries = 0

    async def breaks(collection: Collection, documents: Any) -> Written:
        nonlocal tries
        tries += 1
        if tries == 1:
            await real(collection, documents)
        raise StoreUnavailable("it went away")

    with monkeypatch.context() as broken:
        broken.setattr(bench.store, "insert", breaks)
        for minute in range(540):
            bench.traffic.answered(A, begin + minute * 60, 1.0, 1)
            if minute % 90 == 89:
                with pytest.raises(StoreUnavailable):
                    await bench.upkeep.flush()
            if minute == 89:
                assert len(await bench.names(Collection.TRAFFIC)) == 90
    await bench.upkeep.flush()
    kept = [one async for one in bench.store.find(Query(Collection.TRAFFIC))]
    assert sum(one["requests"] for one in kept) == 540
    assert len(kept) <= 240 + 6
    assert bench.left == 0


async def test_minutes_are_written_some_at_a_time(
    bench: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    real = bench.store.insert
    sizes: list[int] = []

    async def insert(collection: Collection, documents: Any) -> Written:
        sizes.append(len(documents))
        if len(sizes) == 2:
            raise StoreUnavailable("it went away")
        return await real(collection, documents)

    monkeypatch.setattr(bench.store, "insert", insert)
    for minute in range(5):
        bench.traffic.answered(A, time.time() - 600 + 60 * minute, 1.0, 1)
    with pytest.raises(StoreUnavailable):
        await bench.upkeep.flush()
    assert bench.left == 3
    await bench.upkeep.flush()
    assert sizes == [2, 2, 2, 1]
    assert len(await bench.names(Collection.TRAFFIC)) == 5


async def test_counts_that_no_store_takes_are_said_and_forgotten(
    bench: UpkeepBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.traffic.answered(B, time.time() - 120, 1.0, 1)
    bench.traffic.answered(ODD, time.time() - 120, 1.0, 1)
    await bench.upkeep.flush()
    assert len(await bench.names(Collection.TRAFFIC)) == 1
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "counts of 1 minutes are lost" in record.message
    assert bench.left == 0


# The state


def test_the_state_is_that_of_the_spool_and_of_the_drain(tmp_path: Path) -> None:
    bench = UpkeepBench(tmp_path)
    assert bench.upkeep.state() == CaptureStatus(0, 0, 0, 0, "")
    assert bench.spool.append([b"x" * 492])
    assert not bench.spool.append([b"x" * 900])
    bench.local.dropped = bench.spool.dropped
    (written, _) = segments(bench.spool.root)
    told = {"written": 5, "dead": 2, "lost": 3, "error": "away", "offsets": {written.name: 400}}
    (bench.spool.root / STATE_FILE).write_text(json.dumps(told))
    assert bench.upkeep.state() == CaptureStatus(100, 4, 2, 5, "away")
    # The drain is further than what is seen of the segment.
    told["offsets"] = {written.name: 5000}
    (bench.spool.root / STATE_FILE).write_text(json.dumps(told))
    assert bench.upkeep.state().spool_bytes == 0
    bench.spool.close()


async def test_upkeep_goes_on_after_failures(
    bench: UpkeepBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH", 0.001)
    calls = 0

    async def fails(**_: Any) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("a fault") if calls % 2 else StoreUnavailable("it is away")

    monkeypatch.setattr(bench.upkeep, "flush", fails)
    task = asyncio.create_task(bench.upkeep.run())
    await until(lambda: calls > 3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# How far captures have come


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the upkeep looked at how far the drain is."""
    seen: list[float] = []
    read = read_state

    def counted(root: Path) -> DrainState:
        seen.append(time.monotonic())
        return read(root)

    monkeypatch.setattr(module, "read_state", counted)
    return seen


def drained(spool: Spool, **offsets: int) -> None:
    """As the drain tells how far it is."""
    (spool.root / STATE_FILE).write_text(json.dumps({"offsets": offsets}), encoding="utf-8")


async def test_an_empty_spool_has_been_caught_up_with(bench: UpkeepBench) -> None:
    assert await bench.upkeep.caught_up(0)


async def test_caught_up_awaits_earlier_captures_only(
    bench: UpkeepBench, looks: list[float]
) -> None:
    bench.spool.append([b"one"])
    [segment] = segments(bench.spool.root)
    size = segment.stat().st_size
    drained(bench.spool, **{segment.name: size - 1})
    waiting = asyncio.create_task(bench.upkeep.caught_up(30))
    await until(lambda: len(looks) > 2, what="some looks")
    assert not waiting.done()
    bench.spool.append([b"two"])
    drained(bench.spool, **{segment.name: size})
    assert await waiting
    assert not await bench.upkeep.caught_up(0)


async def test_caught_up_awaits_the_captures_of_all_writers(bench: UpkeepBench) -> None:
    other = Spool(bench.spool.root, max_bytes=1000)
    other.open()
    for spool in (bench.spool, other):
        spool.append([b"one"])
    first, second = segments(other.root)
    size = first.stat().st_size
    for offsets in ({}, {first.name: size}, {second.name: size}):
        drained(other, **offsets)
        assert not await bench.upkeep.caught_up(0)
    drained(other, **{first.name: size, second.name: size})
    assert await bench.upkeep.caught_up(0)
    other.close()


async def test_segment_drained_and_deleted_is_not_awaited(
    bench: UpkeepBench, looks: list[float]
) -> None:
    bench.spool.append([b"one"])
    [segment] = segments(bench.spool.root)
    waiting = asyncio.create_task(bench.upkeep.caught_up(30))
    await until(lambda: looks, what="a look")
    segment.unlink()
    assert await waiting
