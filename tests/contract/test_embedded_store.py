"""Documents in the embedded store: kills, full disks, locks, indexes, and the time that calls take."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from model_deployment.documents.base import Collection, Query, StoreUnavailable, Written
from model_deployment.documents.embedded import EmbeddedDocuments, sql
from tests.support.document_store_bench import Lag, document, documents, found, ids, works
from tests.support.waiting import until, until_sync

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES
ROOT = Path(__file__).parents[2]


WRITER = """
import asyncio, sys
from pathlib import Path
from model_deployment.documents.base import Collection
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.document_store_bench import document

async def main():
    store = EmbeddedDocuments(Path(sys.argv[1]))
    await store.open()
    number = int(sys.argv[2])
    while True:
        await store.insert(Collection.CAPTURES, [document(number + n, x="x" * 300) for n in range(50)])
        await store.put_blob(f"blob{number % 500}", bytes(300_000))
        number += 50
        print(number, flush=True)

asyncio.run(main())
"""


def write_until_killed(path: Path, told: Path, number: int) -> None:
    with told.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(number)], stdout=output, cwd=ROOT
        )
    try:
        until_sync(lambda: len(told.read_text().splitlines()) > 30, what="a writer at work")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


async def test_embedded_store_keeps_acknowledged_writes_after_kills(tmp_path: Path) -> None:
    path, told = tmp_path / "documents.db", tmp_path / "told"
    number = 0
    for _ in range(3):
        write_until_killed(path, told, number)
        number = int(told.read_text().rpartition("\n")[0].splitlines()[-1])
        store = EmbeddedDocuments(path)
        await store.open()
        kept = await ids(store)
        assert kept[:number] == [f"id{n:06}" for n in range(number)]
        assert len(kept) in {number, number + 50}  # the last batch is whole, or not there
        assert await store.get_blob("blob0") == bytes(300_000)
        await store.close()
        number = len(kept)


FULL = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from model_deployment.documents.base import Collection, Query, StoreUnavailable
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.document_store_bench import documents

async def main():
    store = EmbeddedDocuments(Path(sys.argv[1]))
    await store.open()
    await store.insert(Collection.CAPTURES, documents(100))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    told = []
    for call in (
        lambda: store.insert(Collection.LABELS, documents(10, x="x" * 1_000_000)),
        lambda: store.put_blob("x", bytes(5_000_000)),
    ):
        try:
            await call()
        except StoreUnavailable as error:
            told.append(str(error))
    told.append(await store.count(Query(Collection.CAPTURES)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    written = await store.insert(Collection.LABELS, documents(10, x="x" * 1_000_000))
    await store.put_blob("x", bytes(5_000_000))
    told.append(written.inserted)
    told.append(len(await store.get_blob("x")))
    await store.close()
    print(json.dumps(told))

asyncio.run(main())
"""


def test_a_disk_without_room_is_told_of_and_used_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "documents.db"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second, kept, written, blob = json.loads(done.stdout)
    assert first.startswith("cannot use the document store")
    assert second.startswith("cannot use the document store")
    assert (kept, written, blob) == (100, 10, 5_000_000)


async def test_foreign_lock_is_waited_for_as_configured(
    embedded: EmbeddedDocuments, tmp_path: Path
) -> None:
    await embedded.insert(CAPTURES, documents(3))
    with closing(sqlite3.connect(tmp_path / "documents.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            await embedded.insert(CAPTURES, documents(5))
        assert time.monotonic() - begun < 2
        assert len(await ids(embedded)) == 3  # readers are not kept
        other.execute("ROLLBACK")
    assert await embedded.insert(CAPTURES, documents(5)) == Written(inserted=2, known=3)


async def test_no_reader_keeps_the_log_from_being_merged(
    embedded: EmbeddedDocuments, tmp_path: Path
) -> None:
    await embedded.insert(CAPTURES, documents(2000))
    search = embedded.find(Query(CAPTURES))
    await anext(search)
    await embedded.insert(CAPTURES, [document(9000, x="x" * 100)])
    with closing(sqlite3.connect(tmp_path / "documents.db")) as other:
        busy, log, merged = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, log, merged) == (0, 0, 0)
    assert len([it async for it in search]) == 2000


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({}, "documents_by_time"),
        ({"model": "m"}, "documents_by_time"),
        ({"model": "m", "version": 1}, "documents_of_a_version"),
        ({"request_ids": ["r"]}, "documents_of_a_request"),
        ({"request_ids": ["r"], "model": "m", "version": 1}, "documents_of_a_request"),
        ({"ids": ["x"]}, "sqlite_autoindex_documents_1"),
        ({"ids": ["x"], "request_ids": ["r"], "version": 1}, "sqlite_autoindex_documents_1"),
    ],
)
@pytest.mark.parametrize("after", [None, (5, "x")])
async def test_searches_use_the_index_that_is_meant(
    embedded: EmbeddedDocuments, tmp_path: Path, query: Any, index: str, after: Any
) -> None:
    statement, values = sql.page(Query(CAPTURES, **query, since=document()["ts"]), after, 10)
    with closing(sqlite3.connect(tmp_path / "documents.db")) as other:
        plan = [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert f"INDEX {index} " in plan[0]


async def test_the_loop_goes_on_while_it_works(embedded: EmbeddedDocuments) -> None:
    wide = {"data": [[0.5] * 20] * 100}
    async with Lag() as lag:
        await embedded.insert(CAPTURES, documents(500, **wide))
        await embedded.put_blob("x", bytes(16_000_000))
        assert len(await found(embedded)) == 500
        await embedded.get_blob("x")
        await embedded.delete(Query(CAPTURES))
    assert lag.longest < 0.5


async def test_a_write_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    store = EmbeddedDocuments(tmp_path / "documents.db", busy=30, patience=0.5)
    await store.open()
    with closing(sqlite3.connect(tmp_path / "documents.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waits = [store.insert(CAPTURES, documents(5)) for _ in range(3)]
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(it) for it in results] == [StoreUnavailable] * 3
        assert "did not answer within 0.5 s" in str(results[0])
        other.execute("ROLLBACK")
    await until(lambda: works(store), what="the store")
    assert (
        await store.insert(CAPTURES, documents(5))
    ).known == 5  # the first went through after all
    await store.close()
