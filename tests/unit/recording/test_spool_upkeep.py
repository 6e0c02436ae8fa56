"""What a process that captures does for its part of the spool each second."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from model_deployment.recording import spool_upkeep as module
from model_deployment.recording.spool import Spool, extents, segments
from model_deployment.recording.spool_upkeep import SpoolUpkeep
from tests.support.waiting import until


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    it = Spool(tmp_path / "spool", max_bytes=1000)
    it.open()
    yield it
    it.close()


async def test_dropped_captures_are_logged_once(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    upkeep = SpoolUpkeep(spool)
    for _ in range(3):
        spool.append([b"x" * 2000])
    await upkeep.sync()
    await upkeep.sync()
    (record,) = caplog.records
    assert "3 captures were dropped" in record.message
    spool.append([b"x" * 2000])
    await upkeep.sync()
    assert "1 captures were dropped" in caplog.records[-1].message


async def test_disk_that_cannot_sync_is_logged(
    spool: Spool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", fails)
    spool.append([b"x" * 92])
    (segment,) = segments(spool.root)
    spool.append([b"x" * 2000])
    segment.unlink()
    await SpoolUpkeep(spool).sync()
    assert spool.size == 0
    assert "cannot flush captures to the disk: Input/output error" in caplog.text


async def test_the_spool_is_looked_through_in_another_thread(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    def look(root: Path) -> dict[str, int]:
        threads.add(threading.current_thread())
        return extents(root)

    monkeypatch.setattr(module, "extents", look)
    monkeypatch.setattr(module, "_SEGMENT_SECONDS", 0.0)
    spool.append([b"x" * 92])
    await SpoolUpkeep(spool).sync()
    assert (spool.size, len(segments(spool.root))) == (100, 2)
    assert threads
    assert threading.main_thread() not in threads


async def test_upkeep_goes_on_after_failures(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def fails(_: Path) -> dict[str, int]:
        nonlocal calls
        calls += 1
        raise RuntimeError("a fault")

    monkeypatch.setattr(module, "_SYNC", 0.001)
    monkeypatch.setattr(module, "extents", fails)
    task = asyncio.create_task(SpoolUpkeep(spool).run())
    await until(lambda: calls > 3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert "cannot maintain the captures" in caplog.text
