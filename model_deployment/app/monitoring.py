"""Builds the monitoring side: recorder, document store, metrics, reports."""

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

from model_deployment.app.serving import ServingParts
from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import MAX_CAPTURE_BYTES
from model_deployment.documents.base import Documents, StoreUnavailable
from model_deployment.documents.connect import connect
from model_deployment.documents.opening import OpenedStore
from model_deployment.documents.owner_view import FindSince, OwnerView
from model_deployment.documents.retention import Retention
from model_deployment.metrics.baselines import Baselines
from model_deployment.metrics.feedback import Feedback
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.drain import DrainConfig
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool
from model_deployment.recording.supervisor import Supervisor
from model_deployment.recording.upkeep import Upkeep
from model_deployment.recording.windows import TrafficWindows
from model_deployment.registry.model_metrics import ModelMetrics
from model_deployment.registry.training_data import TrainingData, TrainingDataFinder
from model_deployment.reports import schedule
from model_deployment.reports.inputs import (
    FindInputs,
    FindOptions,
    FindSignature,
    FindTraining,
    InputWriter,
)
from model_deployment.reports.schedule import Alarm
from model_deployment.reports.service import Reporter
from model_deployment.reports.webhook import Webhook
from model_deployment.settings import Settings
from model_deployment.state.deployments import Deployments
from model_deployment.tabular.input_columns import ModelInputs
from model_deployment.tabular.inputs_cache import InputsCache

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: States of deployments that answer requests.
SERVED = (State.READY, State.PARKED)
#: Seconds that the last counts may take to reach the store at the end.
_FLUSH_TIMEOUT = 3.0


@dataclass(frozen=True)
class MonitoringParts:
    """What records calls, keeps documents, and judges how models do."""

    recorder: Recorder
    upkeep: Upkeep
    store: OpenedStore
    monitoring: Monitoring
    feedback: Feedback
    reporter: Reporter
    #: Of the models that are deployed now.
    documents: Documents
    #: What a deployed version was trained on.
    find_training: FindTraining
    #: What a deployed model takes.
    find_inputs: FindInputs
    #: To be told when a name stands for another model.
    begin_anew: Callable[[ModelKey], None]


@dataclass(frozen=True)
class MonitoringInputs:
    """What monitoring needs of the serving side."""

    metrics: ModelMetrics
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


def _inputs(serving: ServingParts, settings: Settings) -> MonitoringInputs:
    """Collect what monitoring needs from the serving side."""
    deployments = serving.deployments

    artifact = _known(deployments, lambda row: row.artifact)
    metrics = ModelMetrics(serving.registry)
    training = TrainingDataFinder(serving.registry, allowed=settings.training_data)
    known = InputsCache(settings.data_dir / "models")

    async def signature(key: ModelKey) -> Mapping[str, Any] | None:
        name = await artifact(key)
        return (
            (await asyncio.to_thread(serving.description.read, serving.cache.path(name)))[0]
            if name
            else None
        )

    async def inputs(key: ModelKey) -> ModelInputs:
        return await asyncio.to_thread(known, await artifact(key) or "") or ModelInputs()

    async def ready() -> list[ModelKey]:
        return [row.key for row in await deployments.all() if row.state in SERVED]

    async def retention() -> dict[ModelKey, float]:
        days = {row.key: row.options.retention_days for row in await deployments.all()}
        return {key: own for key, own in days.items() if own is not None}

    async def find_training(key: ModelKey) -> TrainingData | None:
        # By the name of the artifacts: a version that was registered anew was trained anew.
        folder = settings.data_dir / "training" / (await artifact(key) or str(key))
        return await training.cached(key, folder)

    return MonitoringInputs(
        metrics=metrics,
        baselines=Baselines(settings.data_dir / "training", metrics.baseline, artifact),
        find_training=find_training,
        signature=signature,
        inputs=inputs,
        options=_known(deployments, lambda row: row.options),
        since=_known(deployments, lambda row: row.since),
        ready=ready,
        retention=retention,
        note=serving.reconciler.note,
    )


def _known(
    deployments: Deployments, what: Callable[[Deployment], T]
) -> Callable[[ModelKey], Awaitable[T | None]]:
    """Reads one attribute of a deployment; None where there is no deployment."""

    async def read(key: ModelKey) -> T | None:
        row = await deployments.get(key)
        return what(row) if row else None

    return read


def build_monitoring(
    settings: Settings,
    serving: ServingParts,
    stack: contextlib.AsyncExitStack,
) -> MonitoringParts:
    """Build the parts and start their background work; the stack ends both.

    Raises:
        StateError: the settings or the data directory cannot be used.
    """
    inputs = _inputs(serving, settings)
    spool = _open_spool(settings, stack)
    documents = _connect(settings)
    stack.push_async_callback(documents.close)
    traffic = TrafficWindows(secrets.token_hex(4))
    store = OpenedStore(documents)
    upkeep = Upkeep(spool, traffic, store)
    stack.push_async_callback(_flush_counts, upkeep)
    child = _drain(settings, spool, serving.instance)
    present = OwnerView(store, inputs.since, upkeep.caught_up)
    monitoring = Monitoring(
        present,
        traffic,
        baseline=inputs.baselines.of,
        baseline_as_of=inputs.baselines.as_of,
        write_back=inputs.metrics.write if settings.metrics_to_mlflow else None,
    )
    reporter = _build_reporter(settings, inputs, monitoring, present)
    reporter.open()
    stack.push_async_callback(reporter.close)
    _in_background(stack, upkeep.run())
    _in_background(stack, Retention(store, inputs.retention).run())
    _in_background(stack, child.run())
    _in_background(stack, inputs.baselines.run(inputs.ready))
    if settings.report_every:
        window = timedelta(seconds=settings.report_window)
        _in_background(
            stack,
            schedule.run(reporter, inputs.ready, every=settings.report_every, window=window),
        )
    return MonitoringParts(
        Recorder(spool, traffic, serving.totals),
        upkeep,
        store,
        monitoring,
        Feedback(present),
        reporter,
        present,
        inputs.find_training,
        inputs.inputs,
        traffic.discard,
    )


def _build_reporter(
    settings: Settings, inputs: MonitoringInputs, monitoring: Monitoring, documents: OwnerView
) -> Reporter:
    gather = InputWriter(
        monitoring,
        training=inputs.find_training,
        signature=inputs.signature,
        options=inputs.options,
    )
    return Reporter(
        documents,
        gather,
        work=settings.data_dir / "reports",
        on_report=Alarm(
            inputs.note, Webhook(settings.webhook_url, private=settings.webhook_private)
        ),
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


def _drain(settings: Settings, spool: Spool, instance: str) -> Supervisor:
    """The process that takes captures from the spool to the store."""
    config = DrainConfig(
        spool=str(spool.root),
        documents=settings.documents,
        max_age=settings.spool_hours * 3600,
        max_capture_bytes=MAX_CAPTURE_BYTES,
        salt=instance,
        log_format=settings.log_format,
        models=str(settings.data_dir / "models"),
    )
    return Supervisor("model_deployment.recording.drain", json.dumps(asdict(config)))


async def _flush_counts(upkeep: Upkeep) -> None:
    with contextlib.suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(_FLUSH_TIMEOUT):
            await upkeep.flush(all=True)


def _in_background(stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = asyncio.create_task(work)
    stack.push_async_callback(end)
