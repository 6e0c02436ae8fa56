"""The size of a spool is right, and its limit holds, while segments end and are deleted."""

import pytest

from model_deployment.recording.spool import extents, segments
from tests.support.spools import OpenSpool, payloads, remember


def test_record_without_room_is_dropped_and_counted(open_spool: OpenSpool) -> None:
    spool = open_spool(max_bytes=100)
    assert spool.append([b"x" * 80])
    assert not spool.append([b"y" * 10])
    assert spool.append([b"z" * 4])
    assert not spool.append([b"y" * 1000])
    assert (spool.dropped, spool.size) == (2, 100)
    assert payloads(spool.root) == [b"x" * 80, b"z" * 4]


def test_spool_emptied_takes_records_again(open_spool: OpenSpool) -> None:
    """Also where all of it was one segment: that must not stay the newest, which nobody deletes."""
    spool = open_spool(max_bytes=100)
    spool.append([b"x" * 80])
    assert not spool.append([b"y" * 80])
    full, newest = segments(spool.root)
    assert not spool.append([b"y" * 80])
    assert segments(spool.root) == [full, newest]
    full.unlink()
    remember(spool)
    assert spool.append([b"y" * 80])


def test_spool_measurement_sees_deleted_segments(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([b"x" * 92])
    remember(spool)
    assert spool.size == 100
    spool.end_old(0)
    old, _ = segments(spool.root)
    old.unlink()
    assert spool.size == 100
    remember(spool)
    assert spool.size == 0


@pytest.mark.parametrize("number", [0, 1, 3])
def test_segment_that_ends_during_a_measurement_counts_once(
    open_spool: OpenSpool, number: int
) -> None:
    spool = open_spool(segment_bytes=100)
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


def test_segment_deleted_during_a_measurement_counts_until_the_next(open_spool: OpenSpool) -> None:
    spool = open_spool(segment_bytes=100)
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
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    spool = open_spool()
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
