"""Report pages as earlier releases stored them: readable after an upgrade, and deleted by retention."""

import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gridfs
import pytest

from model_deployment.documents.base import Collection, Documents, StoreUnavailable
from model_deployment.documents.embedded import EmbeddedDocuments, file
from model_deployment.documents.mongo import MongoDocuments
from tests.support.document_store_bench import document
from tests.support.mongod import Mongod

pytest_plugins = ["tests.support.document_store_fixtures"]

#: Pages of a report, by its id: of several chunks, and of one.
PAGES = {"large": random.Random(1).randbytes(700_000), "small": b"page"}
CHUNK = 256 * 1024

#: The tables of blobs that earlier releases made.
TABLES = """
CREATE TABLE unfinished (revision INTEGER PRIMARY KEY AUTOINCREMENT, since REAL NOT NULL) STRICT;
CREATE TABLE blobs (id TEXT PRIMARY KEY, revision INTEGER NOT NULL UNIQUE, size INTEGER NOT NULL) STRICT;
CREATE TABLE chunks (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (revision, n)
) STRICT;
DROP TABLE pages;
"""


async def check_pages(store: Documents) -> None:
    """Earlier pages are read, replaced and deleted; new ones stand beside them."""
    for id, content in PAGES.items():
        assert await store.get_blob(id) == content
    assert await store.get_blob("none") is None
    await store.put_blob("new", b"new page")
    await store.delete_blob("large")
    assert await store.get_blob("large") is None
    assert await store.get_blob("small") == b"page"
    await store.put_blob("small", b"replaced")
    assert await store.get_blob("small") == b"replaced"
    await store.delete_blob("small")
    assert await store.get_blob("small") is None
    assert await store.get_blob("new") == b"new page"


@pytest.fixture
async def earlier_file(tmp_path: Path) -> Path:
    path = tmp_path / "documents.db"
    file.create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(TABLES)
        for revision, (id, content) in enumerate(PAGES.items(), 1):
            connection.execute("INSERT INTO blobs VALUES (?, ?, ?)", (id, revision, len(content)))
            for n, start in enumerate(range(0, len(content), CHUNK)):
                data = content[start : start + CHUNK]
                connection.execute("INSERT INTO chunks VALUES (?, ?, ?)", (revision, n, data))
    return path


async def test_chunked_pages_of_a_file_are_read_and_deleted(earlier_file: Path) -> None:
    store = EmbeddedDocuments(earlier_file)
    await store.open()
    await check_pages(store)
    await store.close()
    with closing(sqlite3.connect(earlier_file)) as connection:
        for table in ("blobs", "chunks"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    file.check_all(earlier_file)


async def test_gridfs_pages_are_read_and_deleted(mongod: Mongod) -> None:
    with mongod.client() as client:
        database = client[mongod.database]
        bucket = gridfs.GridFSBucket(database)
        bucket.upload_from_stream("small", b"an older revision")
        for id, content in PAGES.items():
            bucket.upload_from_stream(id, content)
        newest = datetime.now(UTC) + timedelta(seconds=5)
        database["fs.files"].update_one({"length": 4}, {"$set": {"uploadDate": newest}})
        store = MongoDocuments(mongod.url)
        await store.open()
        await store.insert(Collection.REPORTS, [document(1, _id="large")])
        await check_pages(store)
        await store.close()
        for name in ("fs.files", "fs.chunks"):
            assert database[name].count_documents({}) == 0


async def test_gridfs_page_with_a_missing_chunk_is_an_error(mongod: Mongod) -> None:
    with mongod.client() as client:
        database = client[mongod.database]
        gridfs.GridFSBucket(database).upload_from_stream("large", PAGES["large"])
        database["fs.chunks"].delete_one({"n": 1})
        store = MongoDocuments(mongod.url)
        with pytest.raises(StoreUnavailable, match="cannot read the page large: parts of it are"):
            await store.get_blob("large")
        await store.delete_blob("large")
        assert await store.get_blob("large") is None
        await store.close()
