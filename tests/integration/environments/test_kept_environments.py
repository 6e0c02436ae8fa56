"""Environments that are there: a broken one is built again, and one that nobody needs is removed."""

import asyncio
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.environments import description
from model_deployment.environments.environment import Building
from tests.support.environment_bench import EnvironmentBench, installed
from tests.support.tiny_wheels import wheel


async def test_broken_environment_is_noticed_and_built_again(bench: EnvironmentBench) -> None:
    parts = ("deep/part/__init__.py", "deep.libs/a.so", "deep.libs/b.so", "shared/x/y.py")
    wheel(bench.index, "deep", "1.0", files=dict.fromkeys(parts, ""))
    model = bench.model("a", "learner\ndeep\n")
    found = await bench.built(model)
    whole = bench.folder / "whole"
    shutil.copytree(found.folder, whole, symlinks=True)
    packages = next(found.folder.glob("lib/python*/site-packages"))

    def without_base() -> None:
        found.python.unlink()
        found.python.symlink_to("/nonexistent/python3")

    damages: list[Callable[[], object]] = [
        found.python.unlink,
        lambda: found.python.chmod(0o644) if not found.python.is_symlink() else without_base(),
        lambda: shutil.rmtree(packages),
        lambda: shutil.rmtree(packages / "learner"),
        lambda: shutil.rmtree(packages / "learner-1.5.dist-info"),
        (packages / "learner/__init__.py").unlink,
        lambda: shutil.rmtree(packages / "deep/part"),
        (packages / "deep.libs/b.so").unlink,
        lambda: shutil.rmtree(packages / "shared/x"),
        lambda: (found.folder / "environment.json").write_text("{"),
        (found.folder / "environment.json").unlink,
        without_base,
    ]
    for damage in damages:
        assert bench.store.find(found.digest) == found
        damage()
        assert bench.store.find(found.digest) is None
        shutil.rmtree(found.folder)
        shutil.copytree(whole, found.folder, symlinks=True)
    shutil.rmtree(packages / "learner")
    with pytest.raises(BlockingIOError):
        bench.store.take(model, EnvManager.UV)
    assert await bench.built(model) == found
    assert installed(found)["learner"] == "1.5"
    shutil.rmtree(found.folder)
    # At once, although it was looked at a moment ago.
    assert isinstance(bench.store.state(model, EnvManager.UV), Building)
    assert await bench.built(model) == found
    # An update of the Python that it is based on costs no build.
    before = found.folder.stat().st_ino
    file = found.folder / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_time": 1}))
    assert bench.store.find(found.digest) is None
    assert await bench.built(model) == found
    assert bench.store.find(found.digest) == found
    assert found.folder.stat().st_ino == before
    # One of another minor version has none of its packages.
    description = {**json.loads(file.read_text()), "base_time": 1, "python_version": "3.1.4"}
    file.write_text(json.dumps(description))
    assert await bench.built(model) == found
    assert found.folder.stat().st_ino != before


async def test_tidy_removes_what_nobody_needs(bench: EnvironmentBench) -> None:
    kept = await bench.built(bench.model("a", "learner\n"))
    gone = await bench.built(bench.model("b", "numbers-of-us\n"))
    left = bench.root / "drafts" / f"{gone.digest}-12345678"
    (left / "environment").mkdir(parents=True)
    left.chmod(stat.S_IRUSR | stat.S_IXUSR)
    for digest in (kept.digest, gone.digest):
        os.utime(bench.store.log(digest), (0, 0))
    bench.restart()
    bench.store.tidy({kept.digest})
    assert bench.store.find(kept.digest) == kept
    assert bench.store.find(gone.digest) is None
    assert {*bench.store.sizes()} == {kept.digest}
    assert bench.drafts() == []
    assert [*bench.root.glob("removed/*")] == []
    assert bench.store.log(kept.digest).exists()
    assert not bench.store.log(gone.digest).exists()


async def test_environment_that_is_taken_is_wanted_while_it_is_looked_at(
    bench: EnvironmentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bench.model("a", "learner\n")
    found = await bench.built(model)
    look = description.verified

    def tidied_meanwhile(place: Path) -> description.Description:
        bench.store.tidy(set())  # asked before a deployment needed it
        return look(place)

    monkeypatch.setattr(description, "verified", tidied_meanwhile)
    assert bench.store.take(model, EnvManager.UV) == found
    assert bench.store.find(found.digest) == found


async def test_builds_that_begin_while_it_tidies_go_on(bench: EnvironmentBench) -> None:
    models = [bench.model("a", "learner\n"), bench.model("b", "numbers-of-us==2\n")]
    needed = {bench.store.digest(model, EnvManager.UV) for model in models}
    done = threading.Event()

    def tidy() -> None:
        while not done.is_set():
            bench.store.tidy(needed)

    tidying = asyncio.create_task(asyncio.to_thread(tidy))
    try:
        for model in models:
            assert await bench.built(model)
    finally:
        done.set()
        await tidying
