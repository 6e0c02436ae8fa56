"""Archives that are damaged, hostile, or of another release: refused before anything is changed."""

import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_deployment.backup import archive as format_
from model_deployment.backup.archive import BadArchive
from model_deployment.backup.make import backup
from model_deployment.backup.restore import restore
from model_deployment.core.errors import StateError
from model_deployment.state.files import SCHEMA_VERSION
from tests.support.stored import opened
from tests.support.tar_members import Members, info, members, pack


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    """A good one."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with opened(folder) as store:
        await store.deploy("m", 1)
    path = tmp_path / "backup.tar.gz"
    backup(folder, path, documents="embedded")
    return path


def refused(tmp_path: Path, path: Path) -> str:
    """Restoring it in vain; what is said."""
    target = tmp_path / "target"
    with pytest.raises(BadArchive) as error:
        restore(target, path, force=True)
    assert [one.name for one in target.iterdir()] == ["controller.lock"]
    assert not [one for one in tmp_path.iterdir() if one.name in {"escaped", "state.db"}]
    assert error.value.detail.startswith("cannot ")
    return error.value.detail


def test_archive_is_described_by_its_manifest(tmp_path: Path, archive: Path) -> None:
    (_, text), *rest = members(archive)
    told = json.loads(text)
    assert (told["format"], told["documents"]) == (1, "embedded")
    assert {name: one["size"] for name, one in told["members"].items()} == {
        one.name: len(content) for one, content in rest
    }
    assert told["members"]["state.db"]["layout"] == SCHEMA_VERSION
    assert restore(tmp_path / "target", archive).manifest.instance == told["instance"]
    assert not [*tmp_path.glob(".*unfinished*")]


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no gzip": lambda _: b"not a backup" * 100,
    "half": truncated,
    "a flipped byte": lambda d: (
        d[: len(d) // 2] + bytes([d[len(d) // 2] ^ 1]) + d[len(d) // 2 + 1 :]
    ),
    "no tar": lambda _: gzip.compress(b"x" * 4096),
    "nothing in it": lambda _: gzip.compress(b""),
    "zeros": lambda _: gzip.compress(bytes(10**7)),
    "after its end": lambda d: gzip.compress(gzip.decompress(d) + bytes(10**6)),
    "something behind": lambda d: gzip.compress(gzip.decompress(d) + b"x" * 512),
}


@pytest.mark.parametrize("change", BYTES.values(), ids=[*BYTES])
def test_damaged_archive_is_refused(
    tmp_path: Path, archive: Path, change: Callable[[bytes], bytes]
) -> None:
    archive.write_bytes(change(archive.read_bytes()))
    refused(tmp_path, archive)


def manifest(**changes: Any) -> Callable[[Members], Members]:
    """The same with another manifest."""

    def change(found: Members) -> Members:
        text = json.loads(found[0][1]) | changes
        return [info("manifest.json", json.dumps(text).encode()), *found[1:]]

    return change


def member(name: str, **changes: Any) -> Callable[[Members], Members]:
    """The same with other words about a member."""

    def change(found: Members) -> Members:
        told = json.loads(found[0][1])["members"]
        told.setdefault(name, {"sha256": "", "size": 0, "layout": 0})
        told[name] |= changes
        return manifest(members=told)(found)

    return change


HOSTILE: dict[str, Callable[[Members], Members]] = {
    "no manifest": lambda found: found[1:],
    "manifest last": lambda found: [*found[1:], found[0]],
    "two manifests": lambda found: [found[0], *found],
    "a member twice": lambda found: [*found, found[-1]],
    "a member less": lambda found: found[:-1],
    "another order": lambda found: [found[0], found[2], found[1]],
    "a path upwards": lambda found: [found[0], info("../escaped", b"x"), *found[1:]],
    "an absolute path": lambda found: [found[0], info("/escaped", b"x"), *found[1:]],
    "a path that is told": member("../escaped"),
    "a link": lambda f: [
        f[0],
        f[1],
        info("state.db", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    ],
    "a hard link": lambda f: [
        f[0],
        f[1],
        info("state.db", type=tarfile.LNKTYPE, linkname="escaped"),
    ],
    "a folder": lambda found: [found[0], found[1], info("state.db", type=tarfile.DIRTYPE)],
    "a device": lambda found: [found[0], found[1], info("state.db", type=tarfile.CHRTYPE)],
    "a long name": lambda found: [found[0], info("x" * 200, b"x"), *found[1:]],
    "a sparse file": lambda f: [f[0], f[1], info("state.db", b"", type=tarfile.GNUTYPE_SPARSE)],
    "a checksum": member("state.db", sha256="0" * 64),
    "a size": member("state.db", size=1),
    "no room for it": member("state.db", size=10**18),
    "a negative size": member("state.db", size=-1),
    "a size that is none": member("state.db", size=True),
    "a long name file": member("instance-id", size=10**6),
    "a newer format": manifest(format=format_.FORMAT + 1),
    "a format that is none": manifest(format="1"),
    "another name": manifest(instance="0" * 12),
    "a name that is none": manifest(instance="../.."),
    "no members": manifest(members={}),
    "members that are none": manifest(members=[1]),
    "further words": manifest(further=1),
    "no mapping": lambda found: [info("manifest.json", b"[]"), *found[1:]],
    "no JSON": lambda found: [info("manifest.json", b"{"), *found[1:]],
    "nested JSON": lambda found: [info("manifest.json", b"[" * 60_000), *found[1:]],
    "a long manifest": lambda found: [info("manifest.json", b" " * 100_000), *found[1:]],
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=[*HOSTILE])
def test_hostile_archive_is_refused(
    tmp_path: Path, archive: Path, change: Callable[[Members], Members]
) -> None:
    pack(archive, change(members(archive)))
    refused(tmp_path, archive)


def test_archive_with_extended_headers_is_refused(tmp_path: Path, archive: Path) -> None:
    found = members(archive)
    found[1][0].pax_headers = {"comment": "x" * 1000}
    pack(archive, found, tarfile.PAX_FORMAT)
    assert "other than plain files" in refused(tmp_path, archive)


@pytest.mark.parametrize("missing", ["backup.tar.gz", "folder"])
def test_missing_archive_is_refused(tmp_path: Path, missing: str) -> None:
    (tmp_path / "folder").mkdir()
    refused(tmp_path, tmp_path / missing)


@pytest.mark.parametrize("what", ["no folder", "empty folder", "file in the way", "folder as file"])
def test_backup_refuses_missing_data_and_existing_files(
    tmp_path: Path, archive: Path, what: str
) -> None:
    data, target = tmp_path / "data", tmp_path / "other.tar.gz"
    (tmp_path / "empty").mkdir()
    match what:
        case "no folder":
            data = tmp_path / "nowhere"
        case "empty folder":
            data = tmp_path / "empty"
        case "file in the way":
            target = archive
        case _:
            target = tmp_path / "empty"
    before = archive.read_bytes()
    with pytest.raises(StateError, match=r"^cannot "):
        backup(data, target, documents="embedded")
    assert archive.read_bytes() == before
    assert not (tmp_path / "other.tar.gz").exists()


def test_failed_backup_leaves_the_earlier_one(tmp_path: Path, archive: Path) -> None:
    before = archive.read_bytes()
    (tmp_path / "data" / "state.db").write_bytes(b"damaged")
    with pytest.raises(StateError, match="cannot open the state database"):
        backup(tmp_path / "data", archive, documents="embedded", force=True)
    assert archive.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.tar.gz", "data"]
