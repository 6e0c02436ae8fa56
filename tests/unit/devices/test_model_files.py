"""What a release has of a cached model: plain files with the digests of their download."""

from pathlib import Path

import pytest

from model_deployment.devices import model_files
from model_deployment.devices.blobs import digest
from model_deployment.devices.manifest import UnfitRelease
from model_deployment.devices.model_files import plain_files


@pytest.fixture
def model(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    for name in ("MLmodel", "data/a.bin", "data/deep/b.bin"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(name.encode())
    return model


def digests(model: Path) -> dict[str, str]:
    """As the cache writes them down when it downloads."""
    return {
        path.relative_to(model).as_posix(): f"link to {path.readlink()}"
        if path.is_symlink()
        else digest(path)
        for path in model.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def found(model: Path) -> dict[str, bytes]:
    files = plain_files(model, digests(model))
    assert all(digest(file.source) == file.sha256 for file in files.values())
    assert not any(file.source.is_symlink() for file in files.values())
    return {path: file.source.read_bytes() for path, file in files.items()}


def test_files_are_named_by_their_paths(model: Path) -> None:
    assert found(model) == {
        name: name.encode() for name in ("MLmodel", "data/a.bin", "data/deep/b.bin")
    }


def test_links_become_files(model: Path) -> None:
    (model / "again.bin").symlink_to("data/a.bin")
    (model / "folder").symlink_to("data/deep")
    (model / "data/twice.bin").symlink_to("../again.bin")
    files = found(model)
    assert files["again.bin"] == files["data/twice.bin"] == b"data/a.bin"
    assert files["folder/b.bin"] == b"data/deep/b.bin"
    assert len(files) == 6


def test_a_link_to_a_folder_above_is_refused(model: Path) -> None:
    (model / "data/deep/up").symlink_to("../..")
    with pytest.raises(UnfitRelease, match="a link leads to a folder above"):
        found(model)


def test_a_link_to_a_folder_above_with_many_files_ends_soon(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "_MOST_FILES", 500)
    for number in range(60):
        (model / "data" / str(number)).touch()
    (model / "data/deep/up").symlink_to("../..")
    with pytest.raises(UnfitRelease, match="more than 500 files"):
        found(model)


def test_files_that_came_after_the_download_are_left_out(model: Path) -> None:
    known = digests(model)
    (model / "data/log.txt").touch()
    assert plain_files(model, known).keys() == known.keys()


def test_a_link_that_leads_nowhere_is_an_error(model: Path) -> None:
    (model / "broken").symlink_to("nothing")
    with pytest.raises(OSError, match="nothing"):
        found(model)
