"""Uploaded training data in MLflow: a run for each version, and the models that were trained on it."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from model_deployment.core.errors import ModelDeploymentError, NotFound, RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.registry.artifact_location import beside
from model_deployment.registry.client import Registry
from model_deployment.registry.threads import DaemonThreads
from model_deployment.registry.version_list import all_pages
from model_deployment.training_data.versions import Version, Versions

_log = logging.getLogger(__name__)

#: Tag of runs and of model versions: the SHA-256 of the data.
SHA256_TAG = "data_sha256"
#: Tag of the runs that hold uploaded data.
KIND_TAG, KIND = "model_deployment.kind", "training-data"
#: Folder of a run's artifacts in which degradation reports look for training data.
_ARTIFACTS = "dataset"
#: Seconds that one version may take to be logged, and between attempts while MLflow is away.
_LIMIT, _PAUSE = 1800.0, 60.0


class UploadedData:
    """Logs versions to MLflow one after the other, and again until it succeeds."""

    def __init__(self, registry: Registry, versions: Versions, *, pause: float = _PAUSE) -> None:
        """``pause``: seconds between attempts."""
        self._registry = registry
        self._versions = versions
        self._pause = pause
        self._threads = DaemonThreads("uploaded data", 1)
        self._wake = asyncio.Event()
        #: What was said of each version that could not be logged.
        self._told: dict[str, str] = {}

    def wake(self) -> None:
        """There is a new version."""
        self._wake.set()

    async def run(self, after: Callable[[], Awaitable[None]]) -> None:
        """Log versions until cancelled.

        Args:
            after: called whenever MLflow has answered for all of them.
        """
        while True:
            self._wake.clear()
            done = False
            try:
                done = await self.log_all()
                await after()
            except (RegistryUnavailable, OSError) as error:
                self._tell("", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if done else self._pause):
                    await self._wake.wait()

    async def log_all(self) -> bool:
        """Log the versions that MLflow does not have; whether it has all of them now.

        Raises:
            RegistryUnavailable: it does not answer; the others have to wait as well.
        """
        complete = True
        for version in await asyncio.to_thread(self._versions.list):
            try:
                if await asyncio.to_thread(self._versions.registry, version.sha256) is not None:
                    continue
                place = await self._registry.ask(
                    f"log version {version.sha256} of the training data to MLflow",
                    partial(_log_version, version),
                    threads=self._threads,
                    limit=_LIMIT,
                )
                await asyncio.to_thread(self._versions.keep_registry, version.sha256, place)
            except NotFound:  # deleted meanwhile
                continue
            except (ModelDeploymentError, OSError) as error:
                self._tell(version.sha256, error)
                await self._registry.ask("log training data to MLflow", _is_there)
                complete = False
                continue
            self._told.pop(version.sha256, None)
        self._told.pop("", None)
        return complete

    def _tell(self, sha256: str, error: Exception) -> None:
        if self._told.get(sha256) != str(error):
            _log.warning("%s. It is tried again every %g s", error, self._pause)
            self._told[sha256] = str(error)

    async def trained_on(self, sha256: str) -> list[ModelKey]:
        """The registered versions of models that were trained on a version of the data, newest first.

        Raises:
            RegistryUnavailable: the registry did not answer in time.
        """
        what = "look for the models that were trained on these data"
        return await self._registry.ask(what, partial(_trained_on, sha256))


def _is_there(client: Any) -> None:
    client.search_experiments(max_results=1)


def _trained_on(sha256: str, client: Any) -> list[ModelKey]:
    search = partial(client.search_model_versions, f"tag.{SHA256_TAG} = '{sha256}'")
    found = sorted(
        all_pages(search), key=lambda one: (one.creation_timestamp, int(one.version)), reverse=True
    )
    return [ModelKey(one.name, int(one.version)) for one in found]


def _log_version(version: Version, client: Any) -> dict[str, str]:
    """Log the file as an artifact and as an input of a run; a run that a killed program began goes on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    experiment = _experiment(version.experiment, client)
    mine = f"tags.{SHA256_TAG} = '{version.sha256}' AND tags.`{KIND_TAG}` = '{KIND}'"
    known = client.search_runs([experiment], mine, max_results=1)
    run = (
        known[0]
        if known
        else client.create_run(
            experiment,
            run_name=f"training data {version.sha256[:12]}",
            tags={
                SHA256_TAG: version.sha256,
                KIND_TAG: KIND,
                "experiment": version.experiment,
                "mlflow.user": version.uploaded_by or "",
            },
        )
    )
    id = run.info.run_id
    client.log_artifact(id, str(version.path), _ARTIFACTS)
    columns = [{"type": one.type, "name": one.name, "required": False} for one in version.columns]
    dataset = Dataset(
        name=version.experiment,
        digest=version.sha256[:36],
        source_type="local",
        source=json.dumps({"uri": str(version.path)}),
        # MLflow shows a schema only if its text has no more than 65,535 characters.
        schema=json.dumps({"mlflow_colspec": columns})[:65535] if len(columns) < 500 else None,
        profile=json.dumps({"num_rows": version.rows, "num_elements": version.rows * len(columns)}),
    )
    context = [InputTag(key="mlflow.data.context", value="training")]
    client.log_inputs(id, datasets=[DatasetInput(dataset=dataset, tags=context)])
    client.set_terminated(id)
    return {
        "run_id": id,
        "experiment_id": experiment,
        "artifact_uri": f"{run.info.artifact_uri}/{_ARTIFACTS}/{version.path.name}",
    }


def _experiment(name: str, client: Any) -> str:
    """The id of an MLflow experiment, which is created if there is none.

    Raises:
        MlflowException: it was deleted.
    """
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    try:
        location = beside(str(client.tracking_uri), name)
        return str(client.create_experiment(name, location))
    except MlflowException:  # somebody else has created it meanwhile
        return str(client.get_experiment_by_name(name).experiment_id)
