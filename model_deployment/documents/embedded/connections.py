"""The threads of the embedded store: one writes, two read, each call within a time limit.

The writer works in short transactions and readers in short statements, so that no reader keeps the log from
being merged. Nothing else in this process may open the file: closing it would drop SQLite's locks.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from model_deployment.documents.base import StoreUnavailable
from model_deployment.documents.embedded import file

T = TypeVar("T")

#: After these errors the connection is replaced.
_BROKEN = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT})


@dataclass(frozen=True, slots=True)
class _Threads:
    writer: ThreadPoolExecutor
    readers: ThreadPoolExecutor


class Connections:
    """One connection that writes, and one for each read. Translates errors of SQLite and of the disk."""

    def __init__(self, path: Path, *, busy: float, patience: float, check_seconds: float) -> None:
        self._path = path
        self._busy = busy
        self._patience = patience
        self._check_seconds = check_seconds
        self._threads: _Threads | None = None
        self._identity: tuple[int, int] | None = None
        self._writing: sqlite3.Connection | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Start the threads and open the file. Idempotent."""
        async with self._opening:
            if self._threads is not None:
                return
            self._threads = _Threads(
                ThreadPoolExecutor(1, thread_name_prefix="documents-writer"),
                ThreadPoolExecutor(2, thread_name_prefix="documents-reader"),
            )
            try:
                await self._on(self._threads.writer, self._open)
            except BaseException:
                with suppress(StoreUnavailable):
                    await self.close()
                raise

    def _open(self) -> None:
        connection = file.open_for_writing(
            self._path, busy=self._busy, check_seconds=self._check_seconds
        )
        self._writing, self._identity = connection, file.identity(self._path)

    async def close(self) -> None:
        """Close the file once all earlier calls are done."""
        threads, self._threads = self._threads, None
        if threads is None:
            return
        try:
            await self._on(threads.writer, self._close_writer)
        finally:
            threads.writer.shutdown(wait=False)
            threads.readers.shutdown(wait=False)

    def _close_writer(self) -> None:
        connection, self._writing = self._writing, None
        if connection is not None:
            connection.close()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in one transaction of the writer."""
        return await self.on_writer(lambda: self.transact(work))

    async def on_writer(self, work: Callable[[], T]) -> T:
        """Do some work on the writer's thread, where it may call :meth:`transact`."""
        return await self._on(self._opened().writer, work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work on a reader's thread. A cursor must not leave the thread."""
        return await self._on(self._opened().readers, lambda: self._read(work))

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in one immediate transaction; an exception rolls it back."""
        self._check_identity()
        if self._writing is None:
            self._writing = file.connect(self._path, "rw", self._busy)
            self._writing.execute("PRAGMA synchronous = FULL")
        try:
            with self._writing as connection:
                connection.execute("BEGIN IMMEDIATE")
                return work(connection)
        except sqlite3.Error as error:
            if file.error_code(error) in _BROKEN:
                self._close_writer()
            raise

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_identity()
        # Not "ro": the last connection to close merges the log.
        with closing(file.connect(self._path, "rw", self._busy)) as connection:
            connection.execute("PRAGMA query_only = ON")
            return work(connection)

    def _check_identity(self) -> None:
        """SQLite does not notice that its file was removed; what is written then is lost."""
        if file.identity(self._path) != self._identity:
            raise file.unusable(self._path, "it was replaced while it was in use")

    def _opened(self) -> _Threads:
        if self._threads is None:
            raise StoreUnavailable(f"cannot use the document store {self._path}: it is not open")
        return self._threads

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            future = thread.submit(work)
        except RuntimeError as error:
            raise StoreUnavailable(
                f"cannot use the document store {self._path}: it was closed"
            ) from error
        try:
            async with asyncio.timeout(self._patience):
                # Shielded: work goes on for a cancelled caller, so that a commit is not half reported.
                return await asyncio.shield(asyncio.wrap_future(future))
        except TimeoutError as error:
            future.cancel()
            raise StoreUnavailable(
                f"cannot use the document store {self._path}: it did not answer within "
                f"{self._patience:g} s"
            ) from error
        except (sqlite3.Error, OSError) as error:
            raise file.explain(self._path, error) from error
