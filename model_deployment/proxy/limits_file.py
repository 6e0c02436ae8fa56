"""The memory-mapped file in which each proxy writes what it uses, and which other proxies live.

The file has a column for each proxy and a row for each deployment, and one more row for what belongs to no
deployment. Where both meet is a record of 64-bit integers, one cache line long. A proxy writes only its own
column, so there is no lock to be left locked by a process that is killed, and what a dead process used is
simply not added up any more.
"""

import contextlib
import mmap
import os
import select
from pathlib import Path
from threading import Lock
from time import monotonic_ns
from typing import Self

from model_deployment.runtime.identity import boot_id, is_running, read_process

#: Integers in a record: 64 bytes, a cache line.
RECORD = 8
_INTEGER = 8

# The first record describes the file.
_FORMAT, _BOOT, _ROWS, _COLUMNS, _CLAIMED = range(5)
# Then comes a record for each proxy. Its times are those of the monotonic clock, in nanoseconds.
_PID, _STARTED, HEARTBEAT = range(3)

#: The format of the file, in its first eight bytes.
_NAME = int.from_bytes(b"limits-2", "little")

#: Rows of a file. Few columns are enough for few proxies, and as many again that they replace.
ROWS = 1024
_FEW, _MANY = 16, 64


def columns_for(proxies: int) -> int:
    """Columns of a file for so many proxies: 1 MB of them, or 4."""
    return _FEW if 2 * proxies <= _FEW else _MANY


def create_limits_file(path: Path, rows: int = ROWS, columns: int = _MANY) -> None:
    """Ensure that there is a file of this size that was made since the machine started.

    Proxies that have opened an unsuitable file share no limits with those that open the new one.
    """
    expected = _description(rows, columns)
    size = _INTEGER * _integers(rows, columns)
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        head = file.read(_INTEGER * len(expected))
        if path.stat().st_size == size and [*memoryview(head).cast("q")] == expected:
            return
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        head = b"".join(number.to_bytes(_INTEGER, "little") for number in expected)
        # Written rather than left sparse: a full disk must not kill a process that writes to a page later.
        file.write(head.ljust(size, b"\0"))
    new.replace(path)


def living_columns(path: Path) -> dict[tuple[int, int, int], list[int]]:
    """The record of each living proxy that belongs to no deployment, by column, pid and its start.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another format.
    """
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
        memoryview(mapping) as view,
        view.cast("q") as words,
    ):
        if words[_FORMAT] != _NAME or len(words) != _integers(words[_ROWS], words[_COLUMNS]):
            raise ValueError(f"cannot read {path}: it has another format")
        rows, columns = words[_ROWS], words[_COLUMNS]
        found = {}
        for column in range(columns):
            header = RECORD * (1 + column)
            pid, started = words[header + _PID], words[header + _STARTED]
            if pid and is_running(pid, started):
                start = RECORD * (1 + columns + column * (rows + 1) + rows)
                found[column, pid, started] = words[start : start + RECORD].tolist()
        return found


class LimitsFile:
    """A table of integers as one proxy sees it: its own column, and the columns of other living proxies."""

    def __init__(self, words: memoryview, column: int) -> None:
        self.words = words
        self._column = column
        self._rows, self._columns = words[_ROWS], words[_COLUMNS]
        #: Where the own column begins in ``words``.
        self.own = self._start(column)
        #: Where the columns of the other living proxies begin.
        self.others: tuple[int, ...] = ()
        self._claimed = words[_CLAIMED]
        self._heartbeats: dict[int, int] = {}
        self._watched: list[int] = []
        self._deaths = select.poll()
        self._mapping: mmap.mmap | None = None
        # Only locks execute the processor's memory barriers: see fence().
        self._lock = Lock()
        self._lock.acquire()

    @classmethod
    def private(cls) -> Self:
        """A table of one row for one process, in its own memory."""
        words = memoryview(bytearray(_INTEGER * _integers(1, 1))).cast("q")
        words[_ROWS] = words[_COLUMNS] = 1
        return cls(words, 0)

    @classmethod
    def open(cls, path: Path, column: int) -> Self:
        """Claim a column of a file, and set its numbers to zero.

        Raises:
            ValueError: the file has another format, or no such column, or another process has the column.
        """
        with path.open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), 0)
        words = memoryview(mapping).cast("q")
        if words[_FORMAT] != _NAME or len(words) != _integers(words[_ROWS], words[_COLUMNS]):
            raise ValueError(f"cannot share limits through {path}: it has another format")
        table = cls(words, column)
        table._mapping = mapping
        table._claim()
        return table

    def row(self, index: int) -> int:
        """Where the record of a row begins, counted from the beginning of a column.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= index < self._rows:
            raise IndexError(f"cannot count requests in row {index}: there are {self._rows} rows")
        return index * RECORD

    @property
    def common_row(self) -> int:
        """Where the record begins that belongs to no deployment, counted from the beginning of a column."""
        return self._rows * RECORD

    def fence(self) -> None:
        """Make what was written before visible to other processes before anything is read after.

        A processor may keep a write to itself for as long as another core holds the cache line. Two proxies
        that each write and then read the other's number could both read the old one. Releasing a lock and
        acquiring it again is a full barrier on x86-64 and on ARMv8.
        """
        self._lock.release()
        self._lock.acquire(False)

    def sum_of_others(self, offset: int) -> int:
        """The sum of what the other living proxies have written at an offset of their columns."""
        words = self.words
        if words[_CLAIMED] != self._claimed:
            self._find_others()
        if not self.others:
            return 0
        self.fence()
        total = 0
        for start in self.others:
            total += words[start + offset]
        return total

    def beat(self, now: int) -> None:
        """Tell the other proxies that this one attends to its requests."""
        self.words[self._header(self._column) + HEARTBEAT] = now

    def last_beat(self, start: int) -> int:
        """When the proxy whose column begins at ``start`` has last attended to its requests."""
        return self.words[self._heartbeats[start]]

    def drop_dead(self) -> bool:
        """Forget proxies that have ended; whether there were any."""
        if not self.others or not self._deaths.poll(0):
            return False
        self._find_others()
        return True

    def close(self) -> None:
        """Give the column back."""
        self.others = ()
        self._unwatch()
        if self._mapping is not None:
            self.words[self._header(self._column) + _PID] = 0
            self.words[_CLAIMED] = monotonic_ns()
            self.words.release()
            self._mapping.close()
            self._mapping = None

    def _claim(self) -> None:
        words, header = self.words, self._header(self._column)
        if not 0 <= self._column < self._columns:
            raise ValueError(f"cannot share limits as proxy {self._column} of {self._columns}")
        if (pid := words[header + _PID]) and is_running(pid, words[header + _STARTED]):
            raise ValueError(f"cannot share limits as proxy {self._column}: process {pid} does")
        process = read_process(os.getpid())
        assert process is not None  # noqa: S101 - it is this one
        words[header + _PID] = 0
        size = (self._rows + 1) * RECORD
        words[self.own : self.own + size] = memoryview(bytes(size * _INTEGER)).cast("q")
        words[header + _STARTED] = process.started
        words[header + HEARTBEAT] = 0
        self.fence()
        words[header + _PID] = process.pid
        self.fence()
        # Any number that is new makes the others look who is there. Two proxies never write the same one.
        words[_CLAIMED] = monotonic_ns()
        self._find_others()

    def _find_others(self) -> None:
        self._claimed = self.words[_CLAIMED]
        self.fence()
        self._unwatch()
        self._heartbeats = {}
        for column in range(self._columns):
            header = self._header(column)
            pid, started = self.words[header + _PID], self.words[header + _STARTED]
            if pid and column != self._column and self._watch(pid, started):
                self._heartbeats[self._start(column)] = header + HEARTBEAT
        self.others = tuple(self._heartbeats)

    def _watch(self, pid: int, started: int) -> bool:
        """Have the end of a process reported; False if it has ended."""
        try:
            descriptor = os.pidfd_open(pid)
            self._deaths.register(descriptor, select.POLLIN)
            self._watched.append(descriptor)
            return is_running(pid, started)
        except ProcessLookupError:
            return False
        except OSError:  # no descriptor is left: it may live, so look again next time
            self._claimed = 0
            return True

    def _unwatch(self) -> None:
        while self._watched:
            descriptor = self._watched.pop()
            self._deaths.unregister(descriptor)
            os.close(descriptor)

    def _header(self, column: int) -> int:
        return RECORD * (1 + column)

    def _start(self, column: int) -> int:
        # A column in one piece: 64 deployments in a page of memory, whatever the number of columns.
        return RECORD * (1 + self._columns + column * (self._rows + 1))


def _integers(rows: int, columns: int) -> int:
    return RECORD * (1 + columns + columns * (rows + 1))


def _description(rows: int, columns: int) -> list[int]:
    return [_NAME, int(boot_id().replace("-", "")[:15], 16), rows, columns]
