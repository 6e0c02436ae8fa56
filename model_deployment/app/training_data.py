"""Builds what takes uploads of training data, keeps their versions, and carries them to MLflow."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from model_deployment.app.background import in_background
from model_deployment.core.errors import InvalidRequest
from model_deployment.core.names import ModelKey
from model_deployment.flow_project import Project
from model_deployment.flows.deletion import delete_unused
from model_deployment.flows.runs import FlowRuns
from model_deployment.registry.client import Registry
from model_deployment.registry.uploaded_data import UploadedData
from model_deployment.settings import Settings
from model_deployment.training_data.checking import Checker, Original
from model_deployment.training_data.retention import Retention
from model_deployment.training_data.uploads import Uploads
from model_deployment.training_data.versions import Versions


@dataclass(frozen=True)
class TrainingDataParts:
    """Versions of training data, and what is asked of them."""

    uploads: Uploads
    #: None where no project of flows is set.
    runs: FlowRuns | None
    #: The registered versions that were trained on a version of the data.
    trained_on: Callable[[str], Awaitable[list[ModelKey]]]


def build_training_data(
    settings: Settings,
    registry: Registry,
    project: Project,
    runs: FlowRuns | None,
    stack: contextlib.AsyncExitStack,
) -> TrainingDataParts:
    """Build the parts; the stack ends their work in the background."""
    versions = Versions(settings.data_dir)
    versions.sweep()
    uploaded = UploadedData(registry, versions)

    async def in_use(sha256: str) -> str:
        if runs is not None and await runs.using(sha256):
            return "a run uses it"
        trained = await uploaded.trained_on(sha256)
        return f"{trained[0]} was trained on it" if trained else ""

    delete = partial(delete_unused, runs, versions.delete)
    retention = Retention(versions, settings.keep_uploads, in_use, delete)
    in_background(stack, uploaded.run(after=retention.apply), "uploaded data")
    uploads = Uploads(
        versions=versions,
        checker=Checker(settings.max_upload_bytes, settings.companion_environment),
        original=_originals(project),
        max_bytes=settings.max_upload_bytes,
        kept=lambda version: uploaded.wake(),
    )
    return TrainingDataParts(uploads, runs, uploaded.trained_on)


def _originals(project: Project) -> Callable[[str], Original]:
    def original(experiment: str) -> Original:
        known = project.settings().experiments
        if experiment not in known:
            raise InvalidRequest(
                f"cannot take data for the experiment {experiment[:60]!a}: the project has "
                f"{', '.join(known)}"
            )
        settings = known[experiment]
        return Original(settings.data_path(project.folder), settings.missing_values)

    return original
