"""Saving settings: nothing is lost, whoever else edits them, and whatever is killed."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.errors import DiskFull, InvalidProject, NotFound, PreconditionFailed
from model_deployment.flow_project import Project, history, load
from model_deployment.flow_project.create import create
from model_deployment.flow_project.files import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "project")
    return tmp_path / "project"


def text_of(folder: Path) -> str:
    return (folder / "settings.yaml").read_text()


def test_each_text_is_kept_with_who_saved_it(folder: Path) -> None:
    first = text_of(folder)
    project = Project(folder)
    before = project.settings().experiments["income"].trials
    second = first.replace(f"trials: {before}", "trials: 33", 1)
    saved = history.save(folder, second, by="ann", expected=sha256_of(first))
    assert project.settings().experiments["income"].trials == 33
    assert [(one.number, one.by) for one in history.entries(folder)] == [(2, "ann"), (1, "")]
    assert history.entry(folder, 1).text == first
    assert history.save(folder, second, by="bob") == saved  # nothing has changed


def test_an_edit_outside_is_kept_before_it_is_replaced(folder: Path) -> None:
    first = text_of(folder)
    history.save(folder, first + "# one\n", by="ann")
    (folder / "settings.yaml").write_text(first + "# by hand\n")
    history.save(folder, first + "# two\n", by="ann")
    kept = [(one.by, one.text.splitlines()[-1]) for one in history.entries(folder)]
    assert kept[:3] == [("ann", "# two"), ("", "# by hand"), ("ann", "# one")]


def test_a_text_that_somebody_has_replaced_is_not_overwritten(folder: Path) -> None:
    first = text_of(folder)
    history.save(folder, first + "# ann\n", by="ann", expected=sha256_of(first))
    with pytest.raises(PreconditionFailed, match="somebody has changed them"):
        history.save(folder, first + "# bob\n", by="bob", expected=sha256_of(first))
    assert text_of(folder).endswith("# ann\n")


def test_a_text_that_cannot_be_used_changes_nothing(folder: Path) -> None:
    first = text_of(folder)
    with pytest.raises(InvalidProject):
        history.save(folder, "experiments: {}", by="ann")
    assert text_of(folder) == first
    assert history.entries(folder) == []


def test_of_many_at_once_each_is_kept(folder: Path) -> None:
    first = text_of(folder)
    with ThreadPoolExecutor(8) as pool:
        numbers = [*range(24)]
        saved = pool.map(lambda n: history.save(folder, f"{first}# {n}\n", by=str(n)), numbers)
        assert sorted(one.number for one in saved) == [*range(2, 26)]
    assert {one.by for one in history.entries(folder)} == {"", *map(str, numbers)}


def test_only_the_newest_texts_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_KEPT", 3)
    for number in range(6):
        history.save(folder, f"{text_of(folder)}# {number}\n", by="ann")
    assert [one.number for one in history.entries(folder)] == [7, 6, 5]
    with pytest.raises(NotFound):
        history.entry(folder, 1)


def test_a_full_disk_leaves_the_settings_as_they_were(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = text_of(folder)

    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="free some space"):
        history.save(folder, first + "# more\n", by="ann")
    assert text_of(folder) == first
    assert not [*folder.glob(".*.new")]
    assert load(folder)


def test_a_damaged_entry_does_not_hide_the_others(folder: Path) -> None:
    history.save(folder, text_of(folder) + "# 1\n", by="ann")
    (folder / history.HISTORY_FOLDER / "000001.json").write_text("{")
    assert [one.number for one in history.entries(folder)] == [2]
    assert history.save(folder, text_of(folder) + "# 2\n", by="ann").number == 3


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b"#" * 70_000])
def test_a_file_that_is_no_text_of_settings_can_be_replaced(folder: Path, damaged: bytes) -> None:
    good = text_of(folder)
    (folder / "settings.yaml").write_bytes(damaged)
    assert history.save(folder, good, by="ann").text == text_of(folder) == good


def test_a_saved_file_keeps_its_permissions_and_a_link_stays_one(folder: Path) -> None:
    file, real = folder / "settings.yaml", folder.parent / "shared.yaml"
    file.rename(real)
    real.chmod(0o664)
    file.symlink_to(real)
    text = f"{real.read_text()}# changed\n"
    history.save(folder, text, by="me")
    assert file.is_symlink()
    assert real.read_text() == text
    assert real.stat().st_mode & 0o777 == 0o664
