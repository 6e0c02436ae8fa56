"""The memory for artifacts is known from their files, here or in the registry."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.registry.artifact_sizes import ArtifactSizes, listed_size

KEY = ModelKey("wine", 1)


def asked(answers: list[int | None]) -> Callable[[ModelKey], Awaitable[int]]:
    async def listed(_: ModelKey) -> int:
        size = answers.pop(0)
        if size is None:
            raise RegistryUnavailable("cannot list: away")
        return size

    return listed


async def test_the_registry_is_asked_once_and_may_be_away(tmp_path: Path) -> None:
    sizes = ArtifactSizes(lambda name: tmp_path / name, asked([None, 700]))
    assert sizes.of("a") == sizes.of("") == 0
    await sizes.ask(KEY, "a")
    assert sizes.of("a") == 0
    for _ in range(3):
        await sizes.ask(KEY, "a")
    assert sizes.of("a") == 700


async def test_files_that_are_here_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a/data").mkdir(parents=True)
    (tmp_path / "a/data/model.pkl").write_bytes(b"x" * 100)
    (tmp_path / "a/MLmodel").write_bytes(b"x" * 50)
    (tmp_path / "a/link.pkl").symlink_to("data/model.pkl")
    sizes = ArtifactSizes(lambda name: tmp_path / name, asked([]))
    await sizes.ask(KEY, "a")
    assert sizes.of("a") == 200


def test_all_folders_are_listed() -> None:
    tree = {
        None: ["a.npy", "sub"],
        "sub": ["sub/b.npy", "sub/deep"],
        "sub/deep": ["sub/deep/c.npy"],
    }

    def list_artifacts(path: str | None) -> list[Any]:
        return [
            SimpleNamespace(path=one, is_dir=one in tree, file_size=None if one in tree else 10)
            for one in tree[path]
        ]

    assert listed_size(SimpleNamespace(list_artifacts=list_artifacts)) == 30
