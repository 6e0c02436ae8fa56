"""Tries a model before it is released: what it answers to its example, and its ONNX form."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from model_deployment.core.names import ModelKey
from model_deployment.devices.blobs import BlobStore
from model_deployment.devices.manifest import (
    MODEL,
    ONNX,
    ExampleAnswer,
    NoOnnxForm,
    OnnxForm,
    ReleaseFile,
    ReleaseManifest,
    canonical,
    finite,
)
from model_deployment.devices.model_files import FetchedModel
from model_deployment.registry import model_copy
from model_deployment.runtime.model_trial import ModelTrial

#: The only file of the ONNX form.
ONNX_FILE = f"{ONNX}/model.onnx"
#: MLflow's usual name of the example, for a model that cannot be tried.
_EXAMPLE = "serving_input_example.json"
#: Characters of an answer that goes into a manifest.
_MOST_ANSWER = 60_000

#: Why the code of a version may not run beside the controller, in words; empty if it may.
WhyUntried = Callable[[ModelKey], Awaitable[str]]


class RunsModels(Protocol):
    """Runs the code of models; see ``runtime/model_trial.py``."""

    @property
    def memory(self) -> int: ...

    async def run(self, model: Path, out: Path) -> ModelTrial: ...


@dataclass(frozen=True, slots=True)
class TriedModel:
    """What was found out about a model, as its manifest has it."""

    example: str | None
    answer: ExampleAnswer | None
    onnx: OnnxForm | NoOnnxForm
    onnx_file: ReleaseFile | None = None

    def put_into(self, manifest: ReleaseManifest) -> ReleaseManifest:
        """The manifest with this, in place of what another trial found out."""
        files = [one for one in manifest.files if one.path != ONNX_FILE]
        return replace(
            manifest,
            files=(*files, *([self.onnx_file] if self.onnx_file else [])),
            onnx=self.onnx,
            example=self.example,
            answer=self.answer,
        )


class ReleaseTrials:
    """Tries models, in folders of its own."""

    def __init__(
        self, work: Path, blobs: BlobStore, trials: RunsModels, why_untried: WhyUntried
    ) -> None:
        """``work``: a folder of its own, which is emptied."""
        self._work = work
        self._blobs = blobs
        self._trials = trials
        self._why_untried = why_untried

    def open(self) -> None:
        """Make the folder, and remove what an interrupted controller left."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(mode=0o700, parents=True)

    async def run(self, model: FetchedModel) -> TriedModel:
        """Try a model; its ONNX form becomes a blob.

        Raises:
            DiskFull, OSError: there is no room, or no process can be started.
        """
        why = await self._why_untried(model.key)
        most = self._trials.memory
        if not why and model.size > most:
            why = (
                f"its files have {model.size >> 20} MiB, and the controller tries a model with "
                f"{most >> 20} MiB of memory at most"
            )
        if why:
            return _tried(model, ModelTrial(None, None, 0.0, why_not=why))
        async with self._folder() as folder:
            # A copy, since the model may write into it.
            await asyncio.to_thread(
                model_copy.make, model.folder, folder / "model", [*model.digests]
            )
            out = folder / "out"
            out.mkdir(mode=0o700)
            trial = await self._trials.run(folder / "model", out)
            if trial.model is None:
                return _tried(model, trial)
            try:
                form = _form(trial.form or {})
            except ValueError as error:
                return _tried(model, replace(trial, why_not=f"it is described wrongly: {error}"))
            sha256 = await asyncio.to_thread(self._blobs.add, trial.model)
            size = self._blobs.path(sha256).stat().st_size
            return replace(
                _tried(model, trial),
                onnx=form,
                onnx_file=ReleaseFile(ONNX_FILE, size, sha256),
            )

    @asynccontextmanager
    async def _folder(self) -> AsyncIterator[Path]:
        folder = self._work / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)


def _tried(model: FetchedModel, trial: ModelTrial) -> TriedModel:
    """What a trial found out, without an ONNX form."""
    example, answer = trial.example or _EXAMPLE, None
    if trial.example is not None and trial.predictions is not None:
        predictions = finite(trial.predictions)
        if len(canonical(predictions)) <= _MOST_ANSWER:
            answer = ExampleAnswer(predictions, trial.tolerance)
    return TriedModel(
        f"{MODEL}/{example}" if example in model.plain else None, answer, NoOnnxForm(trial.why_not)
    )


def _form(found: Mapping[str, Any]) -> OnnxForm:
    """What the program says of the form it made, checked: the code of the model may have written it.

    Raises:
        ValueError: it is no description of a form.
    """
    try:
        return OnnxForm.read(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(repr(error)) from error
