"""The artifact cache downloads once, serves only what it downloaded, and leaves no halves behind."""

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from model_deployment.registry.artifacts import ArtifactCache, Damaged
from tests.support.downloads import FILES, NAME, Source, content, entries, flip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


@pytest.fixture
def cache(root: Path) -> ArtifactCache:
    cache = ArtifactCache(root)
    cache.open()
    return cache


@pytest.fixture
def source() -> Source:
    return Source()


async def test_downloads_once(cache: ArtifactCache, source: Source, root: Path) -> None:
    for _ in range(3):
        path = await cache.ensure(NAME, source.download)
        assert path == root / NAME / "served"
        assert content(path) == content(cache.path(NAME)) == FILES
    assert source.downloads == 1
    assert entries(root) == [NAME]


async def test_downloads_once_for_all_controllers(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    await cache.ensure(NAME, source.download)
    other = ArtifactCache(root)
    other.open()
    await other.ensure(NAME, source.download)
    assert source.downloads == 1


async def test_entries_do_not_mix(cache: ArtifactCache, source: Source) -> None:
    await cache.ensure(NAME, source.download)
    source.files["model.pkl"] = b"others"
    other = await cache.ensure("diabetes-2-1700000000000", source.download)
    assert content(other)["model.pkl"] == b"others"
    assert content(cache.path(NAME)) == FILES


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


Harm = Callable[[Path], object]


def swap(entry: Path) -> None:
    """Two files trade contents, which keeps the set of digests."""
    one, other = entry / "model/model.pkl", entry / "model/code/lib/a.py"
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def link(entry: Path) -> None:
    """The same content, held by a file that is not in the manifest."""
    (entry / "model/model.pkl").rename(entry / "model.pkl")
    (entry / "model/model.pkl").symlink_to("../model.pkl")


def replace_by_folder(entry: Path) -> None:
    (entry / "model/model.pkl").unlink()
    (entry / "model/model.pkl").mkdir()


HARMS: dict[str, Harm] = {
    "flipped bit": flip,
    "swapped contents": swap,
    "truncated file": lambda e: (e / "model/model.pkl").write_bytes(b"\x80weight"),
    "file moved into a folder": lambda e: (e / "model/MLmodel").rename(e / "model/code/MLmodel"),
    "removed file": lambda e: (e / "model/code/lib/a.py").unlink(),
    "renamed file": lambda e: (e / "model/model.pkl").rename(e / "model/model2.pkl"),
    "removed model": lambda e: (e / "model").rename(e / "gone"),
    "empty manifest": lambda e: (e / "manifest.json").write_text(""),
    "truncated manifest": lambda e: (e / "manifest.json").write_bytes(
        (e / "manifest.json").read_bytes()[:-5]
    ),
    "zeroed manifest": lambda e: (e / "manifest.json").write_bytes(bytes(100)),
    "manifest in no encoding": lambda e: (e / "manifest.json").write_bytes(b"\xff"),
    "removed manifest": lambda e: (e / "manifest.json").unlink(),
    "manifest of another shape": lambda e: (e / "manifest.json").write_text("[]"),
    "file replaced by a link": link,
    "manifest that knows nothing": lambda e: (e / "manifest.json").write_text("{}"),
    "file replaced by a folder": replace_by_folder,
}
#: What is in the cache and was not downloaded is not served, and harms nobody.
ADDITIONS: dict[str, Harm] = {
    "file": lambda e: (e / "model/code/sitecustomize.py").write_text(""),
    "hidden file": lambda e: (e / "model/.env").write_text(""),
    "broken link": lambda e: (e / "model/link").symlink_to("nowhere"),
    "link to a folder": lambda e: (e / "model/code/numpy").symlink_to("/tmp"),
    "compiled files": lambda e: (e / "model/code/__pycache__").mkdir(),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=[*HARMS])
async def test_a_damaged_entry_is_fetched_again(
    cache: ArtifactCache, source: Source, root: Path, harm: Harm
) -> None:
    await cache.ensure(NAME, source.download)
    harm(root / NAME)
    path = await cache.ensure(NAME, source.download)
    assert content(path) == FILES
    assert source.downloads == 2
    await cache.ensure(NAME, source.download)
    assert source.downloads == 2


@pytest.mark.parametrize("add", ADDITIONS.values(), ids=[*ADDITIONS])
async def test_added_files_are_not_served(
    cache: ArtifactCache, source: Source, root: Path, add: Harm
) -> None:
    await cache.ensure(NAME, source.download)
    add(root / NAME)
    path = await cache.ensure(NAME, source.download)
    assert sorted(str(p.relative_to(path)) for p in path.rglob("*") if not p.is_dir()) == sorted(
        FILES
    )
    assert source.downloads == 1


@pytest.mark.parametrize("harm", [HARMS["flipped bit"], HARMS["removed file"]])
async def test_verify_names_the_damage(
    cache: ArtifactCache, source: Source, root: Path, harm: Harm
) -> None:
    with pytest.raises(FileNotFoundError):
        cache.verify(NAME)
    await cache.ensure(NAME, source.download)
    cache.verify(NAME)
    harm(root / NAME)
    with pytest.raises(Damaged, match=r"model\.pkl has changed|missing: code/lib/a\.py"):
        cache.verify(NAME)


async def test_a_damaged_entry_is_not_served_when_it_cannot_be_fetched(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    told: list[str] = []
    await cache.ensure(NAME, source.download, told.append)
    flip(root / NAME)
    source.error = OSError("registry down")
    for _ in range(3):
        with pytest.raises(Damaged, match=r"damaged \(model.pkl has changed\).*: registry down"):
            await cache.ensure(NAME, source.download, told.append)
    assert entries(root) == [NAME]  # a model may still be reading it
    assert told == [
        "the local copy of the artifacts is damaged (model.pkl has changed); fetching them again"
    ]
    source.error = None
    assert content(await cache.ensure(NAME, source.download, told.append)) == FILES
    assert entries(root) == [NAME]
    flip(root / NAME)
    await cache.ensure(NAME, source.download, told.append)
    assert len(told) == 2


async def test_failed_first_download_raises_its_own_error(
    cache: ArtifactCache, source: Source
) -> None:
    source.error = OSError("registry down")
    with pytest.raises(OSError, match=r"^registry down$"):
        await cache.ensure(NAME, source.download)


async def test_a_download_that_fails_leaves_nothing(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    source.error = ValueError("half way")
    with pytest.raises(ValueError, match="half way"):
        await cache.ensure(NAME, source.download)
    assert entries(root) == []


async def test_a_download_that_is_cancelled_leaves_nothing(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    source.gate.clear()
    task = asyncio.create_task(cache.ensure(NAME, source.download))
    async with asyncio.timeout(10):
        await source.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert entries(root) == []


async def test_artifacts_without_a_model_are_refused(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    del source.files["MLmodel"]
    source.files["MLmodel/readme"] = b"a folder of that name is none either"
    with pytest.raises(Damaged, match="no MLmodel file"):
        await cache.ensure(NAME, source.download)
    assert entries(root) == []


async def test_compiled_files_are_ignored_and_removed(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    path = await cache.ensure(NAME, source.download)
    for folder in (path / "__pycache__", path / "code" / "lib" / "__pycache__"):
        folder.mkdir()
        (folder / "a.cpython-311.pyc").write_bytes(b"evil")
    assert content(await cache.ensure(NAME, source.download)) == FILES
    assert source.downloads == 1


async def test_a_model_that_comes_with_compiled_files_is_downloaded_once(
    cache: ArtifactCache, source: Source
) -> None:
    source.files["code/__pycache__/a.pyc"] = b"compiled"
    for _ in range(2):
        await cache.ensure(NAME, source.download)
    assert source.downloads == 1


def test_opening_removes_unfinished_downloads(root: Path, cache: ArtifactCache) -> None:
    (root / ".partial-x" / "download").mkdir(parents=True)
    (root / ".partial-x" / "download" / "MLmodel").write_text("half")
    (root / NAME).mkdir()
    ArtifactCache(root).open()
    assert entries(root) == [NAME]


async def test_only_the_owner_can_look_inside(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    await cache.ensure(NAME, source.download)
    assert (mode(root), mode(root / NAME)) == (0o700, 0o700)


def test_an_open_folder_is_closed_to_others(cache: ArtifactCache, root: Path) -> None:
    root.chmod(0o755)
    cache.open()
    assert mode(root) == 0o700


async def test_the_entry_appears_complete_or_not_at_all(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    source.gate.clear()
    task = asyncio.create_task(cache.ensure(NAME, source.download))
    async with asyncio.timeout(10):
        await source.begun.wait()
    assert not (root / NAME).exists()
    source.gate.set()
    await task
    assert {*entries(root / NAME)} == {"model", "manifest.json", "served", "served.json"}
    assert json.loads((root / NAME / "manifest.json").read_text()).keys() == FILES.keys()


async def test_concurrent_entries_do_not_disturb_each_other(
    cache: ArtifactCache, source: Source
) -> None:
    names = [f"m-{number}-0" for number in range(8)]
    await asyncio.gather(*(cache.ensure(name, source.download) for name in names))
    for name in names:
        cache.verify(name)


async def test_concurrent_callers_of_one_entry_share_a_download(
    cache: ArtifactCache, source: Source
) -> None:
    await cache.ensure(NAME, source.download)
    flip(cache.path(NAME).parent)
    for path in await asyncio.gather(*(cache.ensure(NAME, source.download) for _ in range(8))):
        assert content(path) == FILES
    assert source.downloads == 2
