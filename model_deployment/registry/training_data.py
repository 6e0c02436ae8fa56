"""Finds the data a version was trained on, and copies them to a local file.

Two places are searched: an artifact ``dataset/*.parquet`` or ``dataset/*.csv`` of the version's run, and
the local file, or object of S3, of a dataset that was logged with the context ``training``, if it lies in a
folder, or under a prefix, that the operator allows. MLflow's own loader of datasets is not used: it reads
``/etc/passwd`` when a source says so.
"""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from weakref import WeakValueDictionary

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.registry import s3_objects
from model_deployment.registry.client import Registry
from model_deployment.registry.data_files import (
    NotRetrievable,
    allowed_folders,
    allowed_prefixes,
    brief,
    column_names,
    containing,
    copy,
    local_path,
    no_longer_read,
    remove_folder,
)
from model_deployment.registry.errors import found_or_none
from model_deployment.registry.run_metrics import logged_model
from model_deployment.registry.s3_objects import NoObject, S3Object, is_under, read_address
from model_deployment.registry.threads import DaemonThreads
from model_deployment.registry.values import INDEX

_log = logging.getLogger(__name__)

_FORMATS = (".parquet", ".csv")
#: The artifact folder of a run that holds its training data.
_FOLDER = "dataset"
_CONTEXTS = frozenset({"training", "train"})
_MAX_BYTES = 1024**3
#: Concurrent copies, hung ones included.
_COPIES = 2
#: Describes the file in its folder.
_DESCRIPTION = "training.json"
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A local copy of the data a version was trained on."""

    #: A Parquet or CSV file, as its suffix says.
    path: Path
    #: Where the data came from, in words.
    origin: str
    #: The only column that is not an input of the model, if there is exactly one.
    target: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Where the training data of a version may be."""

    run_id: str = ""
    #: Path of the artifact below the artifact root of the run.
    artifact: str = ""
    artifact_root: str = ""
    size: int = 0
    #: Names, and local files or objects of S3, of the datasets that the run has logged.
    datasets: Sequence[tuple[str, Path | S3Object]] = ()


class TrainingDataFinder:
    """Finds and copies the training data of registered versions."""

    def __init__(
        self,
        registry: Registry,
        *,
        allowed: Sequence[str] = (),
        timeout: float = 600.0,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """Ask nothing yet.

        Args:
            allowed: absolute folders, and prefixes ``s3://bucket/prefix/``, that logged datasets may be
                copied from.
            timeout: seconds one copy may take.
            max_bytes: size limit of the training data.

        Raises:
            ValueError: an entry is neither.
        """
        self._registry = registry
        self._folders = allowed_folders(allowed)
        self._prefixes = allowed_prefixes(allowed)
        self._timeout = timeout
        self._max_bytes = max_bytes
        # Apart from the downloads of models: the store of a run's artifacts may hang on its own.
        self._threads = DaemonThreads("training data", _COPIES)
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        for address in no_longer_read(allowed):
            _log.warning(
                "MODEL_DEPLOYMENT_TRAINING_DATA: ignoring %s: training data is no longer read from the "
                "web; log it with the training run instead: "
                'mlflow.log_artifact("train.parquet", "dataset")',
                address,
            )
        if self._prefixes and not s3_objects.can_read():
            _log.warning(
                "MODEL_DEPLOYMENT_TRAINING_DATA: cannot read %s: %s",
                self._prefixes[0],
                s3_objects.INSTALL,
            )

    async def cached(self, key: ModelKey, folder: Path) -> TrainingData | None:
        """Like :meth:`fetch`, but a file that ``folder`` already holds is returned at once.

        A fruitless search is not remembered: the data can be logged at any time.
        """
        async with self._locks.setdefault(folder, asyncio.Lock()):
            if (known := await asyncio.to_thread(_read_description, folder)) is not None:
                return known
            await asyncio.to_thread(_remove_partial, folder)
            found = await self.fetch(key, folder)
            if found is not None:
                await asyncio.to_thread(_write_description, folder, found)
            return found

    async def fetch(self, key: ModelKey, folder: Path) -> TrainingData | None:
        """Copy the training data of a version into ``folder``, which is created if missing.

        Returns:
            None if no training data were logged, or only where they may not be read.

        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: the registry, or its store of artifacts, does not answer.
        """
        what = f"look for the training data of {key}"
        candidates = await self._registry.ask(what, partial(_candidates, key), about=key)
        run_id = candidates.run_id
        if candidates.artifact:
            origin = f"artifact {candidates.artifact} of run {run_id}"
            work = partial(self._download, candidates)
            suffix = PurePosixPath(candidates.artifact).suffix
            if found := await self._place(key, folder, suffix, origin, work):
                return found
        for name, source in candidates.datasets:
            if not await asyncio.to_thread(self._is_allowed, source):
                _log.info("%s: %s is not in an allowed folder", key, source)
                continue
            origin = f"dataset {name} logged by run {run_id}, from {source}"
            work = partial(self._copy, source)
            if found := await self._place(key, folder, source.suffix, origin, work):
                return found
        return None

    async def _place(
        self,
        key: ModelKey,
        folder: Path,
        suffix: str,
        origin: str,
        work: Callable[[Any, Path], None],
    ) -> TrainingData | None:
        """Put a file into its folder, complete or not at all."""
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        partial_folder = folder / f"{_PARTIAL}{secrets.token_hex(8)}"
        target = folder / f"training{suffix.lower()}"

        def run(client: Any) -> str | NotRetrievable | None:
            partial_folder.mkdir()
            try:
                work(client, partial_folder / target.name)
                return _target(key, column_names(partial_folder / target.name))
            except NotRetrievable as error:
                return error
            except OSError as error:
                # Translated here: the registry would describe the error as its own.
                raise RegistryUnavailable(
                    f"cannot fetch the training data of {key} ({origin}): {brief(error)}",
                    retry_after=60,
                ) from error

        try:
            outcome = await self._registry.ask(
                f"fetch the training data of {key}",
                run,
                threads=self._threads,
                limit=self._timeout,
                late=partial(remove_folder, partial_folder),
            )
            if isinstance(outcome, NotRetrievable):
                _log.warning("no training data of %s from %s: %s", key, origin, outcome)
                return None
            (partial_folder / target.name).replace(target)
        finally:
            await asyncio.to_thread(remove_folder, partial_folder)
        return TrainingData(target, origin, outcome)

    def _is_allowed(self, source: Path | S3Object) -> bool:
        if isinstance(source, S3Object):
            return is_under(source, self._prefixes)
        return containing(source, self._folders) is not None

    def _copy(self, source: Path | S3Object, client: Any, target: Path) -> None:
        if isinstance(source, Path):
            copy(source, self._folders, target, self._max_bytes)
            return
        try:
            s3_objects.copy(source, target, self._max_bytes)
        except NoObject as error:
            raise NotRetrievable(str(error)) from None

    def _download(self, candidates: _Candidates, client: Any, target: Path) -> None:
        if candidates.size > self._max_bytes:
            raise NotRetrievable(f"the file is larger than {self._max_bytes} bytes")
        if root := local_path(candidates.artifact_root):
            # Not by MLflow, which would follow links out of the run's folder.
            copy(root / candidates.artifact, [root], target, self._max_bytes)
            return
        inside = target.parent / "download"
        inside.mkdir()
        found = found_or_none(
            client.download_artifacts, candidates.run_id, candidates.artifact, str(inside)
        )
        if found is None:
            raise NotRetrievable("the artifact was removed")
        copy(Path(found), [inside], target, self._max_bytes)


def _candidates(key: ModelKey, client: Any) -> _Candidates:
    version = client.get_model_version(key.model, str(key.version))
    run_id = version.run_id
    if not run_id and (model_id := logged_model(version)):
        model = found_or_none(client.get_logged_model, model_id)
        run_id = model.source_run_id if model else None
    run = found_or_none(client.get_run, run_id) if run_id else None
    if run is None:
        return _Candidates()
    listed = found_or_none(client.list_artifacts, run_id, _FOLDER) or []
    files = {
        file.path: file
        for file in listed
        if not file.is_dir and PurePosixPath(file.path).suffix.lower() in _FORMATS
    }
    first = min(files, default="")
    return _Candidates(
        run_id=run_id,
        artifact=first,
        artifact_root=run.info.artifact_uri or "",
        size=(files[first].file_size or 0) if first else 0,
        datasets=_logged_datasets(run),
    )


def _logged_datasets(run: Any) -> list[tuple[str, Path | S3Object]]:
    found = []
    for one in (run.inputs.dataset_inputs if run.inputs else None) or []:
        context = {tag.key: tag.value for tag in one.tags or []}.get("mlflow.data.context")
        source = _source(one.dataset.source) if context in _CONTEXTS else None
        if source is not None and source.suffix.lower() in _FORMATS:
            found.append((str(one.dataset.name)[:200], source))
    return found


def _source(text: Any) -> Path | S3Object | None:
    """The file or object in MLflow's JSON of a source; None for code, tables and other sources."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        source = json.loads(text)
        if isinstance(source, dict) and isinstance(uri := source.get("uri"), str):
            return read_address(uri) or local_path(uri)
    return None


def _target(key: ModelKey, names: Sequence[str]) -> str | None:
    try:
        from mlflow.models import Model

        # Not MLflow's get_model_info, which asks the server for the logged model as well.
        signature = Model.load(f"models:/{key.model}/{key.version}").signature
        inputs = signature.inputs.to_dict() if signature and signature.inputs else []
        known = {str(column["name"]) for column in inputs}  # files have numbers as text
    except Exception as error:  # without a signature the data are still useful
        _log.info("no inputs of %s: %s", key, brief(error))
        return None
    left = [name for name in names if name not in known and not INDEX.fullmatch(name)]
    return left[0] if known and len(left) == 1 else None


def _remove_partial(folder: Path) -> None:
    """Remove what earlier attempts left, those of a killed program included."""
    for left in folder.glob(f"{_PARTIAL}*"):
        remove_folder(left)


def _read_description(folder: Path) -> TrainingData | None:
    try:
        found = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        path = folder / Path(found["file"]).name
        known = TrainingData(path, found["origin"], found["target"])
        return known if path.stat().st_size == found["size"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_description(folder: Path, data: TrainingData) -> None:
    description = {
        "file": data.path.name,
        "size": data.path.stat().st_size,
        "origin": data.origin,
        "target": data.target,
    }
    draft = folder / f"{_PARTIAL}{_DESCRIPTION}"
    draft.write_text(json.dumps(description), encoding="utf-8")
    draft.replace(folder / _DESCRIPTION)
