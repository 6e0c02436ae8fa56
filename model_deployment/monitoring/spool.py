"""The local queue of captures: append-only files, so that nothing that was answered is lost.

A record is written with one system call before its answer is sent. What the kernel has taken survives
``kill -9``; once a second it is forced to the disk, for the day the power fails. Carrying records to the
document store is the business of another process (``drain.py``), which deletes the files it has emptied.

A segment is a file of frames: length of the payload and its CRC-32, little-endian, four bytes each, then
the payload. Its name is the time it was begun, so no name ever comes twice, and a record is known by the
name of its segment and its place in it. Only the newest segment may grow, so whoever writes begins an
empty one now and then: what is behind it can be deleted once it is read.
"""

import contextlib
import os
import secrets
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FRAME = struct.Struct("<II")
_SUFFIX = ".seg"
#: Where checksums begin: of nothing but zeros, as a crash of the machine may leave them, none is right.
_SEED = 0x5EED


@dataclass(frozen=True, slots=True)
class Record:
    """One payload, and its name for ever."""

    id: str
    payload: bytes
    #: Where the next one begins.
    end: int


class Spool:
    """The end that is written to, by one thread."""

    def __init__(self, root: Path, *, max_bytes: int, segment_bytes: int = 8 * 1024 * 1024) -> None:
        """Open nothing yet.

        Args:
            root: a folder of its own.
            max_bytes: what all segments may take; records beyond are dropped, and counted.
            segment_bytes: a segment of more is not written to any more.
        """
        self.root = root
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._active: Path | None = None
        self._begun = 0.0
        self._size = 0
        self._unsynced = False
        #: Descriptors of segments that have ended, to be forced to the disk and closed.
        self._ended: deque[int] = deque()
        self._syncing = threading.Lock()
        #: Bytes in all other segments, as of the last look.
        self._others = 0
        #: Records that found no room.
        self.dropped = 0

    def open(self) -> None:
        """Take over what an earlier controller left.

        Raises:
            OSError: the folder cannot be used.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin_segment_if_there_is_room()
        self.look()

    def close(self) -> None:
        """Force what there is to the disk, and stop writing."""
        self._end_segment()
        with contextlib.suppress(OSError):
            self.sync()

    @property
    def size(self) -> int:
        """What all segments take, as of the last look."""
        return self._others + self._size

    def append(self, parts: Sequence[bytes]) -> bool:
        """Write one record, given in parts, with one system call. False if it was dropped."""
        length = sum(map(len, parts))
        if self.size + length + _FRAME.size > self._max_bytes:
            self.dropped += 1
            if self._active is None or self._size:
                self._begin_segment_if_there_is_room()
            return False
        crc = _SEED
        for part in parts:
            crc = zlib.crc32(part, crc)
        try:
            if self._descriptor < 0 or self._size >= self._segment_bytes:
                self._begin_segment()
            written = os.writev(self._descriptor, [_FRAME.pack(length, crc), *parts])
        except OSError:
            self.dropped += 1
            return False
        self._unsynced = True
        if written < length + _FRAME.size:
            self._take_back(written)
            self.dropped += 1
            return False
        self._size += written
        return True

    def sync(self) -> None:
        """Force what was appended to the disk. May be called from another thread than the rest.

        Raises:
            OSError: it cannot be.
        """
        with self._syncing:
            while self._ended:
                descriptor = self._ended.popleft()
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
            # Whatever ends meanwhile stays open until the next time.
            if self._unsynced and (descriptor := self._descriptor) >= 0:
                self._unsynced = False
                os.fdatasync(descriptor)

    def look(self, longest: float = float("inf")) -> None:
        """Find out how much is still there, and end a segment that was begun long ago, in seconds."""
        if self._size and time.monotonic() - self._begun > longest:
            self._begin_segment_if_there_is_room()
        sizes = {path: _size(path) for path in segments(self.root)}
        self._others = sum(size for path, size in sizes.items() if path != self._active)

    def _begin_segment(self) -> None:
        self._end_segment()
        # Behind all others, also after the clock was set back: the last one is never deleted.
        newest = max(map(_begun, segments(self.root)), default=0)
        name = f"{max(time.time_ns(), newest + 1):020d}-{secrets.token_hex(2)}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self.root / name, flags, 0o600)
        self._active, self._size, self._begun = self.root / name, 0, time.monotonic()

    def _begin_segment_if_there_is_room(self) -> None:
        with contextlib.suppress(OSError):
            self._begin_segment()

    def _take_back(self, written: int) -> None:
        """There was room for a part only. Without a right checksum it would end what can be read."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._size += written
            self._end_segment()

    def _end_segment(self) -> None:
        if self._active is not None:
            self._ended.append(self._descriptor)
            self._others += self._size
        self._active, self._descriptor, self._size = None, -1, 0


def segments(root: Path) -> list[Path]:
    """All there are, oldest first; the last one may grow."""
    return sorted(root.glob(f"*{_SUFFIX}"))


def read(segment: Path, offset: int) -> Iterator[Record]:
    """The whole records of a segment from some offset on. It ends at the first that is not whole."""
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
            # A length that is damaged may be gigabytes: they are not asked for.
            if end > size or zlib.crc32(payload := file.read(length), _SEED) != crc:
                return
            yield Record(f"{segment.stem}-{offset:x}", payload, end)
            offset = end


def age(segment: Path) -> float:
    """Seconds since a segment was begun."""
    begun = _begun(segment)
    return max(0.0, time.time() - begun / 1e9) if begun else 0.0


def _begun(segment: Path) -> int:
    """Nanoseconds since 1970; 0 if its name does not tell."""
    begun = segment.name.partition("-")[0]
    return int(begun) if begun.isascii() and begun.isdigit() else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
