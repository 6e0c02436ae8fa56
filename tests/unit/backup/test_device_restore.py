"""Devices after a restore: they keep their tokens and their key, and nothing has a number twice."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.backup import data_files, release_key
from model_deployment.backup.archive import BadArchive, Member
from model_deployment.backup.make import backup
from model_deployment.backup.restore import restore
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import Forbidden, StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import FollowedEndpoint, ReleasePolicy, ReleaseState
from model_deployment.devices import blobs, signing
from model_deployment.devices.signing import UnusableKey, open_key
from model_deployment.state import files
from tests.support.stored_devices import SHORT, DeviceStores, metrics, opened, progress
from tests.support.tar_members import info, members, pack

ONNX, MODEL = (hashlib.sha256(text).hexdigest() for text in (b"onnx", b"model"))
MANIFEST = json.dumps({"files": [
    {"path": "model/MLmodel", "size": 5, "sha256": MODEL},
    {"path": "onnx/model.onnx", "size": 4, "sha256": ONNX},
]})  # fmt: skip


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with a device that runs release 1, and release 2 on its way."""
    (folder := tmp_path / "data").mkdir()
    async with opened(folder) as store:
        hall, device = await store.project(), await store.connected()
        release = await store.release(ReleaseState.COMPLETE)
        await store.releases.sign(release, MANIFEST, "s")
        await store.release(ReleaseState.ROLLING, version=2)
        await store.projects.follow(
            FollowedEndpoint(hall.id, EndpointName("m", "live"), ReleasePolicy())
        )
        await store.receive(device, progress(1, 1, "running"), metrics(2), metrics(3))
        await store.commands.order([device.id], "dark", True, "ann")
        await store.devices.enrol(hall, "unused", [], None, SHORT)
    open_key(folder)
    kept = blobs.BlobStore(folder)
    kept.open()
    for content in (b"onnx", b"model"):
        (folder / "file").write_bytes(content)
        kept.add(folder / "file")
        (folder / "file").unlink()
    return folder


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    backup(data, tmp_path / "backup.tar.gz", documents="mongodb")
    return tmp_path / "backup.tar.gz"


async def use(store: DeviceStores) -> tuple[int, int, list[int]]:
    """Numbers that are given: of a release, of a command, and of messages."""
    device = await store.devices.by_token("token of camera")
    assert device is not None
    hall = await store.project()
    release = await store.releases.begin(hall, ModelKey("m", 1), ReleasePolicy(), by="", reason="")
    (command,) = await store.commands.order([device.id], "rate", 1, "ann")
    device = await store.devices.connect(device, stream="s", agent="1", running=1)
    seqs = [device.received + 1, device.received + 2]
    await store.receive(device, *map(metrics, seqs))
    rows = await store.execute("SELECT id FROM device_messages ORDER BY id DESC LIMIT 2")
    return release.number, command.id, [row["id"] for row in rows]


async def test_nothing_has_a_number_that_was_given_after_the_backup(
    data: Path, archive: Path
) -> None:
    async with opened(data) as store:
        device = await store.devices.by_token("token of camera")
        first = [await use(store) for _ in range(3)]
    restore(data, archive, force=True)
    async with opened(data) as store:
        again = await store.devices.by_token("token of camera")
        assert device is not None
        assert again is not None
        assert (again.name, again.stream, again.received, again.running) == ("camera", "s", 3, 1)
        assert again.generation > device.generation
        assert await store.receive(device, metrics(4)) is None
        second = [await use(store) for _ in range(3)]
    for before, after in zip(first, second, strict=True):
        assert (after[0], after[1]) > (before[0], before[1])
        assert not {*before[2]} & {*after[2]}
    assert {one[0] for one in first}.isdisjoint(one[0] for one in second)
    assert {one[1] for one in first}.isdisjoint(one[1] for one in second)
    # And after one more restore of what has been restored.
    backup(data, archive, documents="mongodb", force=True)
    restore(data, archive, force=True)
    async with opened(data) as store:
        assert (await use(store))[0] > second[-1][0] + 900


async def test_a_project_that_had_neither_commands_nor_messages(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with opened(tmp_path / "data") as store:
        await store.device()
    archive = tmp_path / "backup.tar.gz"
    backup(tmp_path / "data", archive, documents="mongodb")
    async with opened(tmp_path / "data") as store:
        before = await use(store)
    restore(tmp_path / "data", archive, force=True)
    async with opened(tmp_path / "data") as store:
        after = await use(store)
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert not {*before[2]} & {*after[2]}


async def test_a_project_that_was_removed_before_the_backup(tmp_path: Path) -> None:
    async def begun() -> int:
        async with opened(tmp_path / "data") as store:
            hall = await store.projects.create("hall", ["m"])
            release = await store.releases.begin(
                hall, ModelKey("m", 1), ReleasePolicy(), by="", reason=""
            )
            await store.projects.remove(hall)
            return release.number

    (tmp_path / "data").mkdir()
    assert await begun() == 1
    backup(tmp_path / "data", tmp_path / "backup.tar.gz", documents="mongodb")
    since = [await begun(), await begun()]
    restore(tmp_path / "data", tmp_path / "backup.tar.gz", force=True)
    assert await begun() > max(since)


async def test_a_code_that_may_have_been_used_since_is_no_longer_good(
    data: Path, archive: Path
) -> None:
    restore(data, archive, force=True)
    async with opened(data) as store:
        hall = await store.project()
        with pytest.raises(Forbidden):
            await store.devices.register(hall, "unused", "other", "t", {})
        followed = FollowedEndpoint(hall.id, EndpointName("m", "live"), ReleasePolicy())
        assert await store.projects.followed() == [followed]
        found = await store.releases.all(hall, 9)
        assert [(one.number, one.state) for one in found] == [(2, "rolling"), (1, "complete")]
        assert [one.number for one in await store.releases.updates(found[1])] == [1]


def test_the_names_are_those_of_the_room_of_devices() -> None:
    assert (release_key.KEY, release_key._PUBLIC) == (signing.KEY_FILE, signing.PUBLIC_FILE)
    assert Path(data_files._BLOBS) == blobs.FOLDER


def test_the_key_and_generated_files_come_back(data: Path, archive: Path, tmp_path: Path) -> None:
    names = [*json.loads(members(archive)[0][1])["members"]]
    assert names == ["state.db", "instance-id", f"releases/blobs/{ONNX}", "release.key"]
    assert data_files.in_words(names)[-2:] == ["release.key", "1 file of releases"]
    key = open_key(data)
    restore(tmp_path / "other", archive)
    found = tmp_path / "other" / "release.key"
    assert found.stat().st_mode & 0o777 == 0o600
    assert open_key(tmp_path / "other", trusted=True).id == key.id
    store = blobs.BlobStore(tmp_path / "other")
    store.open()
    assert store.checked(ONNX) is not None
    assert not store.has(MODEL)
    # What is there stays: a blob, and a key that is the same.
    restore(data, archive, force=True)
    assert open_key(data).id == key.id
    assert not [*data.glob("release.*.replaced")]
    assert blobs.BlobStore(data).checked(MODEL) is not None


def test_another_key_is_moved_aside(archive: Path, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "other"
    target.mkdir()
    other = open_key(target)
    with pytest.raises(StateError, match=r"release\.key, release\.pub would be replaced"):
        restore(target, archive)
    assert open_key(target).id == other.id
    aside = {path.name for path in restore(target, archive, force=True).aside}
    assert {name.partition(".2")[0] for name in aside} == {"release.key", "release.pub"}
    assert open_key(target).id == open_key(data).id
    (kept,) = target.glob("release.key.*.replaced")
    assert kept.stat().st_mode & 0o777 == 0o600
    # A lost key is given back, whatever its public half says.
    (target / "release.key").unlink()
    with pytest.raises(UnusableKey, match="is missing"):
        open_key(target)
    restore(target, archive, force=True)
    assert open_key(target, trusted=True).id == open_key(data).id


def test_a_key_stays_where_the_backup_has_none(tmp_path: Path, data: Path) -> None:
    (data / "release.key").unlink()
    archive = tmp_path / "backup.tar.gz"
    backup(data, archive, documents="mongodb")
    (target := tmp_path / "other").mkdir()
    key = open_key(target)
    restore(target, archive)
    assert open_key(target).id == key.id


@pytest.mark.parametrize("content", [b"", b"x" * 100_000, b"no key"])
def test_a_damaged_key_keeps_no_backup_from_being_restored(
    data: Path, tmp_path: Path, content: bytes
) -> None:
    (data / "release.key").write_bytes(content)
    archive = tmp_path / "backup.tar.gz"
    backup(data, archive, documents="mongodb")
    restore(tmp_path / "other", archive)
    assert (tmp_path / "other" / "state.db").exists()


def test_a_blob_that_was_changed_is_left_out(data: Path, tmp_path: Path) -> None:
    (data / "releases" / "blobs" / ONNX).write_bytes(b"other")
    assert not data_files.copy(data, tmp_path / "copy", [ONNX, "../x", "0" * 64, "", ONNX.upper()])
    (data / "releases" / "blobs" / ONNX).unlink()
    (tmp_path / "secret").write_bytes(b"onnx")
    (data / "releases" / "blobs" / ONNX).symlink_to(tmp_path / "secret")
    assert not data_files.copy(data, tmp_path / "second copy", [ONNX])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (MANIFEST, {ONNX}), ("", set()), ("{", set()), ("[]", set()), ("{}", set()),
        ('{"files": 7}', set()), ('{"files": [{"path": "onnx/x"}]}', set()),
        ('{"files": [{"path": 7, "sha256": "a"}]}', set()), ('{"files": [null]}', set()),
    ],
)  # fmt: skip
def test_generated_files_are_those_that_the_registry_has_not(text: str, found: set[str]) -> None:
    assert data_files.generated([text, text]) == found


def test_names_that_no_backup_has_are_refused(archive: Path, tmp_path: Path) -> None:
    good = members(archive)
    told = json.loads(good[0][1])
    sha256 = hashlib.sha256(b"x").hexdigest()
    for name, size in (
        (f"releases/blobs/{'0' * 64}", 1), (f"releases/blobs/../{sha256}", 1), ("release.pub", 1),
        ("release.key", 5000), (f"releases/{sha256}", 1), ("release.key/x", 1),
    ):  # fmt: skip
        more = {name: {"sha256": sha256, "size": size, "layout": 0}}
        text = json.dumps(told | {"members": told["members"] | more}).encode()
        pack(archive, [info("manifest.json", text), *good[1:], info("file-9", b"x")])
        with pytest.raises(BadArchive, match="no backup has"):
            restore(tmp_path / "target", archive, force=True)
    assert data_files.is_sound(f"releases/blobs/{sha256}", Member(sha256, 1, 0))


DAMAGES = [
    "UPDATE device_projects SET models = '{'",
    "UPDATE device_projects SET policy = '7'",
    "UPDATE enrolments SET groups = ''",
    "UPDATE enrolments SET expires_at = 'soon'",
    "UPDATE devices SET groups = '7'",
    "UPDATE devices SET health = '{'",
    "UPDATE devices SET last_seen_at = 'now and then'",
    'UPDATE releases SET policy = \'{"abort": {"x": 1}}\'',
    "UPDATE releases SET since = ''",
    "UPDATE device_commands SET value = 'on'",
    "UPDATE device_messages SET data = '{'",
    "UPDATE device_messages SET at = 'then'",
]


def test_rows_of_devices_that_cannot_be_read_are_found(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    for damage in DAMAGES:
        shutil.copyfile(data / "state.db", copy)
        files.check(copy, shown_as=copy)
        with closing(sqlite3.connect(copy)) as connection, connection:
            assert connection.execute(damage).rowcount > 0, damage
        with pytest.raises(sqlite3.DatabaseError, match="of devices cannot be read"):
            files.check(copy, shown_as=copy)


async def test_a_damaged_state_is_refused_and_restored(data: Path, archive: Path) -> None:
    with closing(sqlite3.connect(data / "state.db")) as connection, connection:
        connection.execute(DAMAGES[0])
    before = (data / "state.db").read_bytes()
    with pytest.raises(StateError, match=r"of devices cannot be read.*restore --force"):
        async with opened(data):
            raise AssertionError("opened")
    with pytest.raises(StateError, match="of devices cannot be read"):
        backup(data, archive.with_name("second.tar.gz"), documents="mongodb")
    assert (data / "state.db").read_bytes() == before
    restore(data, archive, force=True)
    async with opened(data) as store:
        assert await store.devices.by_token("token of camera") is not None
