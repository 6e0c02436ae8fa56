"""How much memory artifacts take while they are loaded, by their files, here or in the registry."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.loading_memory import loading_memory
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry

#: Folders that are listed, at most: the rest does not count.
_FOLDERS = 200


class ArtifactSizes:
    """Remembers the sizes by artifact, whose files never change."""

    def __init__(
        self, path: Callable[[str], Path], listed: Callable[[ModelKey], Awaitable[int]]
    ) -> None:
        """
        Args:
            path: the folder of downloaded artifacts, whether there is one or not.
            listed: the same of a version, by the list of its files in the registry. Raises a
                :class:`ModelDeploymentError`.
        """
        self._path = path
        self._listed = listed
        self._known: dict[str, int] = {}

    def of(self, artifact: str) -> int:
        """Bytes; 0 where the artifacts are not here, and the registry was not asked or gave no size."""
        if artifact and artifact not in self._known:
            size = _files(self._path(artifact))
            if size:
                self._known[artifact] = size
        return self._known.get(artifact, 0)

    async def ask(self, key: ModelKey, artifact: str) -> None:
        """Ask the registry, unless the size is known. A registry that gives none is no failure."""
        if not self.of(artifact):
            with contextlib.suppress(ModelDeploymentError):
                self._known[artifact] = await self._listed(key)


def _files(folder: Path) -> int:
    with contextlib.suppress(OSError):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return loading_memory((path.name, path.stat().st_size) for path in files)
    return 0


def listing(
    registry: Registry, tracking_uri: str, registry_uri: str
) -> Callable[[ModelKey], Awaitable[int]]:
    """Finds out the memory for a version from the list of its files, without their content."""

    async def listed(key: ModelKey) -> int:
        def work(_: Any) -> int:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            uri = f"models:/{key.model}/{key.version}"
            return listed_size(
                get_artifact_repository(uri, tracking_uri=tracking_uri, registry_uri=registry_uri)
            )

        return await registry.ask(f"list the files of {key}", work)

    return listed


def listed_size(repository: Any) -> int:
    """The memory for all files in a repository of artifacts of MLflow, without their content. Blocks."""
    files, folders = [], [""]
    for _ in range(_FOLDERS):
        if not folders:
            break
        for one in repository.list_artifacts(folders.pop() or None):
            if one.is_dir:
                folders.append(one.path)
            else:
                files.append((one.path, int(one.file_size or 0)))
    return loading_memory(files)
