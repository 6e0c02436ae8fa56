"""Versions of training data and runs of flows in a backup: complete, checked, and never in the way."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from model_deployment.backup import archive as archive_file
from model_deployment.backup import data_files
from model_deployment.backup.archive import BadArchive, Member
from model_deployment.backup.make import backup
from model_deployment.backup.restore import restore
from model_deployment.training_data.versions import Versions
from tests.support.kept_versions import kept
from tests.support.stored import opened
from tests.support.tar_members import info, members, pack


def note(data: Path, id: str, **record: Any) -> Path:
    """The record of a run."""
    folder = data / "flows" / "requests"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{id}.json"
    path.write_text(json.dumps({"settled": None, "run": None, **record}))
    return path


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with a version, a run that has ended and one that waits."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with opened(folder) as store:
        await store.deploy("m", 1)
    versions = Versions(folder)
    version = kept(versions, b"a\n1\n")
    versions.keep_analysis(version.sha256, "income", {"findings": []}, "<p>")
    (versions.folder / ".incoming-1").mkdir()
    (versions.folder / ".incoming-1" / "received").write_text("half")
    note(data=folder, id="done", run={"state": "completed"}).with_suffix(".log").write_text("[]")
    note(data=folder, id="waits")
    (folder / "flows" / "password").write_text("secret")
    return folder


def test_versions_and_ended_runs_come_back_and_replace_nothing(tmp_path: Path, data: Path) -> None:
    archive, target = tmp_path / "backup.tar.gz", tmp_path / "target"
    manifest = backup(data, archive, documents="embedded")
    assert data_files.in_words(manifest.members)[-2:] == [
        "1 version of training data", "1 run of flows",
    ]  # fmt: skip
    assert b"secret" not in b"".join(content for _, content in members(archive))
    restore(target, archive)
    (version,) = Versions(target).list()
    assert version.path.read_bytes() == b"a\n1\n"
    assert Versions(target).analyses(version.sha256) == {"income": {"findings": []}}
    runs = {path.name for path in (target / "flows" / "requests").iterdir()}
    assert runs == {"done.json", "done.log"}
    # A second restore, and versions that came after the backup.
    Versions(target).keep_analysis(version.sha256, "income", {"findings": [1]}, "")
    later = kept(Versions(target), b"a\n2\n", after=1)
    restore(target, archive, force=True)
    assert Versions(target).list() == [later, version]
    assert Versions(target).analyses(version.sha256) == {"income": {"findings": [1]}}


def test_versions_and_runs_may_be_on_other_disks(tmp_path: Path, data: Path) -> None:
    """As with Docker Compose, where both are volumes of their own."""
    archive, target = tmp_path / "backup.tar.gz", tmp_path / "target"
    manifest = backup(data, archive, documents="embedded")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm and the folder of the tests are on one disk")
        target.mkdir()
        for name in ("training-data", "flows"):
            (Path(other) / name).mkdir()
            (target / name).symlink_to(Path(other) / name)
        (target / "flows" / "requests").mkdir()
        (target / "flows" / "requests" / ".incoming-done.json.new").write_text(
            "of a killed restore"
        )
        restore(target, archive)
        (version,) = Versions(target).list()
        assert version.path.read_bytes() == b"a\n1\n"
        assert [*Versions(target).analyses(version.sha256)] == ["income"]
        assert [path.name for path in Versions(target).folder.iterdir()] == [version.sha256]
        runs = {path.name for path in (target / "flows" / "requests").iterdir()}
        assert runs == {"done.json", "done.log"}
        again = backup(target, tmp_path / "again.tar.gz", documents="embedded")
        assert again.members.keys() == manifest.members.keys()


def test_files_under_names_that_no_backup_has_are_refused(tmp_path: Path, data: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    backup(data, archive, documents="embedded")
    good = members(archive)
    manifest = json.loads(good[0][1])
    sha256 = hashlib.sha256(b"x").hexdigest()
    for name in (
        "training-data/../escaped", "flows/password", f"training-data/{sha256}/analysis/../../x.json",
        f"training-data/{'0' * 64}/data.csv",  # its content has another SHA-256
        "flows/requests/a/b.json",
    ):  # fmt: skip
        told = manifest["members"] | {name: {"sha256": sha256, "size": 1, "layout": 0}}
        text = json.dumps(manifest | {"members": told}).encode()
        pack(archive, [info("manifest.json", text), *good[1:], info("file-9", b"x")])
        with pytest.raises(BadArchive, match="no backup has"):
            restore(tmp_path / "target", archive, force=True)
    assert data_files.is_sound(f"training-data/{sha256}/data.csv", Member(sha256, 1, 0))


def test_links_are_left_out(data: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (version,) = Versions(data).list()
    (version.path.parent / "registry.json").symlink_to(secret)
    (data / "training-data" / ("0" * 64)).symlink_to(version.path.parent)
    (data / "flows/requests/linked.json").symlink_to(data / "flows/requests/done.json")
    names = data_files.copy(data, tmp_path / "copy")
    assert not [one for one in names if "registry" in one or "0" * 64 in one or "linked" in one]
    assert any(one.endswith("/version.json") for one in names)


def test_no_backup_is_written_that_could_not_be_read(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(archive_file._SMALL, archive_file.MANIFEST, 100)
    with pytest.raises(BadArchive, match="its manifest would have"):
        backup(data, tmp_path / "backup.tar.gz", documents="embedded")
    assert not (tmp_path / "backup.tar.gz").exists()
