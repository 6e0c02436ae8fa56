"""Downloads that are given up while they go on, and artifacts that lead out of their folder."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.registry import artifacts
from model_deployment.registry.artifacts import ArtifactCache, Damaged
from model_deployment.registry.threads import DaemonThreads
from tests.support.downloads import FILES, NAME, Source, content, entries, flip
from tests.support.waiting import until


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


class Blocking:
    """A download on a thread, which cannot be stopped, and writes on for as long as it goes."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._threads = DaemonThreads("blocking", 1)

    async def download(self, destination: Path) -> Path:
        return await self._threads.run(
            lambda: self._work(destination), late=lambda: shutil.rmtree(destination)
        )

    def _work(self, destination: Path) -> Path:
        (destination / "a").mkdir(parents=True)
        self.begun.set()
        assert self.go_on.wait(30)
        (destination / "b").mkdir(parents=True)
        (destination / "b" / "MLmodel").write_text("late")
        return destination / "b"


async def test_cancelled_download_that_goes_on_leaves_nothing(
    cache: ArtifactCache, root: Path
) -> None:
    blocking = Blocking()
    task = asyncio.create_task(cache.ensure(NAME, blocking.download))
    await until(blocking.begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert entries(root) == []
    blocking.go_on.set()
    await until(lambda: not [t for t in threading.enumerate() if t.name == "blocking"])
    assert entries(root) == []


async def test_cancelled_download_does_not_disturb_the_next(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    blocking = Blocking()
    first = asyncio.create_task(cache.ensure(NAME, blocking.download))
    await until(blocking.begun.is_set)
    second = asyncio.create_task(cache.ensure(NAME, source.download))
    first.cancel()
    assert content(await second) == FILES
    blocking.go_on.set()
    await until(lambda: not [t for t in threading.enumerate() if t.name == "blocking"])
    cache.verify(NAME)
    assert entries(root) == [NAME]


async def test_adoption_is_completed_after_a_cancellation(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    digesting, go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> str:
        digesting.set()
        assert go_on.wait(30)
        return digest(path)

    digest = artifacts._digest
    with patch.object(artifacts, "_digest", slow):
        task = asyncio.create_task(cache.ensure(NAME, source.download))
        await until(digesting.is_set)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    cache.verify(NAME)
    assert content(cache.path(NAME)) == FILES
    assert entries(root) == [NAME]


async def test_damaged_entry_stays_until_it_is_replaced(
    cache: ArtifactCache, source: Source, root: Path
) -> None:
    await cache.ensure(NAME, source.download)
    flip(root / NAME)
    damaged = content(root / NAME)
    source.gate.clear()
    source.begun.clear()
    task = asyncio.create_task(cache.ensure(NAME, source.download))
    await until(source.begun.is_set)
    assert content(root / NAME) == damaged
    source.gate.set()
    await task
    assert content(cache.path(NAME)) == FILES
    assert entries(root) == [NAME]


def link(folder: Path, name: str, target: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)


def links(folder: Path, first: tuple[str, str], second: tuple[str, str]) -> None:
    link(folder, *first)
    link(folder, *second)


LEAVING: dict[str, Callable[[Path], object]] = {
    "absolute file": lambda f: link(f, "code/passwd", "/etc/passwd"),
    "absolute folder": lambda f: link(f, "code/etc", "/etc"),
    "relative": lambda f: link(f, "secret", "../../../../state.db"),
    "relative folder": lambda f: link(f, "code/up", "../.."),
    "to its own manifest": lambda f: link(f, "list", "../manifest.json"),
    "through another link": lambda f: links(f, ("code/here", "."), ("x", "code/here/../..")),
    "absolute, to itself": lambda f: link(f, "self", str(f / "MLmodel")),
    "circle": lambda f: links(f, ("a", "b"), ("b", "a")),
}


def linked(source: Source, make: Callable[[Path], object]) -> artifacts.Download:
    async def download(destination: Path) -> Path:
        folder = await source.download(destination)
        make(folder)
        return folder

    return download


@pytest.mark.parametrize("make", LEAVING.values(), ids=[*LEAVING])
async def test_a_link_that_leaves_the_artifacts_is_refused(
    cache: ArtifactCache, source: Source, root: Path, make: Callable[[Path], object]
) -> None:
    with pytest.raises(Damaged, match=r"the link .* leaves their folder"):
        await cache.ensure(NAME, linked(source, make))
    assert entries(root) == []


async def test_link_inside_the_artifacts_is_accepted(cache: ArtifactCache, source: Source) -> None:
    def make(folder: Path) -> None:
        link(folder, "data/weights", "../model.pkl")
        link(folder, "lib", "code/lib")

    path = await cache.ensure(NAME, linked(source, make))
    assert (path / "data" / "weights").read_bytes() == FILES["model.pkl"]
    assert (path / "lib" / "a.py").read_bytes() == FILES["code/lib/a.py"]
    await cache.ensure(NAME, source.download)
    assert source.downloads == 1


async def test_a_download_elsewhere_is_refused(cache: ArtifactCache, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    link(elsewhere, "MLmodel", "anywhere")

    async def download(destination: Path) -> Path:
        link(destination, "inner", str(elsewhere))
        return destination / "inner"

    with pytest.raises(Damaged, match="outside their folder"):
        await cache.ensure(NAME, download)
    assert entries(elsewhere) == ["MLmodel"]
