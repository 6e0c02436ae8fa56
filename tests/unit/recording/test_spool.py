"""The local queue: what was appended is read back, in order, and nothing of it comes twice."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.recording import spool as module
from model_deployment.recording.spool import Spool, age, read, segments
from tests.support.spools import FRAME, MEBIBYTE, OpenSpool, everything, payloads, remember


def test_a_record_is_found_from_where_the_one_before_ended(open_spool: OpenSpool) -> None:
    spool = open_spool()
    for content in (b"a", b"", b"c"):
        spool.append([content])
    (segment,) = segments(spool.root)
    first, second, third = read(segment, 0)
    assert [record.payload for record in read(segment, first.end)] == [b"", b"c"]
    assert [record.id for record in read(segment, first.end)] == [second.id, third.id]
    assert list(read(segment, third.end)) == []


def test_names_are_those_of_segment_and_place_and_never_come_twice(open_spool: OpenSpool) -> None:
    spool = open_spool(segment_bytes=30)
    for number in range(20):
        spool.append([b"%02d" % number * 5])
    records = everything(spool.root)
    assert len({record.id for record in records}) == 20
    again = everything(spool.root)
    assert [record.id for record in again] == [record.id for record in records]
    assert records[0].id == f"{segments(spool.root)[0].stem}-0"


def test_segment_full_is_followed_by_another(open_spool: OpenSpool) -> None:
    spool = open_spool(segment_bytes=100)
    for _ in range(10):
        spool.append([b"x" * 42])
    assert [segment.stat().st_size for segment in segments(spool.root)] == [100] * 5
    assert len(everything(spool.root)) == 10


def test_segments_are_in_order_also_after_the_clock_was_set_back(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(segment_bytes=1)
    spool.append([b"first"])
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    spool.append([b"second"])
    spool.append([b"third"])
    assert payloads(spool.root) == [b"first", b"second", b"third"]


def test_spool_of_an_earlier_controller_is_continued(open_spool: OpenSpool) -> None:
    earlier = open_spool()
    earlier.append([b"x" * 92])
    earlier.close()
    spool = open_spool(max_bytes=150)
    assert spool.size == 100
    assert not spool.append([b"y" * 92])
    spool.append([b"z"])
    assert payloads(spool.root) == [b"x" * 92, b"z"]
    assert segments(spool.root)[-1].read_bytes()[FRAME:] == b"z"


def test_segment_old_is_ended(open_spool: OpenSpool) -> None:
    spool = open_spool()
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


def test_segments_last_longer_without_a_reader(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away for three days, and a record every ten seconds."""
    spool, now, begin = open_spool(), 1000.0, 1000.0
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
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(segment_bytes=1)

    def looks(_: Path) -> list[Path]:
        raise AssertionError("it looks through the folder")

    with monkeypatch.context() as watched:
        watched.setattr(module, "segments", looks)
        for _ in range(3):
            assert spool.append([b"x"])
        spool.end_old(0)
    assert payloads(spool.root) == [b"x"] * 3


def test_segment_deleted_has_no_records(tmp_path: Path) -> None:
    assert list(read(tmp_path / "gone.seg", 0)) == []
    assert segments(tmp_path / "gone") == []


def test_a_sync_forces_what_was_appended_also_of_segments_that_ended(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[str] = []
    monkeypatch.setattr(
        "os.fdatasync",
        lambda fd: forced.append(str(Path(f"/proc/self/fd/{fd}").readlink())),
    )
    spool = open_spool(segment_bytes=1)
    spool.sync()
    assert forced == []
    for _ in range(3):
        spool.append([b"x"])
    spool.sync()
    assert set(forced) >= set(map(str, segments(spool.root)))
    forced.clear()
    spool.sync()
    assert forced == []


def test_descriptors_are_closed_in_the_end(open_spool: OpenSpool) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    spool = open_spool(segment_bytes=1)
    for _ in range(20):
        spool.append([b"x"])
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_segment_age_is_that_of_its_last_record(open_spool: OpenSpool) -> None:
    spool = open_spool()
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
