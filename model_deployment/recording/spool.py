"""The local queue of captures: append-only files, so that no answered request is lost.

A record is written with one system call before its answer is sent. What the kernel has taken survives
``kill -9``; once a second it is forced to the disk, against a power failure. Several processes may write,
each to segments of its own. The drain, another process, carries the records to the document store.

A segment is a file of frames: length of the payload and its CRC-32, little-endian, four bytes each, then
the payload. The name of a segment is the time of its creation and never comes twice, so a record's id
is the name of its segment and its offset.

A segment may grow while its writer holds a lock on it (flock(2)), which ends with the writer. It gets its
name when it is locked already, so the drain never takes it for an ended one. The writer begins a new one
now and then, for older ones to be deleted, and less often while the drain is away: the folder stays short.
"""

import contextlib
import fcntl
import os
import secrets
import struct
import threading
import time
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.recording.file_lock import try_lock

_FRAME = struct.Struct("<II")
_SUFFIX = ".seg"
#: Follows the name of a segment that is not locked yet.
_DRAFT = ".new"
#: Seconds after which nobody will lock a draft any more.
_ABANDONED = 60.0
#: Initial value of the checksums: with it zeros, as a crash of the machine may leave them, are no record.
_SEED = 0x5EED
#: Bytes up to which the length of a damaged record is believed.
_LONGEST = 64 * 1024 * 1024
#: Seconds after which a segment is ended although earlier ones of its writer are still there.
_PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Record:
    id: str
    payload: bytes
    #: Offset of the next record.
    end: int
    #: The payload is lost, and empty here. The records behind it are not.
    damaged: bool = False


class Spool:
    """The writing end, for one thread. Other processes may have writing ends in the same folder."""

    def __init__(self, root: Path, *, max_bytes: int, segment_bytes: int = 8 * 1024 * 1024) -> None:
        """Remember the limits.

        Args:
            root: a folder of its own.
            max_bytes: of all segments; records beyond are dropped, and counted. Those of other writers are
                known as of the last :meth:`remember`, so together they may exceed the limit by what they
                write in between.
            segment_bytes: a longer segment is ended.
        """
        self.root = root
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._active: Path | None = None
        self._begun = 0.0
        #: The number that the name of the newest segment begins with.
        self._newest = 0
        self._size = 0
        self._unsynced = False
        #: Descriptors of ended segments, to be forced to the disk and closed.
        self._ended: deque[int] = deque()
        self._syncing = threading.Lock()
        #: Bytes of this writer's earlier segments by name; deleted ones count until :meth:`remember`.
        self._ended_sizes: dict[str, int] = {}
        #: Bytes of all segments but the active one.
        self._others = 0
        #: Records that there was no room for.
        self.dropped = 0

    def open(self) -> None:
        """Begin to write; what is there already stays.

        Raises:
            OSError: the folder cannot be used.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for draft in self.root.glob(f"*{_DRAFT}"):
            if age(draft) > _ABANDONED:
                draft.unlink(missing_ok=True)
        self._newest = max(map(_begun, segments(self.root)), default=0)
        self.remember((), extents(self.root))
        self._begin_segment_if_there_is_room()

    def close(self) -> None:
        """Force everything to the disk, and stop writing."""
        self._end_segment()
        with contextlib.suppress(OSError):
            self.sync()

    @property
    def size(self) -> int:
        """Bytes of all segments, as far as this writer knows."""
        return self._others + self._size

    def append(self, parts: Sequence[bytes]) -> bool:
        """Write one record, given in parts, with one system call. False if the record was dropped."""
        return self.append_all([parts]) == 1

    def append_all(self, records: Sequence[Sequence[bytes]]) -> int:
        """Write some records, each given in parts, with one system call.

        Returns:
            How many were written; the others are counted in :attr:`dropped`.
        """
        room = self._max_bytes - self.size
        frames: list[bytes] = []
        ends: list[int] = []
        end = 0
        for parts in records:
            frame = _framed(parts)
            if end + len(frame) <= room:
                end += len(frame)
                frames.append(frame)
                ends.append(end)
        written = self._write(frames, ends) if frames else 0
        self.dropped += len(records) - written
        if len(frames) < len(records) and (self._active is None or self._size):
            self._begin_segment_if_there_is_room()
        return written

    def _write(self, frames: Sequence[bytes], ends: Sequence[int]) -> int:
        """Write frames, which end at these offsets from the first; how many of them are whole."""
        try:
            if self._descriptor < 0 or self._size >= self._segment_bytes:
                self._begin_segment()
            written = os.write(self._descriptor, b"".join(frames))
        except OSError:
            return 0
        self._unsynced = True
        if written == ends[-1]:
            self._size += written
            return len(frames)
        whole = bisect_right(ends, written)
        kept = ends[whole - 1] if whole else 0
        self._size += kept
        if kept < written:
            self._take_back(written - kept)
        return whole

    def sync(self) -> None:
        """Force appended records to the disk. May be called from another thread.

        Raises:
            OSError: the disk fails.
        """
        with self._syncing:
            while self._ended:
                descriptor = self._ended.popleft()
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            # A segment that ends meanwhile stays open until the next call.
            if self._unsynced and (descriptor := self._descriptor) >= 0:
                self._unsynced = False
                os.fdatasync(descriptor)

    def ended_segments(self) -> list[str]:
        """Names of this writer's segments that count, except the active one."""
        return list(self._ended_sizes)

    def remember(self, ended: Collection[str], sizes: Mapping[str, int]) -> None:
        """Count what others wrote, and what the drain deleted.

        Args:
            ended: :meth:`ended_segments` before the folder was looked through.
            sizes: :func:`extents` of the folder.
        """
        for name in ended:
            if name not in sizes:
                self._ended_sizes.pop(name, None)
        own = {*self._ended_sizes, self._active.name if self._active else ""}
        foreign = sum(size for name, size in sizes.items() if name not in own)
        self._others = foreign + sum(self._ended_sizes.values())

    def end_old(self, longest: float) -> None:
        """End a segment that is older than ``longest`` seconds, so that it can be deleted.

        While earlier segments of this writer are still there, it may grow older: a store that is away for
        days would leave thousands of files.
        """
        age = time.monotonic() - self._begun
        if self._size and age > (max(longest, _PATIENCE) if self._ended_sizes else longest):
            self._begin_segment_if_there_is_room()

    def _begin_segment(self) -> None:
        self._end_segment()
        # Behind the earlier ones even if the clock was set back: they are drained in their order.
        begun = max(time.time_ns(), self._newest + 1)
        segment = self.root / f"{begun:020d}-{secrets.token_hex(4)}{_SUFFIX}"
        self._descriptor = _create_locked(segment)
        self._newest, self._begun = begun, time.monotonic()
        self._active, self._size = segment, 0

    def _begin_segment_if_there_is_room(self) -> None:
        with contextlib.suppress(OSError):
            self._begin_segment()

    def _take_back(self, written: int) -> None:
        """Remove a record that was written in part: readers would stop at its wrong checksum."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._size += written
            self._end_segment()

    def _end_segment(self) -> None:
        if self._active is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._ended.append(self._descriptor)
            self._ended_sizes[self._active.name] = self._size
            self._others += self._size
        self._active, self._descriptor, self._size = None, -1, 0


def _create_locked(segment: Path) -> int:
    """A descriptor of a new segment, which is locked before it has its name."""
    draft = segment.with_name(segment.name + _DRAFT)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(segment)
    except BaseException:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
        raise
    return descriptor


@contextlib.contextmanager
def hold_ended(segment: Path) -> Iterator[bool]:
    """Whether no writer has a segment any more: one has ended it, or died. It stays so meanwhile."""
    try:
        descriptor = os.open(segment, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    with try_lock(descriptor) as locked:
        yield locked


def _framed(parts: Sequence[bytes]) -> bytes:
    payload = b"".join(parts)
    return _FRAME.pack(len(payload), zlib.crc32(payload, _SEED)) + payload


def segments(root: Path) -> list[Path]:
    """All segments, oldest first."""
    return sorted(root.glob(f"*{_SUFFIX}"))


def extents(root: Path) -> dict[str, int]:
    """Bytes of each segment by its name."""
    return {path.name: extent(path) for path in segments(root)}


def read(segment: Path, offset: int) -> Iterator[Record]:
    """The records of a segment from an offset on, damaged ones included.

    Reading ends at the first incomplete record, and at one so damaged that its length is unknown.
    """
    try:
        file = segment.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            length, crc = _FRAME.unpack(frame)
            end = offset + _FRAME.size + length
            # A damaged length may say gigabytes: they are not read.
            if end > size or len(payload := file.read(length)) < length:
                return
            damaged = zlib.crc32(payload, _SEED) != crc
            if damaged and not _is_plausible(length, size - end):
                return
            yield Record(f"{segment.stem}-{offset:x}", b"" if damaged else payload, end, damaged)
            offset = end


def _is_plausible(length: int, rest: int) -> bool:
    """Whether the length of a damaged record may be right: a frame or the end of the file follows.

    Zeros, as a crash of the machine may leave them, are not records without bytes.
    """
    return 0 < length <= _LONGEST and (rest == 0 or rest >= _FRAME.size)


def age(segment: Path) -> float:
    """Seconds since the last write to a file; 0 if it is gone."""
    try:
        return max(0.0, time.time() - segment.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


def _begun(segment: Path) -> int:
    """Nanoseconds since 1970, from the name; 0 if the name has no number."""
    begun = segment.name.partition("-")[0]
    return int(begun) if begun.isascii() and begun.isdigit() else 0


def extent(path: Path) -> int:
    """Bytes of a segment; 0 if it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
