"""A publisher with a registry that hands out files, and trials that need no process."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_deployment.core.devices import DeviceProject
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState
from model_deployment.devices.blobs import BlobStore
from model_deployment.devices.manifest import ReleaseManifest
from model_deployment.devices.model_files import ModelFiles
from model_deployment.devices.publish import Prepared, ReleasePublisher
from model_deployment.devices.release_trials import ReleaseTrials, RunsModels
from model_deployment.devices.signing import KeyFile
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.values import RegisteredVersion
from model_deployment.runtime.model_trial import ModelTrial
from tests.support.downloads import FILES, Source

WHEN = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROJECT = DeviceProject(1, "hall", ("diabetes",), WHEN)
KEY = ModelKey("diabetes", 1)
EXAMPLE = "serving_input_example.json"
WITH_EXAMPLE = {**FILES, EXAMPLE: b'{"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}'}
FORM: Mapping[str, Any] = {
    "inputs": [{"name": "input", "columns": ["a"], "type": "float32"}],
    "outputs": ["variable"],
    "max_difference": 1e-7,
}


class FileRegistry(Source):
    """A registry with versions that all have the same files."""

    def __init__(self, files: dict[str, bytes] = WITH_EXAMPLE) -> None:
        super().__init__(files)
        self.status = "READY"
        self.created_at = WHEN
        #: Raised by look-ups.
        self.away: Exception | None = None

    async def version(self, key: ModelKey) -> RegisteredVersion:
        if self.away:
            raise self.away
        return RegisteredVersion(key, self.status, self.created_at)

    async def download(self, key: ModelKey, destination: Path) -> Path:  # type: ignore[override]
        return await super().download(destination)


@dataclass
class InstantTrials:
    """Answers as told, and writes an ONNX form as told."""

    memory: int = 1 << 30
    onnx: bytes | None = b"onnx"
    predictions: Any = field(default_factory=lambda: [1.5])
    form: Mapping[str, Any] = field(default_factory=lambda: FORM)
    why_not: str = "told so"
    error: Exception | None = None
    #: What lay in the folders of the models.
    seen: list[set[str]] = field(default_factory=list)

    async def run(self, model: Path, out: Path) -> ModelTrial:
        self.seen.append(await asyncio.to_thread(_names, model))
        (model / "MLmodel").write_text("the model writes into its folder")
        if self.error:
            raise self.error
        if self.onnx is None:
            return ModelTrial(EXAMPLE, self.predictions, 1e-4, why_not=self.why_not)
        made = out / "model.onnx"
        made.write_bytes(self.onnx)
        return ModelTrial(EXAMPLE, self.predictions, 1e-4, self.form, made)


class Published:
    """The publisher, and what it works with."""

    def __init__(
        self,
        data_dir: Path,
        registry: FileRegistry | None = None,
        trials: RunsModels | None = None,
        pause: float = 0.01,
    ) -> None:
        self.data_dir = data_dir
        self.registry = registry or FileRegistry()
        self.trials = InstantTrials()
        self.untried = ""
        self.now = WHEN
        self.cache = ArtifactCache(data_dir / "models")
        self.cache.open()
        self.blobs = BlobStore(data_dir)
        self.key = KeyFile(data_dir)
        self.publisher = ReleasePublisher(
            key=self.key,
            blobs=self.blobs,
            files=ModelFiles(self.cache, self.registry, self.blobs),
            trying=ReleaseTrials(
                data_dir / "releases" / "work",
                self.blobs,
                trials or self.trials,
                self._why_untried,
            ),
            now=lambda: self.now,
            pause=pause,
        )
        self.publisher.open()

    async def _why_untried(self, key: ModelKey) -> str:
        return self.untried

    def kept(self) -> set[str]:
        """Digests of all blobs, and names of what else lies there."""
        return {path.name for path in self.blobs.folder.iterdir()}

    def entry(self) -> Path:
        """The cached entry of the version."""
        return self.cache.path(f"diabetes-1-{int(self.registry.created_at.timestamp() * 1000)}")

    def left(self) -> list[Path]:
        """What lies where models are tried."""
        return [*(self.data_dir / "releases" / "work").iterdir()]


def release(number: int = 1, manifest: str = "", signature: str = "", **more: Any) -> Release:
    """A release that is being prepared, or was signed."""
    fields: dict[str, Any] = {
        "id": number, "project_id": 1, "number": number, "key": KEY, "policy": ReleasePolicy(),
        "state": ReleaseState.ROLLING if manifest else ReleaseState.PREPARING, "stage": 0, "reason": "",
        "created_at": WHEN, "created_by": "", "since": WHEN,
    }  # fmt: skip
    return Release(**{**fields, **more, "manifest": manifest, "signature": signature})


async def prepare(
    made: Published, number: int = 1, **more: Any
) -> tuple[Prepared, ReleaseManifest]:
    """Prepare a release of the version, and read its manifest."""
    prepared = await made.publisher.prepare(PROJECT, release(number, **more))
    return prepared, ReleaseManifest.parse(prepared.manifest)


def sha256(content: bytes) -> str:
    """The name of a blob."""
    return hashlib.sha256(content).hexdigest()


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
