"""Logs a model as files of a run, as MLflow 2 does, where the server has no logged models.

MLflow 3 logs a model as a thing of its own, and has no public function that does less. So the model is
logged to a registry in a temporary folder, and its files go to the run.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from model_deployment.registry.mlflow_client import create_database

#: Folder of a run's artifacts.
FOLDER = "model"


def log_model_files(run_id: str, save: Callable[[], Any], client: Any) -> str:
    """Log the files of a model to a run; returns where they are, for the registration.

    Changes MLflow's default tracking server meanwhile: one call at a time in a process.

    Args:
        save: logs the model in the active run with a function of MLflow such as ``sklearn.log_model``, and
            returns its ``ModelInfo``.
        client: MLflow's, of the server with the run.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        aside = f"sqlite:///{folder}/mlflow.db"
        create_database(aside)
        mlflow.set_tracking_uri(aside)
        try:
            place = (Path(folder) / "artifacts").as_uri()
            experiment = mlflow.MlflowClient(aside, aside).create_experiment("aside", place)
            with mlflow.start_run(experiment_id=experiment):
                made = save()
            files = Path(
                mlflow.artifacts.download_artifacts(
                    f"models:/{made.model_id}", dst_path=str(Path(folder) / FOLDER)
                )
            )
        finally:
            mlflow.set_tracking_uri(before)
        _belong_to(run_id, files / "MLmodel")
        client.log_artifacts(run_id, str(files), FOLDER)
    return f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}"


def _belong_to(run_id: str, file: Path) -> None:
    """Say in the ``MLmodel`` file whose files these are: the loader would ask for a logged model."""
    about = yaml.safe_load(file.read_text(encoding="utf-8"))
    about.pop("model_id", None)
    about |= {"run_id": run_id, "artifact_path": FOLDER}
    file.write_text(yaml.safe_dump(about, sort_keys=False, allow_unicode=True), encoding="utf-8")
