"""Models write among their artifacts: each start gets them as they were downloaded, and needs no store."""

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.registry import model_copy
from model_deployment.registry.artifacts import ArtifactCache
from tests.support.downloads import FILES, NAME, Source, content, entries, flip


def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE seen (x)")
        return connection.serialize()


class Cache:
    """One that is away from its store after the first start."""

    def __init__(self, root: Path) -> None:
        self.told: list[str] = []
        self.source = Source({**FILES, "data/seen.db": database(), "old.lock": b"1"})
        self.cache = ArtifactCache(root)
        self.cache.open()

    async def start(self) -> Path:
        path = await self.cache.ensure(NAME, self.source.download, self.told.append)
        self.source.error = OSError("the store is away")
        return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def cache(root: Path) -> Cache:
    return Cache(root)


def write_ahead(model: Path) -> None:
    connection = sqlite3.connect(model / "data" / "seen.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO seen VALUES (1)")
    kept = {more: Path(f"{model}/data/seen.db{more}").read_bytes() for more in ("-wal", "-shm")}
    connection.close()
    for more, written in kept.items():  # as after kill -9
        Path(f"{model}/data/seen.db{more}").write_bytes(written)


def write_in_place(model: Path) -> None:
    with closing(sqlite3.connect(model / "data" / "seen.db")) as connection, connection:
        connection.execute("INSERT INTO seen VALUES (1)")


def same_size(model: Path) -> None:
    with (model / "model.pkl").open("r+b") as file:
        file.write(b"X")


def replace(model: Path) -> None:
    (model / "draft").write_bytes(FILES["model.pkl"])
    (model / "draft").rename(model / "model.pkl")


def permissions(model: Path) -> None:
    (model / "locked").mkdir()
    (model / "locked" / "x").touch(0o000)
    (model / "locked").chmod(0o500)


WRITES: dict[str, tuple[Callable[[Path], object], str]] = {
    "write-ahead log": (write_ahead, "added data/seen.db-shm, data/seen.db-wal; changed data/seen.db"),
    "database in place": (write_in_place, "changed data/seen.db"),
    "as many bytes": (same_size, "changed model.pkl"),
    "another file of that name": (replace, "changed model.pkl"),
    "log file": (lambda m: (m / "run.log").write_text("x"), "added run.log"),
    "lock": (lambda m: (m / "new.lock").touch(), "added new.lock"),
    "folder of many": (
        lambda m: [(m / f"{n}.tmp").write_text("") for n in range(9)],
        "added 0.tmp, 1.tmp, 2.tmp, 3.tmp, 4.tmp and 4 more",
    ),
    "link": (lambda m: (m / "latest").symlink_to("/etc/passwd"), "added latest"),
    "link to a folder": (lambda m: (m / "all").symlink_to("code"), "added all"),
    "pipe": (lambda m: os.mkfifo(m / "pipe"), "added pipe"),
    "folder that is closed": (permissions, "added locked/x"),
    "removed file": (lambda m: (m / "old.lock").unlink(), "removed old.lock"),
    "removed folder": (lambda m: shutil.rmtree(m / "code"), "removed code/lib/a.py"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "what"), WRITES.values(), ids=[*WRITES])
async def test_files_that_a_model_writes_are_reported_once(
    cache: Cache, root: Path, write: Callable[[Path], object], what: str
) -> None:
    for _ in range(3):
        path = await cache.start()
        assert content(path) == cache.source.files
        write(path)
    cache.cache = ArtifactCache(root)  # another controller
    cache.cache.open()
    assert content(await cache.start()) == cache.source.files
    [told] = cache.told
    assert told.startswith(
        f"the model writes among its artifacts ({what}). Each start gets them as"
    )
    assert f"models/{NAME}/left" in told
    assert entries(root) == [NAME]


async def test_files_of_the_last_launch_are_kept(cache: Cache, root: Path) -> None:
    left = root / NAME / "left"
    for number in range(3):
        path = await cache.start()
        (path / "code" / "cache").mkdir()
        (path / "code" / "cache" / "a").write_bytes(b"%d" % number)
    for _ in range(2):
        await cache.start()
        assert content(left) == {"code/cache/a": b"2"}


async def test_model_that_writes_nothing_is_not_reported(cache: Cache, root: Path) -> None:
    for _ in range(3):
        path = await cache.start()
        (path / "code" / "__pycache__").mkdir()
        (path / "code" / "__pycache__" / "a.pyc").touch()
        (path / "model.pkl").read_bytes()
        (path / "code" / "lib" / "b").mkdir()
    assert cache.told == []
    assert not (root / NAME / "left").exists()


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_copy, "LARGE", 65536)


async def test_overwritten_weights_do_not_reach_the_next_start(cache: Cache) -> None:
    cache.source.files["weights.bin"] = bytes(20_000_000)
    for _ in range(2):
        with (await cache.start() / "weights.bin").open("r+b") as file:
            file.write(b"changed")
    assert content(await cache.start()) == cache.source.files
    assert "changed weights.bin" in cache.told[0]


@pytest.mark.usefixtures("small_is_large")
async def test_very_large_files_are_not_copied_unless_they_are_databases(
    cache: Cache, root: Path
) -> None:
    large = bytes(model_copy.LARGE)
    cache.source.files["weights.bin"] = large
    signs = {"a.mdb": bytes(16) + b"\xde\xc0\xef\xbe", "a.duckdb": bytes(8) + b"DUCK"}
    signs["a.sqlite"] = b"SQLite format 3\0"
    for name, sign in signs.items():
        cache.source.files[name] = sign + large
    for _ in range(2):
        path = await cache.start()
        origin = cache.cache.path(NAME)
        for name in signs:
            with (path / name).open("r+b") as file:
                file.write(b"changed")
        assert (path / "weights.bin").samefile(origin / "weights.bin") or _cloned(path)
        cache.cache.verify(NAME)
    assert content(await cache.start()) == cache.source.files


def _cloned(path: Path) -> bool:
    return model_copy._clone(path / "weights.bin", path / "probe")


@pytest.mark.usefixtures("small_is_large")
async def test_without_links_very_large_files_are_copied(cache: Cache) -> None:
    cache.source.files["weights.bin"] = bytes(model_copy.LARGE)
    unable = OSError(errno.EPERM, "no links here")
    with (
        patch.object(model_copy, "_clone", lambda *_: False),
        patch.object(Path, "hardlink_to", side_effect=unable),
    ):
        path = await cache.start()
    assert content(path) == cache.source.files
    assert not (path / "weights.bin").samefile(cache.cache.path(NAME) / "weights.bin")


FULL = OSError(errno.ENOSPC, "No space left on device")


async def test_full_disk_starts_with_the_copy_of_the_last_launch(cache: Cache, root: Path) -> None:
    same_size(await cache.start())
    for _ in range(2):
        with patch.object(shutil, "copyfile", side_effect=FULL):
            path = await cache.start()
        assert path == root / NAME / "served"
        assert (path / "model.pkl").read_bytes().startswith(b"X")
        write_in_place(path)
    assert "cannot copy the artifacts: No space left on device; " in cache.told[0]
    assert len(cache.told) == 1
    assert entries(root) == [NAME]
    assert content(await cache.start()) == cache.source.files
    assert "changed data/seen.db, model.pkl" in cache.told[-1]


async def test_full_disk_without_a_copy_serves_the_downloaded_files(
    cache: Cache, root: Path
) -> None:
    with patch.object(shutil, "copyfile", side_effect=FULL):
        assert await cache.start() == cache.cache.path(NAME)
    assert "damages them if it writes into them" in cache.told[-1]
    assert entries(root) == [NAME]
    path = await cache.start()
    assert path == root / NAME / "served"
    assert content(path) == cache.source.files


@pytest.mark.parametrize("noted", ["", "{}", "[]", "null", '{"files": 3, "told": 1}'])
async def test_unreadable_stamps_do_not_prevent_a_start(
    cache: Cache, root: Path, noted: str
) -> None:
    (await cache.start() / "more").touch()
    (root / NAME / "served.json").write_text(noted)
    assert content(await cache.start()) == cache.source.files
    (root / NAME / "served" / "more").touch()
    await cache.start()
    assert len(cache.told) == 1
    assert json.loads((root / NAME / "served.json").read_text())["told"] is True


async def test_entry_of_an_earlier_release_is_served(cache: Cache, root: Path) -> None:
    shutil.rmtree(await cache.start())
    (root / NAME / "served.json").unlink()
    (cache.cache.path(NAME) / "data" / "seen.db-wal").touch()
    assert content(await cache.start()) == cache.source.files


async def test_damage_is_found_whatever_the_model_wrote(cache: Cache, root: Path) -> None:
    (await cache.start() / "more").touch()
    flip(root / NAME)
    with pytest.raises(Exception, match="the store is away"):
        await cache.start()
    cache.source.error = None
    assert content(await cache.start()) == cache.source.files


async def test_a_copy_to_which_nobody_wrote_stays_for_those_that_load_it(cache: Cache) -> None:
    path = await cache.start()
    loaded = path.stat().st_ino
    assert await cache.start() == path
    assert path.stat().st_ino == loaded


@pytest.mark.parametrize("can_exchange", [True, False])
async def test_a_launch_that_loads_the_model_finds_it_while_another_one_starts(
    cache: Cache, *, can_exchange: bool
) -> None:
    path = await cache.start()
    missing: list[str] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if not (path / "MLmodel").is_file():
            missing.append(f"{self.name} -> {target.name}")
        return moved

    found = model_copy._exchange if can_exchange else lambda one, other: False
    for _ in range(3):
        (path / "cache").write_text("written by the model")
        with patch.object(Path, "rename", watched), patch.object(model_copy, "_exchange", found):
            assert content(await cache.start()) == cache.source.files
    # Without an exchange nothing better than two steps is possible.
    assert missing == ([] if can_exchange else ["served -> old"] * 3)
