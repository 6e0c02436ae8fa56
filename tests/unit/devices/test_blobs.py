"""Files of releases: under the name of their content, whole or not at all."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_deployment.core.errors import DiskFull
from model_deployment.devices.blobs import BlobStore, WrongContent
from tests.support.small_disk import fill, small_disk

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    store = BlobStore(tmp_path / "data")
    store.open()
    return store


def names(store: BlobStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_a_file_is_added_once_and_takes_no_room(store: BlobStore, source: Path) -> None:
    assert store.add(source) == store.add(source, DIGEST) == DIGEST
    assert names(store) == [DIGEST]
    assert store.path(DIGEST).stat().st_ino == source.stat().st_ino
    source.unlink()
    found = store.checked(DIGEST)
    assert found is not None
    assert found.read_bytes() == CONTENT


def test_a_file_of_another_disk_is_copied(
    store: BlobStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store.add(source, DIGEST)
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert store.path(DIGEST).stat().st_ino != source.stat().st_ino
    assert names(store) == [DIGEST]


def test_links_are_followed(store: BlobStore, source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("model.pkl")
    assert store.add(link) == DIGEST
    assert not store.path(DIGEST).is_symlink()


def test_other_content_than_announced_is_refused(store: BlobStore, source: Path) -> None:
    with pytest.raises(WrongContent, match=DIGEST):
        store.add(source, "0" * 64)
    assert names(store) == []


def test_a_file_that_is_gone_is_no_blob(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.add(tmp_path / "nothing", DIGEST)
    assert store.checked(DIGEST) is None
    assert not store.has(DIGEST)
    assert names(store) == []


@pytest.mark.parametrize("when", ["before the first look", "after it"])
def test_a_blob_that_was_changed_in_place_is_removed_and_can_be_added_again(
    store: BlobStore, source: Path, tmp_path: Path, when: str
) -> None:
    good = tmp_path / "good"
    good.write_bytes(CONTENT)
    store.add(source)
    if when == "after it":
        assert store.checked(DIGEST)
    before = source.stat()
    with source.open("r+b") as file:  # the cache's file is the blob
        file.write(b"W")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had been
    assert store.checked(DIGEST) is None
    assert names(store) == []
    store.add(good, DIGEST)
    assert store.checked(DIGEST)


def test_a_damaged_blob_is_replaced_when_its_file_is_added(
    store: BlobStore, source: Path, tmp_path: Path
) -> None:
    store.path(DIGEST).write_bytes(CONTENT[:-1])
    store.add(source, DIGEST)
    assert store.path(DIGEST).read_bytes() == CONTENT


def test_many_add_the_same_at_once(store: BlobStore, source: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert {*threads.map(lambda _: store.add(source), range(40))} == {DIGEST}
    assert names(store) == [DIGEST]


def test_only_digests_are_names(store: BlobStore) -> None:
    for name in ("", "x", "../state.db", "A" * 64, "a" * 63, f"{'a' * 64}\n", f"../{'a' * 64}"):
        with pytest.raises(ValueError, match="is no SHA-256"):
            store.path(name)


def test_what_nobody_wants_goes_unless_it_is_new(store: BlobStore, tmp_path: Path) -> None:
    digests = []
    for number in range(3):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]))
        digests.append(store.add(path))
    (store.folder / "notes").touch()
    assert store.tidy({digests[0]}) == 0  # their release may not be written down yet
    assert store.tidy({digests[0], "f" * 64}, grace=-1) == 2
    assert names(store) == sorted([digests[0], "notes"])
    assert store.checked(digests[1]) is None


def test_halves_of_an_interrupted_controller_go(store: BlobStore, source: Path) -> None:
    store.add(source)
    (store.folder / ".partial-0123").write_bytes(b"half")
    again = BlobStore(store.folder.parents[1])
    again.open()
    assert names(again) == [DIGEST]
    assert again.folder.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, source: Path) -> None:
    with small_disk(tmp_path / "disk", "80m") as disk:
        store = BlobStore(disk)
        store.open()
        store.add(source)
        fill(disk)
        other = tmp_path / "other"
        other.write_bytes(b"other" * 100_000)
        with pytest.raises(DiskFull, match="cannot keep the files of the release"):
            store.add(other)
        assert names(store) == [DIGEST]
        assert store.checked(DIGEST)
