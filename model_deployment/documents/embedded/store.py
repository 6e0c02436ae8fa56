"""Documents and report pages in one SQLite file.

Each commit is on the disk before it is acknowledged (``synchronous=FULL``). In WAL mode ``NORMAL`` survives
a ``kill -9`` too, but not a power cut, and acknowledged captures are removed from the spool.
"""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from model_deployment.documents.base import Collection, Document, DocumentRefused, Query, Written
from model_deployment.documents.embedded import sql
from model_deployment.documents.embedded.connections import Connections
from model_deployment.documents.envelope import check_blob, document_name, writable

#: Documents, and characters of documents, in one page; documents in one step of deleting.
_PAGE, _PAGE_CHARACTERS, _DELETION = 500, 4 * 2**20, 2000

#: Seconds an existing file is checked for when it is opened. A large file would take minutes.
_CHECK = 2.0


class EmbeddedDocuments:
    """A document store in a file."""

    def __init__(
        self,
        path: Path,
        *,
        busy: float = 3.0,
        patience: float = 15.0,
        check_seconds: float = _CHECK,
    ) -> None:
        """Nothing is opened yet.

        Args:
            busy: seconds to wait for a lock of another process.
            patience: seconds one step may take, also while a disk hangs.
            check_seconds: seconds the file is checked for when it is opened.
        """
        self.path = path
        self._connections = Connections(
            path, busy=busy, patience=patience, check_seconds=check_seconds
        )

    async def open(self) -> None:
        """Open the file, or create it.

        Raises:
            StoreUnusable: the file is damaged, not ours, or of a newer release. It is left as it is.
        """
        await self._connections.open()

    async def close(self) -> None:
        await self._connections.close()

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        def work() -> Written:
            refused: dict[str, str] = {}
            rows: list[sql.Row] = []
            for document in documents:
                try:
                    rows.append(sql.row(collection, document))
                except DocumentRefused as error:
                    refused[document_name(document)] = str(error)
            if not rows:
                return Written(refused=refused)

            def insert(connection: sqlite3.Connection) -> int:
                before = connection.total_changes
                connection.executemany(sql.INSERT, rows)
                return connection.total_changes - before

            inserted = self._connections.transact(insert)
            return Written(inserted, len(rows) - inserted, refused)

        return await self._connections.on_writer(work)

    async def replace(self, collection: Collection, document: Document) -> None:
        def work() -> None:
            row = sql.row(collection, document)
            self._connections.transact(lambda connection: connection.execute(sql.REPLACE, row))

        await self._connections.on_writer(work)

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        async for document in self.find(Query(collection, ids=[id], limit=1)):
            return document
        return None

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Each page is a statement of its own, so that a slow reader holds no lock."""
        left = query.limit
        after: tuple[int, str] | None = None
        while left is None or left > 0:
            statement = sql.page(query, after, _PAGE if left is None else min(_PAGE, left))
            page, after = await self._connections.read(partial(_page, statement))
            if not page:
                return
            for document in page:
                yield document
            left = None if left is None else left - len(page)

    async def count(self, query: Query) -> int:
        def work(connection: sqlite3.Connection) -> int:
            (number,) = connection.execute(*sql.count(query)).fetchone()
            return int(number)

        return await self._connections.read(work)

    async def delete(self, query: Query) -> int:
        """Delete in several short transactions."""
        statement = sql.delete(query, _DELETION)
        deleted = 0
        while True:
            step = await self._connections.write(
                lambda connection: connection.execute(*statement).rowcount
            )
            deleted += step
            if step < _DELETION:
                return deleted

    async def put_blob(self, id: str, content: bytes) -> None:
        check_blob(id, content)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?)", (id, content))

        await self._connections.write(write)

    async def get_blob(self, id: str) -> bytes | None:
        if not writable([id]):
            return None
        return await self._connections.read(partial(_blob, id))

    async def delete_blob(self, id: str) -> None:
        if writable([id]):
            await self._connections.write(partial(_delete_blob, id))


def _page(
    statement: sql.Statement, connection: sqlite3.Connection
) -> tuple[list[dict[str, Any]], tuple[int, str] | None]:
    """The documents of a page, and the end of the page."""
    found, size, end = [], 0, None
    with closing(connection.execute(*statement)) as cursor:
        for id, ts, body in cursor:
            found.append(sql.document(id, ts, body))
            end = (ts, id)
            size += len(body)
            if size > _PAGE_CHARACTERS:
                break
    return found, end


def _blob(id: str, connection: sqlite3.Connection) -> bytes | None:
    found = connection.execute("SELECT content FROM pages WHERE id = ?", (id,)).fetchone()
    if found is None and _has_chunks(connection):
        chunks = "SELECT data FROM chunks JOIN blobs USING (revision) WHERE id = ? ORDER BY n"
        parts = [data for (data,) in connection.execute(chunks, (id,))]
        return b"".join(parts) if parts else None
    return found[0] if found else None


def _delete_blob(id: str, connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM pages WHERE id = ?", (id,))
    if _has_chunks(connection):
        revisions = "DELETE FROM chunks WHERE revision IN (SELECT revision FROM blobs WHERE id = ?)"
        connection.execute(revisions, (id,))
        connection.execute("DELETE FROM blobs WHERE id = ?", (id,))


def _has_chunks(connection: sqlite3.Connection) -> bool:
    """Whether an earlier release wrote the file, which cut pages into chunks."""
    tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('blobs', 'chunks')"
    return bool(connection.execute(tables).fetchone() == (2,))
