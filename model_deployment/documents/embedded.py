"""Documents and blobs in one SQLite file of their own, for those who have no MongoDB at hand.

Each commit is on the disk before it is acknowledged (``synchronous=FULL``): in WAL mode ``NORMAL`` outlives
a ``kill -9`` as well, but not a power cut, and what is acknowledged here is removed from the spool. One
thread writes, in transactions that are short; two read, in pages, so that no reader keeps the log from
being merged. As with the state database nothing else in this process may open the files.
"""

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from model_deployment.documents.base import (
    Collection,
    Document,
    Query,
    Refused,
    StoreUnavailable,
    StoreUnusable,
    Written,
)
from model_deployment.documents.envelope import (
    MAX_BYTES,
    Envelope,
    bound,
    examine,
    moment,
    name,
    writable,
)

T = TypeVar("T")

#: In the header of the file ("MDdo"), so that no other database is taken for ours, and our layout of it.
APPLICATION_ID = 0x4D44646F
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    request_id TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (collection, id)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_of_a_version ON documents (collection, model, version, ts, id);
CREATE INDEX IF NOT EXISTS documents_by_time ON documents (collection, ts, id);
CREATE INDEX IF NOT EXISTS documents_of_a_request ON documents (collection, request_id)
    WHERE request_id IS NOT NULL;
-- Revisions that are being written or removed. A blob has one, which is none of these.
CREATE TABLE IF NOT EXISTS unfinished (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    since REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS blobs (
    id TEXT PRIMARY KEY,
    revision INTEGER NOT NULL UNIQUE,
    size INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS chunks (
    revision INTEGER NOT NULL,
    n INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (revision, n)
) STRICT;
CREATE TABLE IF NOT EXISTS ping (id INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT;
"""

_MAKE = (
    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
)

_INSERT = (
    "INSERT INTO documents (collection, id, model, version, ts, request_id, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) "
)
_KEEP = _INSERT + "ON CONFLICT (collection, id) DO NOTHING"
_REPLACE = _INSERT + (
    "ON CONFLICT (collection, id) DO UPDATE SET model = excluded.model, version = excluded.version, "
    "ts = excluded.ts, request_id = excluded.request_id, body = excluded.body"
)

#: Any number of values, in one variable.
_ONE_OF = "%s IN (SELECT value FROM json_each(?))"

_CHUNKS_OF = "SELECT data FROM chunks WHERE revision = ? AND n >= ? AND n < ? ORDER BY n"

#: Documents, and characters of them, in one page; documents in one step of deleting.
_PAGE, _PAGE_CHARACTERS, _DELETION = 500, 4 * 2**20, 2000

#: Bytes of a chunk, and chunks of one transaction.
_CHUNK, _CHUNKS = 256 * 1024, 32

#: What a crash left of a blob is removed once it is so many seconds old that nobody can be writing it.
_UNFINISHED = 86_400

#: Seconds that a file is looked through when it is opened. A large one takes minutes as a whole; damage
#: further on is told when it is read.
_EXAMINATION = 2.0

#: After these a connection is opened anew.
_BROKEN = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: What helps where the file is lost or damaged.
HELP = (
    "Nothing was changed. Restore a backup with `model-deployment restore --force FILE`, or begin with an "
    "empty store with `model-deployment serve --new-documents`, which keeps the files there are"
)

_Row = tuple[str, str, str, int, int, str | None, str]


@dataclass(frozen=True, slots=True)
class _Threads:
    """The one that writes, and those that read."""

    writer: ThreadPoolExecutor
    readers: ThreadPoolExecutor


class EmbeddedDocuments:
    """A document store in a file."""

    def __init__(
        self,
        path: Path,
        *,
        busy: float = 3.0,
        patience: float = 15.0,
        examination: float = _EXAMINATION,
    ) -> None:
        """Nothing is opened yet.

        Args:
            busy: seconds that another process may keep the file locked.
            patience: seconds for one step, also while a disk hangs.
            examination: seconds that the file is looked through when it is opened.
        """
        self.path = path
        self._examination = examination
        self._busy = busy
        self._patience = patience
        self._threads: _Threads | None = None
        self._identity: tuple[int, int] | None = None
        self._writing: sqlite3.Connection | None = None
        self._reading: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, or make it; remove what crashes left of blobs.

        Raises:
            StoreUnusable: the file is damaged, not ours, or of a newer release. It is left as it is.
        """
        async with self._opening:
            if self._threads is None:
                await self._begin()

    async def _begin(self) -> None:
        self._threads = _Threads(
            ThreadPoolExecutor(1, thread_name_prefix="documents-writer"),
            ThreadPoolExecutor(2, thread_name_prefix="documents-reader"),
        )
        try:
            await self._on(self._threads.writer, self._open)
            for revision in await self._write(_abandoned):
                await self._drop(revision)
        except BaseException:
            with suppress(StoreUnavailable):
                await self.close()
            raise

    def _open(self) -> None:
        if sqlite3.sqlite_version_info < (3, 37):
            raise StoreUnavailable(
                f"cannot use SQLite {sqlite3.sqlite_version}: version 3.37 or newer is needed"
            )
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            self._examine()
        self.path.chmod(0o600)
        self._identity = _identity(self.path)
        self._writing = self._connect("rw")
        self._writing.execute("PRAGMA journal_mode = WAL")
        self._writing.execute("PRAGMA synchronous = FULL")
        self._writing.executescript(_MAKE)

    def _examine(self) -> None:
        """Look at the file without changing it: a connection that only reads merges no log."""
        if not self.path.stat().st_size:
            return  # a first start that was cut off
        # SQLite makes the log first and removes it last: seen twice, so that it is not being removed now.
        log, index = (self.path.with_name(f"{self.path.name}{more}") for more in ("-wal", "-shm"))
        if index.exists() and not log.exists() and index.exists():
            raise self._unusable(f"its log {log.name} is missing")
        try:
            self._look_through("ro")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_READONLY:
                raise
            # After a kill the log's index has to be made anew, which a reader may not do by itself.
            self._look_through("rw")

    def _look_through(self, mode: str) -> None:
        with closing(self._connect(mode)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if application != APPLICATION_ID and (application or tables):
                raise self._unusable("it is the database of something else")
            if version > SCHEMA_VERSION:
                raise self._unusable(
                    f"a newer release wrote it (layout {version}, this one knows {SCHEMA_VERSION})"
                )
            end = time.monotonic() + self._examination
            connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            try:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_INTERRUPT:
                    raise
                verdict = "ok"  # as far as was seen
        if verdict != "ok":
            raise self._unusable(f"it is damaged ({verdict})")

    def _connect(self, mode: str) -> sqlite3.Connection:
        """Never makes a file: one that has gone is not to be replaced by an empty one."""
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=self._busy,
            check_same_thread=False,
        )
        # A log that grew in a burst is cut to this.
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
        return connection

    async def close(self) -> None:
        """Close the file, after what was asked before."""
        threads, self._threads = self._threads, None
        if threads is None:
            return
        try:
            await self._on(threads.writer, self._close_writer)
            # A reader that is at work closes its connection itself.
            await self._on(threads.readers, self._close_readers)
        finally:
            threads.writer.shutdown(wait=False)
            threads.readers.shutdown(wait=False)

    def _close_writer(self) -> None:
        connection, self._writing = self._writing, None
        if connection is not None:
            connection.close()

    def _close_readers(self) -> None:
        with self._lock:
            connections, self._reading = self._reading, []
        for connection in connections:
            connection.close()

    async def ping(self) -> None:
        """Write something."""
        await self._change("INSERT OR REPLACE INTO ping VALUES (1, ?)", [(time.time(),)])

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        """Write documents, in one transaction."""

        def work() -> Written:
            refused: dict[str, str] = {}
            rows: list[_Row] = []
            for document in documents:
                try:
                    rows.append(_row(collection, document))
                except Refused as error:
                    refused[name(document)] = str(error)
            if not rows:
                return Written(refused=refused)

            def insert(connection: sqlite3.Connection) -> int:
                before = connection.total_changes
                connection.executemany(_KEEP, rows)
                return connection.total_changes - before

            inserted = self._transact(insert)
            return Written(inserted, len(rows) - inserted, refused)

        return await self._on(self._opened().writer, work)

    async def replace(self, collection: Collection, document: Document) -> None:
        """Write one in the place of whatever has its ``_id``."""

        def work() -> None:
            row = _row(collection, document)
            self._transact(lambda connection: connection.execute(_REPLACE, row))

        await self._on(self._opened().writer, work)

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        """One by its ``_id``."""
        async for document in self.find(Query(collection, ids=[id], limit=1)):
            return document
        return None

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Page by page, each by a statement of its own: a slow reader holds nothing."""
        left = query.limit
        after: tuple[int, str] | None = None
        while left is None or left > 0:
            statement, values = _page(query, after, min(_PAGE, _PAGE if left is None else left))

            def work(
                connection: sqlite3.Connection, statement: str = statement, values: Any = values
            ) -> tuple[list[dict[str, Any]], tuple[int, str] | None]:
                found, size, last = [], 0, None
                with closing(connection.execute(statement, values)) as cursor:
                    for id, ts, body in cursor:
                        found.append({"_id": id, **json.loads(body), "ts": moment(ts)})
                        last = (ts, id)
                        size += len(body)
                        if size > _PAGE_CHARACTERS:
                            break
                return found, last

            page, after = await self._read(work)
            if not page:
                return
            for document in page:
                yield document
            left = None if left is None else left - len(page)

    async def count(self, query: Query) -> int:
        """How many there are."""
        where, values = _where(query)

        def work(connection: sqlite3.Connection) -> int:
            # Of constants; what is looked for is bound.
            statement = f"SELECT count(*) FROM documents WHERE {where}"  # noqa: S608
            (number,) = connection.execute(statement, values).fetchone()
            return int(number)

        return await self._read(work)

    async def delete(self, query: Query) -> int:
        """Delete them, in transactions that take a moment each."""
        where, values = _where(query)
        statement = (
            "DELETE FROM documents WHERE rowid IN "  # noqa: S608 - of constants
            f"(SELECT rowid FROM documents WHERE {where} LIMIT {_DELETION})"
        )
        deleted = 0
        while True:
            step = await self._write(
                lambda connection: connection.execute(statement, values).rowcount
            )
            deleted += step
            if step < _DELETION:
                return deleted

    async def put_blob(self, id: str, content: bytes) -> None:
        """Write a new revision, name it, and remove the one before."""
        if not writable([id]):
            raise Refused("its name is no text")

        def begin(connection: sqlite3.Connection) -> int | None:
            return connection.execute(
                "INSERT INTO unfinished (since) VALUES (?)", (time.time(),)
            ).lastrowid

        def name_it(connection: sqlite3.Connection) -> int | None:
            old = _let_go(connection, id)
            connection.execute("INSERT INTO blobs VALUES (?, ?, ?)", (id, revision, len(content)))
            connection.execute("DELETE FROM unfinished WHERE revision = ?", (revision,))
            return old

        revision = await self._write(begin)
        chunks = ((revision, n, content[at : at + _CHUNK]) for n, at in _starts(len(content)))
        try:
            while some := list(islice(chunks, _CHUNKS)):
                await self._change("INSERT INTO chunks VALUES (?, ?, ?)", some)
            old = await self._write(name_it)
        except BaseException:
            # Unless it was named after all, while we were told that it takes too long.
            with suppress(StoreUnavailable):
                await self._drop(revision)
            raise
        await self._drop(old)

    async def get_blob(self, id: str) -> bytes | None:
        """Some chunks at a time; from the beginning again, if it is replaced meanwhile."""

        def find(connection: sqlite3.Connection) -> tuple[int, int] | None:
            found: tuple[int, int] | None = connection.execute(
                "SELECT revision, size FROM blobs WHERE id = ?", (id,)
            ).fetchone()
            return found

        if not writable([id]):
            return None
        for _ in range(3):
            row = await self._read(find)
            if row is None:
                return None
            revision, size = row
            parts: list[bytes] = []
            for n, _at in islice(_starts(size), 0, None, _CHUNKS):
                values = (revision, n, n + _CHUNKS)
                parts += await self._read(
                    lambda connection, values=values: [  # type: ignore[misc]
                        data for (data,) in connection.execute(_CHUNKS_OF, values)
                    ]
                )
            content = b"".join(parts)
            if len(content) == size:
                return content
        raise StoreUnavailable(f"cannot read the blob {id}: parts of it are missing")

    async def delete_blob(self, id: str) -> None:
        """Forget the name, and remove what it named."""
        if writable([id]):
            await self._drop(await self._write(lambda connection: _let_go(connection, id)))

    async def _drop(self, revision: int | None) -> None:
        """Remove a revision that has no name, some chunks at a time."""

        def work(connection: sqlite3.Connection) -> bool:
            known = "SELECT 1 FROM unfinished WHERE revision = ?"
            if connection.execute(known, (revision,)).fetchone() is None:
                return False
            chunks = (
                "DELETE FROM chunks WHERE rowid IN "
                "(SELECT rowid FROM chunks WHERE revision = ? LIMIT 256)"
            )
            if connection.execute(chunks, (revision,)).rowcount:
                return True
            connection.execute("DELETE FROM unfinished WHERE revision = ?", (revision,))
            return False

        while revision is not None and await self._write(work):
            pass

    async def _change(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            # The cursor must not leave the thread: freed on another one, it resets a statement that this
            # one may be running by then.
            connection.executemany(statement, rows)

        await self._write(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._on(self._opened().writer, lambda: self._transact(work))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._on(self._opened().readers, lambda: self._look(work))

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """On the writer's thread, in one immediate transaction; an exception rolls it back."""
        self._make_sure()
        if self._writing is None:
            self._writing = self._connect("rw")
            self._writing.execute("PRAGMA synchronous = FULL")
        connection = self._writing
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if _code(error) in _BROKEN:
                self._close_writer()
            raise
        return result

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """On a reader's thread."""
        self._make_sure()
        with self._lock:
            connection = self._reading.pop() if self._reading else None
        if connection is None:
            connection = self._connect("rw")  # to merge the log when it is the last one
            connection.execute("PRAGMA query_only = ON")
        try:
            result = work(connection)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if self._threads is not None:
                self._reading.append(connection)
                return result
        connection.close()
        return result

    def _make_sure(self) -> None:
        """What is written to a file that was removed is lost, and SQLite does not notice."""
        if _identity(self.path) != self._identity:
            raise self._unusable("it was replaced while it was in use")

    def _opened(self) -> _Threads:
        if self._threads is None:
            raise StoreUnavailable(f"cannot use the document store {self.path}: it is not open")
        return self._threads

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            future = thread.submit(work)
        except RuntimeError as error:
            raise StoreUnavailable(
                f"cannot use the document store {self.path}: it was closed"
            ) from error
        try:
            async with asyncio.timeout(self._patience):
                # Shielded: a cancelled caller must not be told less than what was committed.
                return await asyncio.shield(asyncio.wrap_future(future))
        except TimeoutError as error:
            future.cancel()
            raise StoreUnavailable(
                f"cannot use the document store {self.path}: it takes longer than {self._patience:g} s"
            ) from error
        except sqlite3.Error as error:
            if _code(error) in _DAMAGED:
                raise self._unusable(f"it is damaged ({error})") from error
            raise StoreUnavailable(f"cannot use the document store {self.path}: {error}") from error
        except OSError as error:
            raise StoreUnavailable(
                f"cannot use the document store {self.path}: {error.strerror or error}"
            ) from error

    def _unusable(self, what: str) -> StoreUnusable:
        return StoreUnusable(f"cannot use the document store {self.path}: {what}. {HELP}")


def make(path: Path) -> None:
    """Make an empty store, of which a start does not say that it is lost."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_MAKE)


def look_through(path: Path) -> None:
    """Look through the whole of a file that nobody writes to.

    Raises:
        StoreUnusable: it is damaged, not ours, or of a newer release.
        StoreUnavailable: it cannot be read now.
    """
    store = EmbeddedDocuments(path, examination=float("inf"))
    if path.is_dir() or not path.stat().st_size:
        raise store._unusable("it is a folder" if path.is_dir() else "it is empty")
    try:
        store._examine()
    except sqlite3.Error as error:
        if _code(error) in _DAMAGED:
            raise store._unusable(f"it is damaged ({error})") from error
        raise StoreUnavailable(f"cannot use the document store {path}: {error}") from error


def _row(collection: Collection, document: Document) -> _Row:
    """One document as it is kept.

    Raises:
        Refused: it is no document, or too large.
    """
    it: Envelope = examine(document)
    content = {key: value for key, value in document.items() if key not in {"_id", "ts"}}
    try:
        # With NaN and Infinity, as Python reads them again; half surrogate pairs are escaped.
        body = json.dumps(content, separators=(",", ":"))
    except Exception as error:  # whatever it is, this document will not become JSON
        raise Refused(f"JSON cannot hold it: {error}") from error
    if len(body) > MAX_BYTES:
        raise Refused(f"it has {len(body)} bytes, and {MAX_BYTES} are taken")
    return collection.value, it.id, it.model, it.version, it.ts, it.request_id, body


def _where(query: Query) -> tuple[str, list[Any]]:
    """The condition, and the values for it."""
    free = _free(query)
    conditions: list[tuple[str, Any]] = [("collection = ?", query.collection.value)]
    if query.model is not None:
        conditions.append((f"{free}model = ?", next(iter(writable([query.model])), None)))
    if query.version is not None:
        conditions.append((f"{free}version = ?", query.version))
    if query.ids is not None:
        conditions.append((_ONE_OF % "id", json.dumps(writable(query.ids))))
    if query.request_ids is not None:
        column = "request_id" if query.ids is None else "+request_id"
        conditions.append((_ONE_OF % column, json.dumps(writable(query.request_ids))))
    if query.since is not None:
        conditions.append((f"{free}ts >= ?", bound(query.since)))
    if query.until is not None:
        conditions.append((f"{free}ts < ?", bound(query.until)))
    return " AND ".join(text for text, _ in conditions), [value for _, value in conditions]


def _free(query: Query) -> str:
    """What keeps SQLite from using the indexes of a column: it would rather walk through all in their
    order than look for a few and sort them.
    """
    return "" if query.ids is None and query.request_ids is None else "+"


def _page(query: Query, after: tuple[int, str] | None, size: int) -> tuple[str, list[Any]]:
    (where, values), free = _where(query), _free(query)
    order, further = ("DESC", "<") if query.newest_first else ("ASC", ">")
    if after is not None:
        where += f" AND ({free}ts, {free}id) {further} (?, ?)"
        values += after
    statement = (
        f"SELECT id, ts, body FROM documents WHERE {where} "  # noqa: S608 - of constants
        f"ORDER BY {free}ts {order}, {free}id {order} LIMIT {size}"
    )
    return statement, values


def _starts(size: int) -> Iterator[tuple[int, int]]:
    """Number and first byte of each chunk."""
    return enumerate(range(0, size, _CHUNK))


def _let_go(connection: sqlite3.Connection, id: str) -> int | None:
    """Take the name from what has it: its revision, which is to be removed."""
    row = connection.execute("DELETE FROM blobs WHERE id = ? RETURNING revision", (id,)).fetchone()
    if row is None:
        return None
    connection.execute("INSERT INTO unfinished VALUES (?, 0)", row)
    return int(row[0])


def _abandoned(connection: sqlite3.Connection) -> list[int]:
    rows = connection.execute(
        "SELECT revision FROM unfinished WHERE since < ?", (time.time() - _UNFINISHED,)
    )
    return [revision for (revision,) in rows]


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _code(error: sqlite3.Error) -> int:
    """SQLite's own code, without what it is refined by."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
