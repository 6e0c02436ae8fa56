"""Copies of our programs for other interpreters."""

import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_deployment.runtime import program_copies
from model_deployment.worker import program_files


def content(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "in-use"}


def test_copy_has_the_files_of_model_servers_and_no_others(tmp_path: Path) -> None:
    folder = program_copies.install(tmp_path / "programs")
    assert content(folder) == program_files.read()
    assert [*folder.parent.iterdir()] == [folder]


def test_copy_is_made_once(tmp_path: Path) -> None:
    folder = program_copies.install(tmp_path)
    before = folder.stat().st_ino
    assert program_copies.install(tmp_path) == folder
    assert folder.stat().st_ino == before


@pytest.mark.parametrize("damage", ["empty", "missing", "unmarked", "all gone"])
def test_damaged_copy_is_made_again(tmp_path: Path, damage: str) -> None:
    folder = program_copies.install(tmp_path)
    module = folder / "model_deployment" / "worker" / "child.py"
    match damage:
        case "empty":
            module.write_bytes(b"")
        case "missing":
            module.unlink()
        case "unmarked":
            (folder / program_files.IN_USE).unlink()
        case _:
            shutil.rmtree(folder)
    assert program_copies.install(tmp_path) == folder
    assert content(folder) == program_files.read()
    assert [*tmp_path.iterdir()] == [folder]


def test_many_may_want_it_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = {*pool.map(lambda _: program_copies.install(tmp_path), range(16))}
    assert [*folders] == [*tmp_path.iterdir()]
    assert content(folders.pop()) == program_files.read()


def test_copies_of_other_versions_go_when_no_process_uses_them(tmp_path: Path) -> None:
    used, unused, unfinished = (tmp_path / name for name in ("used", "unused", "x.unfinished"))
    for folder in (used, unused, unfinished):
        folder.mkdir()
        (folder / program_files.IN_USE).touch()
    descriptor = os.open(used / program_files.IN_USE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        folder = program_copies.install(tmp_path)
        assert {*tmp_path.iterdir()} == {folder, used}
    finally:
        os.close(descriptor)
    program_copies.install(tmp_path)
    assert [*tmp_path.iterdir()] == [folder]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        program_copies.install(tmp_path / "file")
