"""Builds the monitoring side: recorder, document store, metrics, reports."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from model_deployment.alerts.webhook import Webhook
from model_deployment.app.background import in_background
from model_deployment.app.serving import ServingParts
from model_deployment.core.domain import State
from model_deployment.core.errors import StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import MAX_CAPTURE_BYTES, Options
from model_deployment.documents.base import Documents, StoreUnavailable
from model_deployment.documents.connect import connect
from model_deployment.documents.opening import OpenedStore
from model_deployment.documents.owner_view import OwnerView
from model_deployment.documents.retention import Retention
from model_deployment.metrics.baselines import Baselines
from model_deployment.metrics.feedback import Feedback
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.drain import DrainConfig
from model_deployment.recording.supervisor import Supervisor
from model_deployment.recording.upkeep import Upkeep
from model_deployment.registry.model_metrics import ModelMetrics
from model_deployment.registry.training_data import TrainingData, TrainingDataFinder
from model_deployment.registry.version_details import DetailsReader
from model_deployment.reports.alarm import Alarm
from model_deployment.reports.inputs import FindInputs, FindTraining, InputWriter
from model_deployment.reports.last_reports import LastReports
from model_deployment.reports.schedule import Schedule
from model_deployment.reports.service import Reporter
from model_deployment.runtime.logs import DRAIN
from model_deployment.settings import Settings
from model_deployment.tabular.input_columns import ModelInputs
from model_deployment.tabular.inputs_cache import InputsCache

_log = logging.getLogger(__name__)

#: Seconds that the last counts may take to reach the store at the end.
_FLUSH_TIMEOUT = 3.0


@dataclass(frozen=True)
class MonitoringParts:
    """What records calls, keeps documents, and judges how models do."""

    upkeep: Upkeep
    store: OpenedStore
    monitoring: Monitoring
    feedback: Feedback
    reporter: Reporter
    #: Of the models that are deployed now.
    documents: OwnerView
    #: What the registry says of versions.
    details: DetailsReader
    #: What a deployed version was trained on.
    find_training: FindTraining
    #: What a deployed model takes.
    find_inputs: FindInputs
    #: To be told when a name stands for another model.
    begin_anew: Callable[[ModelKey], None]
    last_reports: LastReports


class DeployedModels:
    """What monitoring asks the serving side; an answer is None where there is no deployment."""

    def __init__(self, serving: ServingParts, settings: Settings) -> None:
        self._serving = serving
        self._get = serving.deployments.get
        self._folder = settings.data_dir / "training"
        self._training = TrainingDataFinder(serving.registry, allowed=settings.training_data)
        self._inputs = InputsCache(settings.data_dir / "models")
        self.metrics = ModelMetrics(serving.registry)
        self.baselines = Baselines(self._folder, self.metrics.baseline, self.artifact)
        self.details = DetailsReader(
            serving.registry, self._folder, self.files, settings.tracking_uri
        )

    async def artifact(self, key: ModelKey) -> str | None:
        row = await self._get(key)
        return row.artifact if row else None

    async def files(self, key: ModelKey) -> tuple[Path, str] | None:
        """The folder of the model's files, and the name of its artifacts."""
        row = await self._get(key)
        return (self._serving.cache.path(row.artifact), row.artifact) if row else None

    async def options(self, key: ModelKey) -> Options | None:
        row = await self._get(key)
        return row.options if row else None

    async def since(self, key: ModelKey) -> datetime | None:
        """From when on the name stands for the model that is deployed now."""
        row = await self._get(key)
        return row.since if row else None

    async def signature(self, key: ModelKey) -> Mapping[str, Any] | None:
        """In MLflow's JSON form."""
        row = await self._get(key)
        return (await asyncio.to_thread(self._serving.describe, row))[0] if row else None

    async def inputs(self, key: ModelKey) -> ModelInputs:
        """What the model takes."""
        name = await self.artifact(key) or ""
        return await asyncio.to_thread(self._inputs, name) or ModelInputs()

    async def find_training(self, key: ModelKey) -> TrainingData | None:
        """What the version was trained on."""
        # By the name of the artifacts: a version that was registered anew was trained anew.
        folder = self._folder / (await self.artifact(key) or str(key))
        return await self._training.cached(key, folder)

    async def ready(self) -> list[ModelKey]:
        """The deployments that serve."""
        rows = await self._serving.deployments.all()
        return [row.key for row in rows if row.state in (State.READY, State.PARKED)]

    async def served(self) -> list[tuple[ModelKey, datetime]]:
        """The deployments that serve, and since when they have been deployed."""
        rows = await self._serving.deployments.all()
        return [
            (row.key, row.created_at) for row in rows if row.state in (State.READY, State.PARKED)
        ]

    async def retention(self) -> dict[ModelKey, float]:
        """Days that captures are kept, of the deployments that chose."""
        days = {
            row.key: row.options.retention_days for row in await self._serving.deployments.all()
        }
        return {key: own for key, own in days.items() if own is not None}


def build_monitoring(
    settings: Settings,
    serving: ServingParts,
    webhook: Webhook,
    stack: contextlib.AsyncExitStack,
    reported: Callable[[ModelKey, Mapping[str, Any]], Awaitable[None]],
) -> MonitoringParts:
    """Build the parts and start their work, which the stack ends. ``reported`` is told of each report.

    Raises:
        StateError: the settings or the data directory cannot be used.
    """
    models = DeployedModels(serving, settings)
    spool = _spool(settings)
    documents = _connect(settings)
    stack.push_async_callback(documents.close)
    plane = serving.data_plane
    counts = plane.counts.served
    store = OpenedStore(documents)
    upkeep = Upkeep(spool, counts, store, plane.stored)
    stack.push_async_callback(_flush_counts, upkeep)
    present = OwnerView(store, models.since, upkeep.caught_up)
    monitoring = Monitoring(
        present,
        counts,
        baseline=models.baselines.of,
        baseline_as_of=models.baselines.as_of,
        write_back=models.metrics.write if settings.metrics_to_mlflow else None,
        refresh=plane.refresh,
    )
    reporter, last_reports = _reporting(
        settings, serving, models, monitoring, present, webhook, stack, reported
    )
    in_background(stack, upkeep.run(), "upkeep")
    in_background(stack, Retention(store, models.retention).run(), "retention")
    drain = _drain(settings, spool, serving.instance)
    stack.push_async_callback(drain.end, keep=settings.keep_models)
    in_background(stack, drain.run(), "drain")
    in_background(stack, models.baselines.run(models.ready), "baselines")
    in_background(stack, models.details.run(models.ready), "details of versions")

    def begin_anew(key: ModelKey) -> None:
        plane.discard(key)
        last_reports.forget(key)

    return MonitoringParts(
        upkeep,
        store,
        monitoring,
        Feedback(present, models.signature),
        reporter,
        present,
        models.details,
        models.find_training,
        models.inputs,
        begin_anew,
        last_reports,
    )


def _reporting(
    settings: Settings,
    serving: ServingParts,
    models: DeployedModels,
    monitoring: Monitoring,
    present: OwnerView,
    webhook: Webhook,
    stack: contextlib.AsyncExitStack,
    reported: Callable[[ModelKey, Mapping[str, Any]], Awaitable[None]],
) -> tuple[Reporter, LastReports]:
    """What makes reports, on demand and on a schedule, and what is known of the last ones."""
    alarm = Alarm(serving.reconciler.note, webhook)

    async def on_report(
        key: ModelKey, made: Mapping[str, Any], before: Mapping[str, Any] | None
    ) -> None:
        last.made(key, made)
        await alarm(key, made, before)
        await reported(key, made)

    inputs = InputWriter(
        monitoring,
        training=models.find_training,
        signature=models.signature,
        options=models.options,
    )
    work = settings.data_dir / "reports"
    reporter = Reporter(present, inputs, work=work, on_report=on_report)
    last = LastReports(reporter.list_of_servers)
    reporter.open()
    stack.push_async_callback(reporter.close)
    in_background(stack, last.run(models.ready), "last reports")
    if settings.report_every:
        schedule = Schedule(
            reporter,
            last,
            models.served,
            every=timedelta(seconds=settings.report_every),
            window=timedelta(seconds=settings.report_window),
        )
        in_background(stack, schedule.run(), "reports")
    return reporter, last


def _spool(settings: Settings) -> Path:
    """The folder that proxies write captures to."""
    folder = settings.data_dir / "spool"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot use {folder}: {error.strerror}") from error
    return folder


def _connect(settings: Settings) -> Documents:
    try:
        return connect(settings.documents)
    except ValueError as error:
        raise StateError(f"cannot use MODEL_DEPLOYMENT_DOCUMENTS_URL: {error}") from None


def _drain(settings: Settings, spool: Path, instance: str) -> Supervisor:
    """The process that takes captures from the spool to the store."""
    config = DrainConfig(
        spool=str(spool),
        documents=settings.documents,
        max_age=settings.spool_hours * 3600,
        max_capture_bytes=MAX_CAPTURE_BYTES,
        salt=instance,
        log_format=settings.log_format,
        models=str(settings.data_dir / "models"),
    )
    return Supervisor(
        DRAIN,
        "model_deployment.recording.drain",
        asdict(config),
        instance=instance,
        log=settings.data_dir / "logs" / f"{DRAIN}.log",
        environment=settings.companion_environment,
    )


async def _flush_counts(upkeep: Upkeep) -> None:
    with contextlib.suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(_FLUSH_TIMEOUT):
            await upkeep.flush()
