"""Several writers of one spool: each has segments of its own, and all of them count."""

import os
from pathlib import Path

import pytest

from model_deployment.recording.spool import read, segments
from tests.support.spools import OpenSpool, is_ended, payloads, remember


def test_each_writer_has_segments_of_its_own(open_spool: OpenSpool) -> None:
    one, two = open_spool(), open_spool()
    one.append([b"1"])
    two.append([b"2"])
    one.append([b"3"])
    assert sorted(payloads(one.root)) == [b"1", b"2", b"3"]
    assert [len([*read(segment, 0)]) for segment in segments(one.root)] == [2, 1]


def test_segment_is_ended_when_its_writer_has_ended_it(open_spool: OpenSpool) -> None:
    one, two = open_spool(segment_bytes=1), open_spool()
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
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        seen.append(is_ended(path))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    open_spool()
    assert seen == [False]


def test_abandoned_draft_is_removed_and_one_in_the_making_is_not(open_spool: OpenSpool) -> None:
    root = open_spool().root
    old, new = root / "1-a.seg.new", root / "2-a.seg.new"
    for draft in (old, new):
        draft.touch()
    os.utime(old, (1e9, 1e9))
    open_spool()
    assert (old.exists(), new.exists()) == (False, True)


def test_draft_that_gets_no_name_is_removed(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    spool = open_spool(segment_bytes=1)
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


def test_limit_counts_what_all_writers_have_written(open_spool: OpenSpool) -> None:
    one, two = open_spool(max_bytes=200), open_spool(max_bytes=200)
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


def test_other_writers_do_not_make_segments_last_longer(open_spool: OpenSpool) -> None:
    one, two = open_spool(), open_spool()
    two.append([b"x"])
    remember(one)
    one.append([b"x"])
    one.end_old(0)
    assert len(segments(one.root)) == 3
    one.append([b"x"])
    one.end_old(0)  # its own one is still there
    assert len(segments(one.root)) == 3
