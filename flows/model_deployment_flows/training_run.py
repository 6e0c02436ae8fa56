"""The MLflow run of a training: its trials, its model, and the version that is registered.

Each function may be called again after it was killed: what is there already is found, not made twice.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelStatus,
    Metric,
    Param,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from model_deployment.registry.artifact_location import beside
from model_deployment.registry.run_files import log_model_files
from model_deployment.registry.server_features import ServerFeature
from model_deployment_flows import registry
from model_deployment_flows.study import TrialResult

#: Tags of runs: the key of the training, the number of a trial.
TRAINING_TAG, TRIAL_TAG = "training", "trial"
#: Tag of a run: the trial that its model is made of.
CHOSEN_TAG = "chosen_trial"
#: Its parameters: a study that was begun anew has other trials with the same numbers.
_CHOSEN_PARAMS_TAG = "chosen_params"
#: Where a run without logged models has its whole model; empty if the model is to be made anew.
_FILES_TAG = "model_files"
#: Where degradation reports look for the data that a version was trained on.
REFERENCE_FOLDER = "dataset"
#: Rows that the types of the columns are inferred from.
_SCHEMA_ROWS = 1000
#: States of a trial's run that has all that is logged of it.
_WHOLE = frozenset({"FINISHED", "FAILED"})
#: Characters of a parameter's value.
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The run of one training in MLflow."""

    run_id: str
    experiment_id: str


@dataclass(frozen=True, slots=True)
class SavedModel:
    """What can be registered."""

    #: A URI of MLflow.
    source: str
    #: Of the logged model; None where the server has none, as MLflow 2.
    model_id: str | None = None


def open_run(experiment: str, key: str, name: str, tags: Mapping[str, str]) -> TrainingRun:
    """The run of the training with this key: the one that is there, else a new one.

    Args:
        experiment: name of the MLflow experiment, which is made if need be.
        name: of a new run.
    """
    client = mlflow.MlflowClient()
    id = _experiment(client, experiment)
    _end_dead_runs(client, id, key)
    found = client.search_runs(
        [id], f"tags.{TRAINING_TAG} = '{key}'", max_results=1, order_by=["attribute.start_time"]
    )
    if found:
        run_id = found[0].info.run_id
        client.log_batch(run_id, tags=[RunTag(*one) for one in tags.items()])
        return TrainingRun(run_id, id)
    run = client.create_run(id, run_name=name, tags={**tags, TRAINING_TAG: key})
    return TrainingRun(run.info.run_id, id)


def registered(run: TrainingRun, model: str) -> int | None:
    """The version that was registered with this run."""
    client = mlflow.MlflowClient()
    found = client.search_model_versions(f"run_id = '{run.run_id}'")
    return min((int(one.version) for one in found if one.name == model), default=None)


def choose(run: TrainingRun, trials: Sequence[TrialResult], best: TrialResult) -> TrialResult:
    """The trial that the run's model is made of: the one that was chosen first, else ``best``.

    A training that was killed may have logged its model already. When it runs again, a study whose time was
    up has more trials, and perhaps a better one; the model stays what its parameters say.
    """
    client = mlflow.MlflowClient()
    tags = client.get_run(run.run_id).data.tags
    noted = tags.get(CHOSEN_TAG), tags.get(_CHOSEN_PARAMS_TAG)
    for one in trials:
        if one.scores and (str(one.number), _params_text(one)) == noted:
            return one
    # What was logged with other parameters is not the model of this trial.
    for made in _logged_models(run):
        client.delete_logged_model(made.model_id)
    values = {CHOSEN_TAG: str(best.number), _CHOSEN_PARAMS_TAG: _params_text(best)}
    if _FILES_TAG in tags:
        values[_FILES_TAG] = ""
    client.log_batch(run.run_id, tags=[RunTag(*one) for one in values.items()])
    return best


def log_trials(run: TrainingRun, trials: Sequence[TrialResult]) -> int:
    """Log each trial as a run within the run; returns how many were not there."""
    client = mlflow.MlflowClient()
    found = _children(client, run)
    new = 0
    for trial in trials:
        child = found.get(str(trial.number))
        if child is not None and child.info.status in _WHOLE:
            continue
        new += 1
        started = _milliseconds(trial.started)
        if child is None:
            child = client.create_run(
                run.experiment_id,
                start_time=started,
                run_name=f"trial {trial.number:03d} {trial.params.get('model_type', '')}".strip(),
                tags={MLFLOW_PARENT_RUN_ID: run.run_id, TRIAL_TAG: str(trial.number)},
            )
        ended = _milliseconds(trial.ended)
        client.log_batch(
            child.info.run_id,
            metrics=[Metric(name, value, ended, 0) for name, value in trial.scores.items()],
            params=_params(trial.params),
            tags=[RunTag("error", trial.error)] if trial.error else [],
        )
        status = RunStatus.FAILED if trial.error else RunStatus.FINISHED
        client.set_terminated(child.info.run_id, RunStatus.to_string(status), end_time=ended)
    return new


def log_reference(run: TrainingRun, rows: pd.DataFrame, data: Path, name: str, sha256: str) -> None:
    """Log the rows that the model is trained on, which degradation reports compare captures with.

    The run names the file that the rows come from as well: MLflow shows it as the data set of the run.
    """
    client = mlflow.MlflowClient()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "training.parquet"
        rows.to_parquet(file, index=False)
        client.log_artifact(run.run_id, str(file), REFERENCE_FOLDER)
    if not client.get_run(run.run_id).inputs.dataset_inputs:
        schema = infer_signature(rows.head(_SCHEMA_ROWS)).inputs.to_dict()
        found = Dataset(
            name=name,
            digest=sha256[:36],  # the most that MLflow takes
            source_type="local",
            source=json.dumps({"uri": str(data)}),
            schema=json.dumps({"mlflow_colspec": schema}),
            profile=json.dumps({"num_rows": len(rows), "num_elements": int(rows.size)}),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        client.log_inputs(run.run_id, [DatasetInput(found, tags)])


def log_model(run: TrainingRun, save: Callable[[], Any]) -> SavedModel:
    """The run's model; if no whole one is there, ``save`` makes it in the active run.

    ``save`` returns MLflow's ``ModelInfo``.
    """
    client = registry.served_client()
    found = _logged_models(run)
    ready = [one.model_id for one in found if one.status == LoggedModelStatus.READY]
    if ready:
        return SavedModel(f"models:/{ready[0]}", str(ready[0]))
    if registry.server(mlflow.get_tracking_uri()).has(ServerFeature.LOGGED_MODELS):
        with mlflow.start_run(run_id=run.run_id):
            id = str(save().model_id)
        return SavedModel(f"models:/{id}", id)
    source = client.get_run(run.run_id).data.tags.get(_FILES_TAG)
    if not source:
        source = log_model_files(run.run_id, save, client)
        client.set_tag(run.run_id, _FILES_TAG, source)  # last: now it is whole
    return SavedModel(source)


def log_results(run: TrainingRun, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Log what was chosen, and how good it is."""
    client = mlflow.MlflowClient()
    now = mlflow.utils.time.get_current_time_millis()
    client.log_batch(
        run.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
        params=_params(params),
    )


def register(
    run: TrainingRun, model: str, saved: SavedModel, tags: Mapping[str, str], description: str
) -> int:
    """Register the run's model, unless the run has a version already; returns the version.

    Needs a client that does not repeat calls: a lost answer would become a second version.
    """
    if (known := registered(run, model)) is not None:
        return known
    client = mlflow.MlflowClient()
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    made = client.create_model_version(
        model,
        saved.source,
        run_id=run.run_id,
        tags=dict(tags),
        description=description,
        model_id=saved.model_id,
    )
    return int(made.version)


def finish(run: TrainingRun, status: int = RunStatus.FINISHED) -> None:
    """Say that the run has ended, with MLflow's ``RunStatus``."""
    mlflow.MlflowClient().set_terminated(run.run_id, RunStatus.to_string(status))


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    if (found := client.get_experiment_by_name(name)) is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    with suppress(MlflowException):  # made by another one meanwhile
        location = beside(client.tracking_uri, name)
        return str(client.create_experiment(name, location))
    return str(client.get_experiment_by_name(name).experiment_id)


def _end_dead_runs(client: mlflow.MlflowClient, experiment_id: str, key: str) -> None:
    """Say of the runs of killed flows that they have ended: one flow runs at a time."""
    for run in client.search_runs([experiment_id], "attribute.status = 'RUNNING'"):
        if run.data.tags.get(TRAINING_TAG, key) != key:
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _children(client: mlflow.MlflowClient, run: TrainingRun) -> dict[str, Any]:
    found: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs(
            [run.experiment_id],
            f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.run_id}'",
            max_results=1000,
            page_token=token,
        )
        found |= {one.data.tags.get(TRIAL_TAG, ""): one for one in page}
        token = page.token
        if not token:
            return found


def _logged_models(run: TrainingRun) -> Sequence[Any]:
    search = registry.served_client().search_logged_models
    return list(search([run.experiment_id], f"source_run_id = '{run.run_id}'"))


def _params_text(trial: TrialResult) -> str:
    """The parameters of a trial in one line, short enough for a tag."""
    text = json.dumps(trial.params, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()


def _params(params: Mapping[str, Any]) -> list[Param]:
    return [Param(name, str(value)[:_LONGEST]) for name, value in params.items()]


def _milliseconds(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
