"""The other half of the composition: what notes down, keeps and judges what models do."""

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from model_deployment.control.reconciler import Reconciler
from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import MAX_CAPTURE_BYTES
from model_deployment.documents.base import Documents, StoreUnavailable, StoreUnusable
from model_deployment.documents.connect import connect
from model_deployment.documents.embedded import HELP, EmbeddedDocuments
from model_deployment.documents.owned import FindSince, Present
from model_deployment.metrics.baselines import Baselines
from model_deployment.metrics.feedback import Feedback
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.counters import Totals
from model_deployment.recording.drain import Config
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool
from model_deployment.recording.supervisor import Child
from model_deployment.recording.upkeep import Keeper
from model_deployment.recording.windows import Traffic
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.client import Registry
from model_deployment.registry.mlmodel_cache import Described
from model_deployment.registry.training_data import Training, TrainingData
from model_deployment.reports import schedule
from model_deployment.reports.inputs import (
    FindInputs,
    FindOptions,
    FindSignature,
    FindTraining,
    Gather,
)
from model_deployment.reports.schedule import Alarm, Webhook
from model_deployment.reports.service import Reporter
from model_deployment.settings import Settings
from model_deployment.state import files
from model_deployment.state.database import Database
from model_deployment.state.deployments import Deployments
from model_deployment.tabular.inputs import Inputs
from model_deployment.tabular.inputs_cache import Known

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that the embedded store is looked through before models are taken over; later it is again.
_EXAMINATION = 0.3
#: States of deployments that answer requests.
SERVED = (State.READY, State.PARKED)
#: Seconds that the last counts may take to reach the store at the end.
_LAST_WORDS = 3.0


@dataclass(frozen=True)
class Watch:
    """What the rest needs of it."""

    recorder: Recorder
    keeper: Keeper
    monitoring: Monitoring
    feedback: Feedback
    reporter: Reporter
    #: Of the models that are deployed now.
    documents: Documents
    #: What a deployed model takes.
    find_inputs: FindInputs
    #: To be told when a name stands for another model.
    begin_anew: Callable[[ModelKey], None]


@dataclass(frozen=True)
class Surroundings:
    """What it needs of the rest."""

    training: Training
    #: The metrics of a version's run and logged model.
    baselines: Baselines
    #: What a deployed version was trained on.
    find_training: FindTraining
    #: The signature of a deployed model in MLflow's JSON form.
    signature: FindSignature
    #: What a deployed model takes.
    inputs: FindInputs
    #: How a deployment is served.
    options: FindOptions
    #: From when on a name stands for the model that is deployed now.
    since: FindSince
    #: Deployments that serve.
    ready: Callable[[], Awaitable[Sequence[ModelKey]]]
    #: Days that captures are kept, of deployments that chose.
    retention: Callable[[], Awaitable[Mapping[ModelKey, float]]]
    #: Writes an event.
    note: Callable[[ModelKey, str], None]


def surroundings(
    deployments: Deployments,
    description: Described,
    cache: ArtifactCache,
    registry: Registry,
    reconciler: Reconciler,
    settings: Settings,
) -> Surroundings:
    """From the parts that the other half is made of."""

    artifact = _known(deployments, lambda row: row.artifact)
    training = Training(registry, allowed=settings.training_data)
    known = Known(settings.data_dir / "models")

    async def signature(key: ModelKey) -> Mapping[str, Any] | None:
        name = await artifact(key)
        return (await asyncio.to_thread(description.read, cache.path(name)))[0] if name else None

    async def inputs(key: ModelKey) -> Inputs:
        return await asyncio.to_thread(known, await artifact(key) or "") or Inputs()

    async def ready() -> list[ModelKey]:
        return [row.key for row in await deployments.all() if row.state in SERVED]

    async def retention() -> dict[ModelKey, float]:
        days = {row.key: row.options.retention_days for row in await deployments.all()}
        return {key: own for key, own in days.items() if own is not None}

    async def find_training(key: ModelKey) -> TrainingData | None:
        # By the name of the artifacts: a version that was registered anew was trained anew.
        folder = settings.data_dir / "training" / (await artifact(key) or str(key))
        return await training.kept(key, folder)

    return Surroundings(
        training=training,
        baselines=Baselines(settings.data_dir / "training", training.baseline, artifact),
        find_training=find_training,
        signature=signature,
        inputs=inputs,
        options=_known(deployments, lambda row: row.options),
        since=_known(deployments, lambda row: row.since),
        ready=ready,
        retention=retention,
        note=reconciler.note,
    )


def _known(
    deployments: Deployments, what: Callable[[Deployment], T]
) -> Callable[[ModelKey], Awaitable[T | None]]:
    """Looks up something of a deployment; None where there is none."""

    async def look(key: ModelKey) -> T | None:
        row = await deployments.get(key)
        return what(row) if row else None

    return look


async def make_sure_of_documents(settings: Settings, database: Database) -> None:
    """Refuse a start whose document store is lost or damaged, before anything is changed.

    That there is one is noted in the state, so that a lost one is not taken for one that never was. A
    store that cannot be written to now is none of these: captures wait for it.

    Raises:
        StateError: it is lost, damaged, not ours, or was written by a newer release.
    """
    if settings.documents_url:
        return
    path = settings.data_dir / "documents.db"
    had = await database.meta(files.DOCUMENTS) is not None
    if had and not (path.is_file() and path.stat().st_size):
        raise StateError(
            f"cannot find the document store {path}, and this data directory has had one. {HELP}"
        )
    store = EmbeddedDocuments(path, examination=_EXAMINATION)
    try:
        await store.open()
        await store.close()
    except StoreUnusable as error:
        raise StateError(str(error)) from error
    except StoreUnavailable as error:
        _log.warning("%s", error)
        return
    if not had:
        await database.change(
            "INSERT OR REPLACE INTO meta VALUES (?, 'embedded')", (files.DOCUMENTS,)
        )


def assemble(
    settings: Settings,
    instance: str,
    around: Surroundings,
    totals: Totals,
    stack: contextlib.AsyncExitStack,
) -> Watch:
    """Put it together; it works until the stack is left.

    Args:
        totals: where requests are counted for good.

    Raises:
        StateError: the settings or the data directory cannot be used.
    """
    spool = _open_spool(settings, stack)
    documents = _connect(settings)
    stack.push_async_callback(documents.close)
    traffic = Traffic(secrets.token_hex(4))
    keeper = Keeper(spool, traffic, documents, around.retention)
    stack.push_async_callback(_last_words, keeper)
    child = _drain(settings, spool, instance)
    training = around.training
    present = Present(documents, around.since, keeper)
    monitoring = Monitoring(
        present,
        traffic,
        baseline=around.baselines.of,
        baseline_as_of=around.baselines.as_of,
        write_back=training.write_metrics if settings.metrics_to_mlflow else None,
    )
    gather = Gather(
        monitoring,
        training=around.find_training,
        signature=around.signature,
        baseline=around.baselines.of,
        baseline_as_of=around.baselines.as_of,
        options=around.options,
    )
    reporter = Reporter(
        present,
        gather,
        work=settings.data_dir / "reports",
        done=Alarm(around.note, Webhook(settings.webhook_url, private=settings.webhook_private)),
    )
    reporter.open()
    stack.push_async_callback(reporter.close)
    _in_background(stack, keeper.run())
    _in_background(stack, child.run())
    _in_background(stack, around.baselines.run(around.ready))
    if settings.report_every:
        window = timedelta(seconds=settings.report_window)
        _in_background(
            stack,
            schedule.run(reporter, around.ready, every=settings.report_every, window=window),
        )
    return Watch(
        Recorder(spool, traffic, totals),
        keeper,
        monitoring,
        Feedback(present),
        reporter,
        present,
        around.inputs,
        traffic.begin_anew,
    )


def _open_spool(settings: Settings, stack: contextlib.AsyncExitStack) -> Spool:
    root: Path = settings.data_dir / "spool"
    spool = Spool(root, max_bytes=settings.spool_bytes)
    try:
        spool.open()
    except OSError as error:
        raise StateError(f"cannot use {root}: {error.strerror}") from error
    stack.callback(spool.close)
    return spool


def _connect(settings: Settings) -> Documents:
    try:
        return connect(settings.documents)
    except ValueError as error:
        raise StateError(f"cannot use MODEL_DEPLOYMENT_DOCUMENTS_URL: {error}") from None


def _drain(settings: Settings, spool: Spool, instance: str) -> Child:
    """The process that takes captures from the spool to the store."""
    config = Config(
        spool=str(spool.root),
        documents=settings.documents,
        max_age=settings.spool_hours * 3600,
        max_capture_bytes=MAX_CAPTURE_BYTES,
        salt=instance,
        log_format=settings.log_format,
        models=str(settings.data_dir / "models"),
    )
    return Child("model_deployment.recording.drain", json.dumps(asdict(config)))


async def _last_words(keeper: Keeper) -> None:
    with contextlib.suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            await keeper.flush(all=True)


def _in_background(stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = asyncio.create_task(work)
    stack.push_async_callback(end)
