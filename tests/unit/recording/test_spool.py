"""The local queue: what was appended is read back, and nothing that is damaged is."""

import os
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.recording import spool as module
from model_deployment.recording.spool import Record, Spool, age, extents, hold_ended, read, segments

MEBIBYTE = 1024 * 1024
FRAME = 8

Make = Callable[..., Spool]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Spool] = []

    def open_one(max_bytes: int = MEBIBYTE, **more: int) -> Spool:
        made.append(Spool(tmp_path / "spool", max_bytes=max_bytes, **more))
        made[-1].open()
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def everything(root: Path) -> list[Record]:
    return [record for segment in segments(root) for record in read(segment, 0)]


def remember(spool: Spool) -> None:
    spool.remember(spool.ended_segments(), extents(spool.root))


def payloads(root: Path) -> list[bytes]:
    return [record.payload for record in everything(root)]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A write beyond ends short, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_record_is_found_from_where_the_one_before_ended(make: Make) -> None:
    spool = make()
    for content in (b"a", b"", b"c"):
        spool.append([content])
    (segment,) = segments(spool.root)
    first, second, third = read(segment, 0)
    assert [record.payload for record in read(segment, first.end)] == [b"", b"c"]
    assert [record.id for record in read(segment, first.end)] == [second.id, third.id]
    assert list(read(segment, third.end)) == []


def test_names_are_those_of_segment_and_place_and_never_come_twice(make: Make) -> None:
    spool = make(segment_bytes=30)
    for number in range(20):
        spool.append([b"%02d" % number * 5])
    records = everything(spool.root)
    assert len({record.id for record in records}) == 20
    again = everything(spool.root)
    assert [record.id for record in again] == [record.id for record in records]
    assert records[0].id == f"{segments(spool.root)[0].stem}-0"


def test_segment_full_is_followed_by_another(make: Make) -> None:
    spool = make(segment_bytes=100)
    for _ in range(10):
        spool.append([b"x" * 42])
    assert [segment.stat().st_size for segment in segments(spool.root)] == [100] * 5
    assert len(everything(spool.root)) == 10


def test_segments_are_in_order_also_after_the_clock_was_set_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(segment_bytes=1)
    spool.append([b"first"])
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    spool.append([b"second"])
    spool.append([b"third"])
    assert payloads(spool.root) == [b"first", b"second", b"third"]


def test_record_without_room_is_dropped_and_counted(make: Make) -> None:
    spool = make(max_bytes=100)
    assert spool.append([b"x" * 80])
    assert not spool.append([b"y" * 10])
    assert spool.append([b"z" * 4])
    assert not spool.append([b"y" * 1000])
    assert (spool.dropped, spool.size) == (2, 100)
    assert payloads(spool.root) == [b"x" * 80, b"z" * 4]


def test_spool_emptied_takes_records_again(make: Make) -> None:
    """Also where all of it was one segment: that must not stay the newest, which nobody deletes."""
    spool = make(max_bytes=100)
    spool.append([b"x" * 80])
    assert not spool.append([b"y" * 80])
    full, newest = segments(spool.root)
    assert not spool.append([b"y" * 80])
    assert segments(spool.root) == [full, newest]
    full.unlink()
    remember(spool)
    assert spool.append([b"y" * 80])


def test_spool_of_an_earlier_controller_is_continued(make: Make) -> None:
    earlier = make()
    earlier.append([b"x" * 92])
    earlier.close()
    spool = make(max_bytes=150)
    assert spool.size == 100
    assert not spool.append([b"y" * 92])
    spool.append([b"z"])
    assert payloads(spool.root) == [b"x" * 92, b"z"]
    assert segments(spool.root)[-1].read_bytes()[FRAME:] == b"z"


def test_spool_measurement_sees_deleted_segments(make: Make) -> None:
    spool = make()
    spool.append([b"x" * 92])
    remember(spool)
    assert spool.size == 100
    spool.end_old(0)
    old, _ = segments(spool.root)
    old.unlink()
    assert spool.size == 100
    remember(spool)
    assert spool.size == 0


def test_segment_old_is_ended(make: Make) -> None:
    spool = make()
    spool.append([b"x" * 92])
    spool.end_old(60)
    assert len(segments(spool.root)) == 1
    spool.end_old(0)
    old, newest = segments(spool.root)
    assert newest.stat().st_size == 0
    # An empty one is not followed by another.
    old.unlink()
    remember(spool)
    spool.end_old(0)
    assert segments(spool.root) == [newest]


def test_segments_last_longer_without_a_reader(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away for three days, and a record every ten seconds."""
    spool, now, begin = make(), 1000.0, 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    spool._begun = begin
    while now < begin + 72 * 3600:
        now += 10
        spool.append([b"x"])
        spool.end_old(60)
    assert 70 < len(segments(spool.root)) < 80
    # Somebody reads.
    for segment in segments(spool.root)[:-1]:
        segment.unlink()
    remember(spool)
    now += 61
    spool.append([b"x"])
    spool.end_old(60)
    assert len(segments(spool.root)) == 2


def test_a_record_is_taken_without_looking_through_the_folder(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(segment_bytes=1)

    def looks(_: Path) -> list[Path]:
        raise AssertionError("it looks through the folder")

    with monkeypatch.context() as watched:
        watched.setattr(module, "segments", looks)
        for _ in range(3):
            assert spool.append([b"x"])
        spool.end_old(0)
    assert payloads(spool.root) == [b"x"] * 3


@pytest.mark.parametrize("number", [0, 1, 3])
def test_segment_that_ends_during_a_measurement_counts_once(make: Make, number: int) -> None:
    spool = make(segment_bytes=100)
    for _ in range(3):
        spool.append([b"x" * 42])
    ended = spool.ended_segments()
    for _ in range(number):
        spool.append([b"x" * 42])
    sizes = extents(spool.root)
    for _ in range(number):
        spool.append([b"x" * 42])
    spool.remember(ended, sizes)
    assert spool.size == 50 * (3 + 2 * number)
    remember(spool)
    assert spool.size == 50 * (3 + 2 * number)


def test_segment_deleted_during_a_measurement_counts_until_the_next(make: Make) -> None:
    spool = make(segment_bytes=100)
    for _ in range(5):
        spool.append([b"x" * 42])
    ended = spool.ended_segments()
    first, second, _ = segments(spool.root)
    first.unlink()
    sizes = extents(spool.root)
    second.unlink()
    spool.remember(ended, sizes)
    assert spool.size == 150
    remember(spool)
    assert spool.size == 50


def test_segment_ended_without_a_successor_counts_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    spool = make()
    spool.append([b"x" * 92])
    with monkeypatch.context() as away:
        away.setattr("os.open", full)
        spool.end_old(0)
        remember(spool)
        assert spool.size == 100
    ended = spool.ended_segments()
    spool.append([b"x" * 42])
    spool.remember(ended, extents(spool.root))
    assert spool.size == 150


def test_record_written_in_part_is_removed(make: Make) -> None:
    spool = make()
    spool.append([b"a" * 100])
    with no_file_longer_than(200):
        assert not spool.append([b"b" * 1000])
        assert (spool.dropped, spool.size) == (1, 108)
        # There is room for less.
        assert spool.append([b"c" * 10])
    assert spool.append([b"d" * 1000])
    assert payloads(spool.root) == [b"a" * 100, b"c" * 10, b"d" * 1000]


def test_half_a_record_that_cannot_be_taken_back_ends_the_segment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    spool = make()
    spool.append([b"a" * 100])
    monkeypatch.setattr("os.ftruncate", fails)
    with no_file_longer_than(200):
        assert not spool.append([b"b" * 1000])
    assert spool.size == 200
    assert spool.append([b"c"])
    assert payloads(spool.root) == [b"a" * 100, b"c"]


def test_disk_full_drops_only_the_record(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    spool = make()
    with monkeypatch.context() as away:
        away.setattr("os.write", full)
        assert not spool.append([b"a"])
    assert spool.append([b"b"])
    assert spool.dropped == 1
    assert payloads(spool.root) == [b"b"]


def test_record_written_in_part_is_not_read(make: Make) -> None:
    spool = make()
    for content in (b"first", b"second"):
        spool.append([content])
    (segment,) = segments(spool.root)
    whole = segment.read_bytes()
    for length in range(FRAME + 5, len(whole)):
        segment.write_bytes(whole[:length])
        assert payloads(spool.root) == [b"first"], length


def damage(segment: Path, place: int, value: bytes) -> None:
    content = bytearray(segment.read_bytes())
    content[place : place + len(value)] = value
    segment.write_bytes(content)


@pytest.mark.parametrize("place", [0, 3])
def test_record_with_a_damaged_length_ends_reading(make: Make, place: int) -> None:
    spool = make()
    for content in (b"first", b"second", b"third"):
        spool.append([content])
    (segment,) = segments(spool.root)
    damage(segment, FRAME + 5 + place, b"\xff")
    assert payloads(spool.root) == [b"first"]


@pytest.mark.parametrize("place", [4, 7, 8, 13])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_record_damaged_loses_no_others(make: Make, place: int, number: int) -> None:
    spool = make()
    for content in (b"first-", b"second", b"third-"):
        spool.append([content])
    (segment,) = segments(spool.root)
    whole = everything(spool.root)
    damage(segment, number * (FRAME + 6) + place, b"\xff")
    found = everything(spool.root)
    assert [record.damaged for record in found] == [n == number for n in range(3)]
    assert found[number].payload == b""
    assert [(record.id, record.end) for record in found] == [
        (record.id, record.end) for record in whole
    ]
    assert [one for one in found if not one.damaged] == [*whole[:number], *whole[number + 1 :]]


def test_record_damaged_without_a_frame_behind_ends_reading(make: Make) -> None:
    spool = make()
    spool.append([b"first"])
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(struct.pack("<II", 10, 0) + b"x" * 13)
    assert payloads(spool.root) == [b"first"]


def test_record_length_absurd_ends_reading(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make()
    spool.append([b"x" * 100])
    spool.append([b"second"])
    (segment,) = segments(spool.root)
    damage(segment, FRAME, b"y")
    monkeypatch.setattr(module, "_LONGEST", 99)
    assert everything(spool.root) == []
    monkeypatch.setattr(module, "_LONGEST", 100)
    assert payloads(spool.root) == [b"", b"second"]
    # What is whole may be of any length.
    damage(segment, FRAME, b"x")
    monkeypatch.setattr(module, "_LONGEST", 99)
    assert payloads(spool.root) == [b"x" * 100, b"second"]


def test_record_length_of_gigabytes_is_not_read(make: Make) -> None:
    spool = make()
    spool.append([b"first"])
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(struct.pack("<II", 0xFFFF_FFF0, 0) + b"rest")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert payloads(spool.root) == [b"first"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_zeros_that_a_power_cut_leaves_are_no_records(make: Make) -> None:
    assert zlib.crc32(b"") == 0
    spool = make()
    spool.append([b"first"])
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(bytes(4096))
    assert payloads(spool.root) == [b"first"]


def test_segment_deleted_has_no_records(tmp_path: Path) -> None:
    assert list(read(tmp_path / "gone.seg", 0)) == []
    assert segments(tmp_path / "gone") == []


def test_a_sync_forces_what_was_appended_also_of_segments_that_ended(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[str] = []
    monkeypatch.setattr(
        "os.fdatasync",
        lambda fd: forced.append(str(Path(f"/proc/self/fd/{fd}").readlink())),
    )
    spool = make(segment_bytes=1)
    spool.sync()
    assert forced == []
    for _ in range(3):
        spool.append([b"x"])
    spool.sync()
    assert set(forced) >= set(map(str, segments(spool.root)))
    forced.clear()
    spool.sync()
    assert forced == []


def test_descriptors_are_closed_in_the_end(make: Make) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    spool = make(segment_bytes=1)
    for _ in range(20):
        spool.append([b"x"])
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_segment_age_is_that_of_its_last_record(make: Make) -> None:
    spool = make()
    spool.append([b"x"])
    (segment,) = segments(spool.root)
    assert 0 <= age(segment) < 60
    os.utime(segment, (1e9, 1e9))
    assert age(segment) > 86400
    spool.append([b"x"])
    assert age(segment) < 60
    os.utime(segment, (1e10, 1e10))
    assert age(segment) == 0
    segment.unlink()
    assert age(segment) == 0


# Several writers


def is_ended(segment: Path) -> bool:
    with hold_ended(segment) as ended:
        return ended


def test_each_writer_has_segments_of_its_own(make: Make) -> None:
    one, two = make(), make()
    one.append([b"1"])
    two.append([b"2"])
    one.append([b"3"])
    assert sorted(payloads(one.root)) == [b"1", b"2", b"3"]
    assert [len([*read(segment, 0)]) for segment in segments(one.root)] == [2, 1]


def test_segment_is_ended_when_its_writer_has_ended_it(make: Make) -> None:
    one, two = make(segment_bytes=1), make()
    for _ in range(3):
        one.append([b"1"])
    first, *_ = found = segments(one.root)
    assert sorted(map(is_ended, found)) == [False, False, True, True]
    assert is_ended(first)
    one.close()
    assert sorted(map(is_ended, found)) == [False, True, True, True]
    two.close()
    assert all(map(is_ended, found))
    assert not is_ended(one.root / "gone.seg")


def test_writer_never_shows_a_segment_that_is_not_locked(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        seen.append(is_ended(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    make()
    assert seen == [False]


def test_abandoned_draft_is_removed_and_one_in_the_making_is_not(make: Make) -> None:
    root = make().root
    old, new = root / "1-a.seg.new", root / "2-a.seg.new"
    for draft in (old, new):
        draft.touch()
    os.utime(old, (1e9, 1e9))
    make()
    assert (old.exists(), new.exists()) == (False, True)


def test_draft_that_gets_no_name_is_removed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    spool = make(segment_bytes=1)
    spool.append([b"1"])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", fails)
        assert not spool.append([b"2"])
        assert not spool.append([b"2"])
    assert [*spool.root.glob("*.new")] == []
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
    assert spool.append([b"3"])
    assert payloads(spool.root) == [b"1", b"3"]


def test_limit_counts_what_all_writers_have_written(make: Make) -> None:
    one, two = make(max_bytes=200), make(max_bytes=200)
    one.append([b"x" * 92])
    assert two.append([b"x" * 42])
    remember(two)
    assert two.size == 150
    assert not two.append([b"x" * 92])
    (first, *_) = segments(one.root)
    first.unlink()
    remember(two)
    assert two.append([b"x" * 92])
    remember(one)
    assert one.size == 100 + 150  # its own segment counts until it is ended


def test_other_writers_do_not_make_segments_last_longer(make: Make) -> None:
    one, two = make(), make()
    two.append([b"x"])
    remember(one)
    one.append([b"x"])
    one.end_old(0)
    assert len(segments(one.root)) == 3
    one.append([b"x"])
    one.end_old(0)  # its own one is still there
    assert len(segments(one.root)) == 3


@given(
    records=st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), max_size=20),
    segment_bytes=st.integers(1, 2000),
)
def test_records_appended_are_read_back(records: list[list[bytes]], segment_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder), max_bytes=MEBIBYTE, segment_bytes=segment_bytes)
        spool.open()
        for parts in records:
            assert spool.append(parts)
        spool.close()
        assert payloads(spool.root) == [b"".join(parts) for parts in records]
        size = spool.size
        remember(spool)
        assert spool.size == size == sum(FRAME + len(b"".join(parts)) for parts in records)
