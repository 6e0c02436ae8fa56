"""What a model was trained on and how good it was: metrics and training data, as MLflow knows them.

Training data are looked for in two places: an artifact ``dataset/*.parquet`` or ``*.csv`` of the
version's run, which is the convention, and the source of a dataset that was logged with the context
``training``, if the user has allowed that place. MLflow's own loader is never asked to fetch a source:
it hands back ``/etc/passwd``, and follows redirects.
"""

import asyncio
import contextlib
import csv
import http.client
import json
import logging
import math
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from weakref import WeakValueDictionary

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry, is_absent
from model_deployment.registry.fetch import Limits, NotRetrievable, clear, copy, fetch
from model_deployment.registry.run_metrics import logged_model
from model_deployment.registry.sources import Bucket, File, Place, Places, Web, locate
from model_deployment.registry.threads import DaemonThreads
from model_deployment.registry.values import INDEX, read_version

_log = logging.getLogger(__name__)

#: Metrics that were measured where the model is deployed are written beside those of its training,
#: and never over them: with the same name they would be the next baseline.
DEPLOYED = "deployed/"

_FORMATS = (".parquet", ".csv")
#: The artifacts of a run that hold its training data.
_FOLDER = "dataset"
_CONTEXTS = frozenset({"training", "train"})
_MAX_BYTES = 1024**3
#: Fetched at once, those that hang included.
_FETCHES = 2
#: Seconds after which a fetch that does not see its own time-out is given up.
_GRACE = 3.0
#: What a database makes of an infinite metric.
_ENDLESS = sys.float_info.max
_LONGEST_HEADER = 1024 * 1024
#: Beside the file, what is known of it.
_NOTE = "training.json"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A local file of what a version was trained on."""

    #: Parquet or CSV, as the suffix says.
    path: Path
    #: Where it came from, in words.
    origin: str
    #: MLflow's own, of a logged dataset. Another one means nothing: it depends on the file's format.
    digest: str | None = None
    #: The column the model has no input for, where that is exactly one.
    target: str | None = None


@dataclass(frozen=True, slots=True)
class _Logged:
    """A dataset that a run has noted."""

    name: str
    digest: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the data of a version may be."""

    run_id: str = ""
    #: Path of the artifact inside the run's artifacts, and where those are.
    artifact: str = ""
    artifact_root: str = ""
    size: int = 0
    logged: Sequence[_Logged] = ()


class Training:
    """Asks MLflow about the making of registered versions."""

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
            allowed: places that logged datasets may be fetched from, as :class:`Places` takes them.
            timeout: seconds that fetching may take.
            max_bytes: of training data.

        Raises:
            ValueError: a place cannot be used.
        """
        self._registry = registry
        self._places = Places(allowed)
        self._timeout = timeout
        self._max_bytes = max_bytes
        # Apart from those of model artifacts: these may be held by servers that are not the registry.
        self._threads = DaemonThreads("training data", _FETCHES)
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def baseline(self, key: ModelKey, artifact: str = "") -> dict[str, float]:
        """The finite metrics of the version's run, and of its logged model, which come before.

        Args:
            artifact: the name of the version's artifacts, if they have to be of that very registration.

        Raises:
            UnknownModel: there is no such version, or it was registered anew.
            RegistryUnavailable: it did not answer in time.
        """
        what = f"look up the metrics of {key}"
        return await self._registry.ask(what, partial(_baseline, key, artifact), about=key)

    async def write_metrics(self, key: ModelKey, metrics: Mapping[str, float]) -> str:
        """Note metrics with the version's logged model if there is one, else with its run.

        Their names begin with :data:`DEPLOYED`. Those that are not finite are left out.

        Returns:
            Where they are, for people; empty if there was nowhere to write them.

        Raises:
            RegistryUnavailable: they could not be written.
        """
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        what = f"write metrics of {key}"
        try:
            where, *written = await self._registry.ask(
                what, partial(_write_metrics, key, finite), about=key
            )
            self._registry.metrics_written(*written)
            return where
        except UnknownModel as error:  # the version, or a run that was deleted
            raise RegistryUnavailable(error.detail) from error

    async def kept(self, key: ModelKey, folder: Path) -> TrainingData | None:
        """As :meth:`training_data`, which is asked once; later the file is taken from ``folder``.

        That nothing was found is not remembered: it may be logged at any time.
        """
        async with self._locks.setdefault(folder, asyncio.Lock()):
            if (known := await asyncio.to_thread(_read_note, folder)) is not None:
                return known
            await asyncio.to_thread(_tidy, folder)
            found = await self.training_data(key, folder)
            if found is not None:
                await asyncio.to_thread(_write_note, folder, found)
            return found

    async def training_data(self, key: ModelKey, folder: Path) -> TrainingData | None:
        """Copy what the version was trained on into ``folder``, which is made where it is missing.

        None: nobody has logged it, or not where it may be fetched from.

        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: the registry, or an allowed place, does not answer now.
        """
        what = f"look for the training data of {key}"
        plan = await self._registry.ask(what, partial(_plan, key), about=key)
        if plan.artifact:
            origin = f"artifact {plan.artifact} of run {plan.run_id}"
            work = partial(self._download, plan)
            suffix = PurePosixPath(plan.artifact).suffix
            if found := await self._fetch(key, folder, suffix, origin, work):
                return found
        for one in plan.logged:
            origin = f"dataset {one.name} logged by run {plan.run_id}, from {one.place}"
            if not await asyncio.to_thread(self._places.allow, one.place):
                _log.info("%s: %s is not among the allowed places", key, one.place)
                continue
            work = partial(self._copy, one.place)
            if found := await self._fetch(
                key, folder, _suffix(one.place), origin, work, one.digest
            ):
                return found
        return None

    async def _fetch(
        self,
        key: ModelKey,
        folder: Path,
        suffix: str,
        origin: str,
        work: Callable[[Any, Path], Path],
        digest: str | None = None,
    ) -> TrainingData | None:
        """Bring a file to its place, complete or not at all."""
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        partial_folder = folder / f".partial-{secrets.token_hex(8)}"
        target = folder / f"training{suffix.lower()}"

        def run(client: Any) -> str | NotRetrievable | None:
            partial_folder.mkdir()
            try:
                file = work(client, partial_folder / target.name)
                return _target(client, key, columns(file))
            except NotRetrievable as error:
                return error
            except (OSError, http.client.HTTPException) as error:
                # Said here, since the registry's own words for errors are about the registry.
                raise RegistryUnavailable(
                    f"cannot fetch the training data of {key} ({origin}): {_words(error)}",
                    retry_after=60,
                ) from error

        try:
            said = await self._registry.ask(
                f"fetch the training data of {key}",
                run,
                threads=self._threads,
                limit=self._timeout + _GRACE,
                late=partial(clear, partial_folder),
            )
            if isinstance(said, NotRetrievable):
                _log.warning("no training data of %s from %s: %s", key, origin, said)
                return None
            (partial_folder / target.name).replace(target)
        finally:
            await asyncio.to_thread(clear, partial_folder)
        return TrainingData(target, origin, digest, said)

    def _limits(self) -> Limits:
        return Limits(self._max_bytes, time.monotonic() + self._timeout)

    def _copy(self, place: Place, client: Any, target: Path) -> Path:
        fetch(place, self._places, target, self._limits(), _s3)
        return target

    def _download(self, plan: _Plan, client: Any, target: Path) -> Path:
        if plan.size > self._max_bytes:
            raise NotRetrievable(f"it is larger than {self._max_bytes} bytes")
        root = locate(plan.artifact_root)
        if isinstance(root, File):
            # Copied by us, and not by MLflow, which follows links out of the run's folder.
            copy(root.path / plan.artifact, Places([str(root.path)]), target, self._limits())
            return target
        inside = target.parent / "download"
        inside.mkdir()
        found = _present(client.download_artifacts, plan.run_id, plan.artifact, str(inside))
        if found is None:
            raise NotRetrievable("it is there no more")
        copy(Path(found), Places([str(inside)]), target, self._limits())
        clear(inside)
        return target


def columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet or CSV file.

    Raises:
        NotRetrievable: it is neither.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return [str(name) for name in parquet.read_schema(path).names]
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's are of the first two
        raise NotRetrievable(f"it cannot be read: {_words(error)}") from None
    if not names:
        raise NotRetrievable("it has no columns")
    return names


def _baseline(key: ModelKey, artifact: str, client: Any) -> dict[str, float]:
    version = client.get_model_version(key.model, str(key.version))
    if artifact and read_version(version, {}, {}).artifact != artifact:
        raise UnknownModel(
            f"cannot look up the metrics of {key}: another model was registered under this name and "
            "version since it was deployed"
        )
    of_run: dict[str, float] = {}
    if version.run_id and (run := _present(client.get_run, version.run_id)):
        of_run = run.data.metrics
    found = dict(of_run)
    if (model_id := logged_model(version)) and (
        model := _present(client.get_logged_model, model_id)
    ):
        newest_last = sorted(model.metrics or [], key=lambda one: (one.timestamp, one.step or 0))
        for one in newest_last:
            # A database keeps NaN as zero, and remembers it for runs only.
            if one.value or not math.isnan(of_run.get(one.key, 0.0)):
                found[one.key] = one.value
    return {
        name: float(value)
        for name, value in found.items()
        if abs(value) < _ENDLESS and not name.startswith(DEPLOYED)
    }


def _write_metrics(key: ModelKey, metrics: Mapping[str, float], client: Any) -> list[str]:
    """Where in words, and the run and the logged model they were written to."""
    from mlflow.entities import Metric

    version = client.get_model_version(key.model, str(key.version))
    model_id, run_id = logged_model(version), version.run_id or ""
    model = _present(client.get_logged_model, model_id) if model_id else None
    # MLflow keeps no metric of a logged model without a run it came from.
    run_id = run_id or (model.source_run_id or "" if model else "")
    if not run_id or not metrics:
        return [""]
    now = int(time.time() * 1000)
    of = model_id if model else None
    client.log_batch(
        run_id,
        metrics=[
            Metric(f"{DEPLOYED}{name}", value, now, 0, model_id=of, run_id=run_id)
            for name, value in metrics.items()
        ],
    )
    return [f"logged model {model_id}" if model else f"run {run_id}", run_id, model_id]


def _plan(key: ModelKey, client: Any) -> _Plan:
    version = client.get_model_version(key.model, str(key.version))
    run_id = version.run_id
    if not run_id and (model_id := logged_model(version)):
        model = _present(client.get_logged_model, model_id)
        run_id = model.source_run_id if model else None
    run = _present(client.get_run, run_id) if run_id else None
    if run is None:
        return _Plan()
    listed = _present(client.list_artifacts, run_id, _FOLDER) or []
    files = {file.path: file for file in listed if not file.is_dir and _is_table(file.path)}
    first = min(files, default="")
    return _Plan(
        run_id=run_id,
        artifact=first,
        artifact_root=run.info.artifact_uri or "",
        size=(files[first].file_size or 0) if first else 0,
        logged=_logged(run),
    )


def _logged(run: Any) -> list[_Logged]:
    found = []
    for one in (run.inputs.dataset_inputs if run.inputs else None) or []:
        context = {tag.key: tag.value for tag in one.tags or []}.get("mlflow.data.context")
        place = _source(one.dataset.source) if context in _CONTEXTS else None
        if place is not None and _suffix(place).lower() in _FORMATS:
            found.append(_Logged(str(one.dataset.name)[:200], one.dataset.digest or None, place))
    return found


def _source(text: Any) -> Place | None:
    """The place in the JSON that MLflow keeps; of code, of tables and the like there is none."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        source = json.loads(text)
        if isinstance(source, dict) and isinstance(
            where := source.get("uri", source.get("url")), str
        ):
            return locate(where)
    return None


def _target(client: Any, key: ModelKey, names: Sequence[str]) -> str | None:
    """The one column that is no input of the model."""
    try:
        from mlflow.models import get_model_info

        signature = get_model_info(f"models:/{key.model}/{key.version}").signature
        inputs = signature.inputs.to_dict() if signature and signature.inputs else []
        known = {str(column["name"]) for column in inputs}  # numbers are text in files
    except Exception as error:  # a signature is a help, and no more
        _log.info("no inputs of %s: %s", key, _words(error))
        return None
    left = [name for name in names if name not in known and not INDEX.fullmatch(name)]
    return left[0] if known and len(left) == 1 else None


def _present(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns; None if MLflow has none of it."""
    try:
        return call(*arguments)
    except Exception as error:
        if not is_absent(error):
            raise
        return None


def _is_table(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _FORMATS


def _suffix(place: Place) -> str:
    match place:
        case File(path):
            return path.suffix
        case Web(path=text) | Bucket(key=text):
            return PurePosixPath(text).suffix


def _s3() -> Any:
    """As MLflow makes it, with its endpoint and its credentials."""
    try:
        from mlflow.store.artifact.s3_artifact_repo import _get_s3_client

        return _get_s3_client()
    except ImportError as error:
        raise NotRetrievable("boto3 is not installed: pip install boto3") from error


def _tidy(folder: Path) -> None:
    """Clear away what earlier tries have left, those of a program that was killed included."""
    for left in folder.glob(".partial-*"):
        clear(left)


def _read_note(folder: Path) -> TrainingData | None:
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        path = folder / Path(note["file"]).name
        known = TrainingData(path, note["origin"], note["digest"], note["target"])
        return known if path.stat().st_size == note["size"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_note(folder: Path, found: TrainingData) -> None:
    note = {
        "file": found.path.name,
        "size": found.path.stat().st_size,
        "origin": found.origin,
        "digest": found.digest,
        "target": found.target,
    }
    draft = folder / f".partial-{_NOTE}"
    draft.write_text(json.dumps(note), encoding="utf-8")
    draft.replace(folder / _NOTE)


def _words(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error)).strip()
    return (text.splitlines() or [type(error).__name__])[0][:200]
