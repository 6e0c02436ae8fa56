"""Several writers and a drain, killed at any moment: what was acknowledged is stored exactly once."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest

from model_deployment.documents.base import Collection, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.recording.drain import Drain, DrainConfig
from model_deployment.recording.spool import Spool, hold_ended, segments
from tests.support import spool_writer
from tests.support.drains import Store, drain_of, empty
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(root: Path) -> Iterator[Spool]:
    """A writer that lives."""
    it = Spool(root, max_bytes=10**8, segment_bytes=spool_writer.SEGMENT_BYTES)
    it.open()
    yield it
    it.close()


def writer(root: Path, *name: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.spool_writer", str(root), *name]


async def test_writer_killed_between_any_two_calls_loses_nothing(spool: Spool) -> None:
    store, acknowledged, survived = Store(), list[str](), False
    drain = drain_of(spool, store)
    forks = await asyncio.create_subprocess_exec(
        *writer(spool.root),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert forks.stdin is not None
    assert forks.stdout is not None
    for place in range(200):
        forks.stdin.write(b"%d\n" % place)
        code, names = json.loads(await forks.stdout.readline())
        survived = code == 0
        assert survived or code == -signal.SIGKILL
        acknowledged += names
        assert spool_writer.write(spool, f"ours/{place}")
        acknowledged.append(f"ours/{place}")
        await empty(drain)
        # Only that of the living writer is left.
        assert len(segments(spool.root)) == 1
        if survived:
            break
    forks.stdin.close()
    await forks.wait()
    assert survived
    assert {*acknowledged} <= {*store.requests}
    assert len({*store.requests}) == len(store.requests)
    # Each killed one may have written one more.
    assert len(store.requests) <= len(acknowledged) + place
    assert drain.state.lost == 0


class Programs:
    """Writers and drains of one spool, as processes that are killed."""

    def __init__(self, root: Path, documents: Path) -> None:
        self.root = root
        self.config = DrainConfig(str(root), f"sqlite:{documents}", 86400.0, 10**6, "salt")
        self.acknowledged: list[str] = []
        self.kills = 0
        self.started = 0

    async def write(self, random: Random) -> None:
        """Start a writer, and kill it after some acknowledgements and a moment."""
        self.started += 1
        process = await asyncio.create_subprocess_exec(
            *writer(self.root, f"w{self.started}"), stdout=asyncio.subprocess.PIPE, env=ENVIRONMENT
        )
        assert process.stdout is not None
        kept = random.randrange(1, 400)
        for _ in range(kept):
            self.acknowledged.append((await process.stdout.readline()).decode().strip())
        process.kill()
        rest = (await process.stdout.read()).decode().split("\n")
        self.acknowledged += rest[:-1]
        await process.wait()

    async def drain(self, random: Random) -> None:
        """Start a drain, and kill it when it has written some more captures."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "model_deployment.recording.drain",
            stdin=asyncio.subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(self.config)).encode() + b"\n")
        state = self.root / "drain.json"
        before = state.stat().st_mtime_ns if state.exists() else 0
        steps = random.randrange(1, 5)

        def worked() -> bool:
            nonlocal before, steps
            if state.exists() and (now := state.stat().st_mtime_ns) != before:
                before, steps = now, steps - 1
            return steps <= 0 or process.returncode is not None

        try:
            await until(worked, timeout=60, interval=random.uniform(0.001, 0.01))
            assert process.returncode is None
        finally:
            process.kill()
            await process.wait()
        self.kills += 1


async def test_writers_and_drains_killed_at_random_lose_and_double_nothing(
    root: Path, tmp_path: Path
) -> None:
    random, documents = Random(7), tmp_path / "documents.db"
    programs = Programs(root, documents)

    async def write() -> None:
        while programs.started < 9 or programs.kills < 3:
            await programs.write(random)

    async def drain() -> None:
        while True:
            await programs.drain(random)

    killing = asyncio.create_task(drain())
    await asyncio.gather(write(), write(), write())
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)
    store = EmbeddedDocuments(documents)
    last = Drain(programs.config, store)
    await store.open()
    await empty(last)
    found = Counter([one["request_id"] async for one in store.find(Query(Collection.CAPTURES))])
    await store.close()
    assert segments(root) == []
    assert {*programs.acknowledged} <= found.keys()
    assert set(found.values()) == {1}
    assert len(found) <= len(programs.acknowledged) + programs.started
    assert last.state.dead == 0
    # A drain that is killed behind a write has not counted it.
    assert 0 < last.state.written <= len(found)


async def test_segments_of_an_earlier_release_are_drained(root: Path, spool: Spool) -> None:
    """They are not locked, and their names end with fewer characters."""
    spool_writer.write(spool, "old")
    (segment,) = segments(root)
    spool.close()
    old = segment.rename(root / f"{1_700_000_000_000_000_000:020d}-ab12.seg")
    spool.open()
    store = Store()
    await empty(drain_of(spool, store))
    assert store.requests == ["old"]
    assert not old.exists()
    with hold_ended(segments(root)[0]) as ended:
        assert not ended
