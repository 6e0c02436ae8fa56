"""Records that are damaged or written in part: none of them is read, and no other one is lost."""

import resource
import struct
import zlib
from pathlib import Path

import pytest

from model_deployment.recording import spool as module
from model_deployment.recording.spool import segments
from tests.support.spools import FRAME, OpenSpool, everything, no_file_longer_than, payloads


def test_record_written_in_part_is_removed(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([b"a" * 100])
    with no_file_longer_than(200):
        assert not spool.append([b"b" * 1000])
        assert (spool.dropped, spool.size) == (1, 108)
        # There is room for less.
        assert spool.append([b"c" * 10])
    assert spool.append([b"d" * 1000])
    assert payloads(spool.root) == [b"a" * 100, b"c" * 10, b"d" * 1000]


def test_half_a_record_that_cannot_be_taken_back_ends_the_segment(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    spool = open_spool()
    spool.append([b"a" * 100])
    monkeypatch.setattr("os.ftruncate", fails)
    with no_file_longer_than(200):
        assert not spool.append([b"b" * 1000])
    assert spool.size == 200
    assert spool.append([b"c"])
    assert payloads(spool.root) == [b"a" * 100, b"c"]


def test_disk_full_drops_only_the_record(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    spool = open_spool()
    with monkeypatch.context() as away:
        away.setattr("os.write", full)
        assert not spool.append([b"a"])
    assert spool.append([b"b"])
    assert spool.dropped == 1
    assert payloads(spool.root) == [b"b"]


def test_record_written_in_part_is_not_read(open_spool: OpenSpool) -> None:
    spool = open_spool()
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
def test_record_with_a_damaged_length_ends_reading(open_spool: OpenSpool, place: int) -> None:
    spool = open_spool()
    for content in (b"first", b"second", b"third"):
        spool.append([content])
    (segment,) = segments(spool.root)
    damage(segment, FRAME + 5 + place, b"\xff")
    assert payloads(spool.root) == [b"first"]


@pytest.mark.parametrize("place", [4, 7, 8, 13])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_record_damaged_loses_no_others(open_spool: OpenSpool, place: int, number: int) -> None:
    spool = open_spool()
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


def test_record_damaged_without_a_frame_behind_ends_reading(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([b"first"])
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(struct.pack("<II", 10, 0) + b"x" * 13)
    assert payloads(spool.root) == [b"first"]


def test_record_length_absurd_ends_reading(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool()
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


def test_record_length_of_gigabytes_is_not_read(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append([b"first"])
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(struct.pack("<II", 0xFFFF_FFF0, 0) + b"rest")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert payloads(spool.root) == [b"first"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_zeros_that_a_power_cut_leaves_are_no_records(open_spool: OpenSpool) -> None:
    assert zlib.crc32(b"") == 0
    spool = open_spool()
    spool.append([b"first"])
    (segment,) = segments(spool.root)
    with segment.open("ab") as file:
        file.write(bytes(4096))
    assert payloads(spool.root) == [b"first"]
